"""What a scenario is: what the device is like, what comes to it, what strikes, and how it may end."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from tests.matrix.points import Moment, Point
from tests.matrix.strikes import Meanwhile, Meddling, Strike
from tests.matrix.target import BYSTANDER, WEB, Release, Target


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
    STATES = "states"
    """Of these only before each, and while Docker is at it: what is after one is before the next."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row of the table."""

    name: str
    words: str
    targets: tuple[Target, ...] = (WEB,)
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
    every: int = 1
    """Only each so manieth of these."""
    sampled: int = 2
    """So many of its cells with one fault are in the slice of `./dev test docker`."""
    pairs_every: int = 3
    """Recovery is killed too, at each so manieth point of it."""
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
        return self.release in (Release.SICK, Release.CRASHES, Release.ONE_CRASHES)

    @property
    def bystanders(self) -> tuple[str, ...]:
        """Containers that stay as they are."""
        return (BYSTANDER,) if any(target.is_composed for target in self.targets) else ()

    @property
    def names(self) -> tuple[str, ...]:
        """Of all containers that there are, in the order in which they can be started."""
        return (*(name for target in self.targets for name in target.names), *self.bystanders)

    def release_of(self, target: Target) -> Release:
        """What the package brings for this service."""
        return Release.GOOD if target.is_spared else self.release

    def struck_at(self, points: Iterable[Point]) -> list[Point]:
        """Those at which this scenario's strike is tried."""
        fitting = [point for point in points if self.strike.fits(point) and self._asks_for(point)]
        return fitting[:: self.every]

    def _asks_for(self, point: Point) -> bool:
        if self.points is Points.ALL:
            return True
        is_double = point.moment in (Moment.UNANSWERED, Moment.AFTER)
        return not point.is_read and not (self.points is Points.STATES and is_double)
