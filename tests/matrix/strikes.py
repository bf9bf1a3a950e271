"""What a fault is, and what happens between the death of a process and the start of the next one."""

from dataclasses import dataclass
from enum import StrEnum

from tests.matrix.points import Moment, Point


class Strike(StrEnum):
    """What happens at a point."""

    KILL = "kill"
    """SIGKILL."""
    TERM = "term"
    """SIGTERM, and the request goes on."""
    DROP = "drop"
    """The connection is lost."""
    ERROR = "error"
    """The answer is 500."""
    HANG = "hang"
    """There is never an answer."""
    LATE = "late"
    """The answer takes a second longer."""
    CUT = "cut"
    """Half of the answer comes, then the connection is lost."""
    PRUNE = "prune"
    """Somebody types `docker system prune -f`."""
    NO_SPACE = "no-space"
    IO_ERROR = "io-error"
    READ_ONLY = "read-only"

    @property
    def ends_process(self) -> bool:
        return self in (Strike.KILL, Strike.TERM)

    @property
    def is_for_files(self) -> bool:
        return self in (Strike.NO_SPACE, Strike.IO_ERROR, Strike.READ_ONLY)

    def fits(self, point: Point) -> bool:
        """Whether it makes sense there."""
        if self is Strike.KILL:
            return True
        if self.is_for_files:
            return point.name.startswith("file")
        if self is Strike.TERM:
            return point.moment is Moment.BEFORE
        if not point.name.startswith("docker"):
            return False
        if self is Strike.PRUNE:
            return point.moment in (Moment.BEFORE, Moment.AFTER) and not point.is_read
        if self in (Strike.LATE, Strike.CUT):
            return point.moment is Moment.UNANSWERED
        return point.moment in (Moment.BEFORE, Moment.UNANSWERED)


class Meanwhile(StrEnum):
    """What happens while no caissond runs."""

    NOTHING = "nothing"
    PRUNE = "prune"
    RESTART = "restart"
    """dockerd is killed and started again."""
    POWER_CUT = "power-cut"
    NO_DATABASE = "no-database"
    """The database is deleted."""
    TORN_DATABASE = "torn-database"
    """It is cut in half."""
    STALE_DATABASE = "stale-database"
    """Its write-ahead log is lost: a whole database as it was some time ago."""


@dataclass(frozen=True, slots=True)
class Meddling:
    """What somebody else does at certain requests of every first run."""

    takes_port: bool = False
    """That of the service, as soon as the old container is stopped, until the start of the new one was tried."""
    prune_at_start: bool = False
    """As soon as the new container was started."""
