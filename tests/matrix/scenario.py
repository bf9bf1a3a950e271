"""What a scenario is: what the device is like, what comes to it, what strikes, and how it may end."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from tests.matrix.points import Point
from tests.matrix.strikes import Meanwhile, Meddling, Strike


class Release(StrEnum):
    """What the package brings."""

    GOOD = "good"
    SICK = "sick"
    """Its health check fails."""
    CRASHES = "crashes"
    """It exits, again and again where it is restarted."""
    NO_PROGRAM = "no-program"
    """It can be created, not started."""
    NO_COMMAND = "no-command"
    """It cannot be created."""


class Way(StrEnum):
    """How the update begins."""

    INBOX = "inbox"
    STICK = "stick"
    ROLLBACK = "rollback"
    """`caisson rollback`, of an update that went well."""


class Points(StrEnum):
    """Which points of a run are struck."""

    ALL = "all"
    CHANGES = "changes"
    """Not the requests that only read: each has the state of the point before it."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row of the table."""

    name: str
    words: str
    release: Release = Release.GOOD
    way: Way = Way.INBOX
    package_format: int = 1
    large_layers: int = 0
    """Of 5 MiB each, so that they go into Docker one by one."""
    damaged: bool = False
    """A byte of the last large layer is another."""
    policy: str = "unless-stopped"
    network: str = "host"
    """Docker's word; a network of its own costs more time than all the rest of a container's start."""
    stopped: bool = False
    updated_before: bool = False
    """The service runs a release that an update brought."""
    earlier_image_gone: bool = False
    """Somebody removed the image of the release before."""
    meddling: Meddling = field(default_factory=Meddling)
    live_restore: bool = False
    strike: Strike = Strike.KILL
    meanwhile: Meanwhile = Meanwhile.NOTHING
    points: Points = Points.ALL
    pairs: bool = True
    """Whether recovery is killed too."""
    ends: frozenset[str] = frozenset({"new"})
    """Which releases may run in the end, when the process that began died."""

    unhindered: str = ""
    """Which one runs in the end when nothing strikes; empty: the only one it may be, else the new one."""

    @property
    def ends_unhindered(self) -> frozenset[str]:
        return self.ends if len(self.ends) == 1 else frozenset({self.unhindered or "new"})

    @property
    def is_bad(self) -> bool:
        """The gate says no to it."""
        return self.release in (Release.SICK, Release.CRASHES)

    def struck_at(self, points: Iterable[Point]) -> list[Point]:
        """Those at which this scenario's strike is tried."""
        fitting = (point for point in points if self.strike.fits(point))
        return [point for point in fitting if self.points is Points.ALL or not point.is_read]
