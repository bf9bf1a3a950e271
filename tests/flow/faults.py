"""Faults that strike at one point of an update, and the search for the points at which they break a promise.

A point is a call to the engine or a durable write; how many there are is found out by counting up until none is struck.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from pathlib import Path

from caissond.errors import CaissonError, DockerError, HostUnavailable, StoreError, StoreFull
from caissond.model.records import Outcome, Verdict
from tests.flow.device import NEW_REFERENCE, World
from tests.flow.fake_docker import leave_alone

Strike = Callable[[World], None]


class Killed(BaseException):
    """The process is gone: SIGKILL, or the power."""


class Armed:
    """A fault that waits at its points."""

    def __init__(self, world: World, fault: "Fault", at: frozenset[int]) -> None:
        self._world = world
        self._fault = fault
        self._at = at
        self.struck: list[str] = []

    def __call__(self, number: int, what: str) -> None:
        if number in self._at or (self._fault.lasting and self.struck):
            self.struck.append(f"{number} {what}")
            self._fault.strike(self._world)


class Where(StrEnum):
    """What is counted."""

    BEFORE_CALL = "before"
    AFTER_CALL = "after"
    BEFORE_WRITE = "before_write"
    AFTER_WRITE = "after_write"


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens, and where."""

    strike: Strike
    where: Where = Where.BEFORE_CALL
    lasting: bool = False
    """Until somebody settles."""

    def arm(self, world: World, at: frozenset[int]) -> Armed:
        armed = Armed(world, self, at)
        setattr(world if "write" in self.where else world.docker, self.where, armed)
        return armed


def lift(world: World) -> None:
    """The fault is over."""
    world.docker.is_down = False
    world.docker.before = world.docker.after = world.before_write = world.after_write = leave_alone


def refuse(_world: World) -> None:
    """The engine answers with an error."""
    raise DockerError("cannot do that: the engine says so", code="docker.error")


def go_down(world: World) -> None:
    """The engine does not answer any more."""
    world.docker.is_down = True
    world.docker.ping()


def hang(_world: World) -> None:
    """One call gets no answer, though the engine is well."""
    raise HostUnavailable("cannot do that: Docker does not answer", code="docker.unavailable")


def kill(_world: World) -> None:
    raise Killed


def cut_power(world: World) -> None:
    world.docker.lose_unsynced()
    world.docker.power_cut()
    raise Killed


def cut_power_at_odds(world: World) -> None:
    """Docker starts what has joined another container before that one, in vain."""
    world.docker.boots_joined_first = True
    cut_power(world)


def cut_power_quietly(world: World) -> None:
    """The engine and its containers restart, so quickly that no call fails."""
    world.docker.power_cut()


def end_dockerd(world: World) -> None:
    """dockerd alone is killed, and started again."""
    world.docker.end_alone()
    raise HostUnavailable("cannot do that: the connection was lost", code="docker.unavailable")


def live_restore(world: World) -> None:
    world.docker.restart_with_live_restore()
    raise HostUnavailable("cannot do that: the connection was lost", code="docker.unavailable")


def prune(world: World) -> None:
    """Somebody cleans up by hand."""
    world.docker.prune()


def ask_to_stop(world: World) -> None:
    """SIGTERM."""
    world.running_device.stop.set()


def fill_disk(_world: World) -> None:
    raise StoreFull("cannot write the database: no space is left", code="store.full")


def break_disk(_world: World) -> None:
    raise StoreError("cannot use the database: disk I/O error", code="store.failed")


@dataclass
class Trial:
    """One update with a fault in it."""

    world: World
    path: Path
    armed: Armed
    result: Verdict | CaissonError | None
    """None: killed."""

    def settle(self) -> None:
        """The fault is over, and the next process settles."""
        lift(self.world)
        self.world.settle()


Check = Callable[[Trial], list[str]]


def settled(trial: Trial) -> list[str]:
    """Which promises are broken once somebody has settled."""
    trial.settle()
    return trial.world.broken_promises()


def settled_once_begun(trial: Trial) -> list[str]:
    """The same where an update had begun; else what happened is nobody's to mend."""
    return settled(trial) if _left_open(trial) else []


def settled_once_touched(trial: Trial) -> list[str]:
    """The same where an update had begun, or has come to an end: what it has not touched, nobody else starts."""
    ended = isinstance(trial.result, Verdict) and trial.result.outcome is not Outcome.POSTPONED
    return settled(trial) if _left_open(trial) or ended else []


def _left_open(trial: Trial) -> bool:
    lift(trial.world)
    with trial.world.device() as device:
        return bool(device.journal.unfinished())


def lose_state(world: World) -> None:
    """The database is deleted."""
    for path in world.paths.state_dir.glob("state.db*"):
        path.unlink()


def settled_without_state(trial: Trial) -> list[str]:
    """The same when the database is deleted before. Nobody can tell then whose an image without a name is: it stays
    until somebody prunes.
    """
    lift(trial.world)
    lose_state(trial.world)
    if trial.armed.struck[0].endswith("create-image"):
        trial.world.docker.prune_images()
    trial.world.settle()
    return trial.world.broken_promises()


def try_at(
    fault: Fault, at: frozenset[int], folder: Path, content: bytes, *, policy: str = "unless-stopped",
    reference: str = NEW_REFERENCE, sidecar: str = "",
) -> Trial:  # fmt: skip
    world = World.make(folder, policy=policy, reference=reference, sidecar=sidecar)
    path = world.write_package(content)
    armed = fault.arm(world, at)
    result = None
    with suppress(Killed):
        result = world.update(path)
    return Trial(world, path, armed, result)


def broken_by(
    fault: Fault, folder: Path, content: bytes, check: Check = settled, **options: str
) -> dict[str, list[str]]:
    """Update once for each point, with the fault there. At which points something is not as it has to be."""
    return broken_among(lambda root: World.make(root, **options), fault, folder, content, check)


def broken_among(
    make: Callable[[Path], World],
    fault: Fault,
    folder: Path,
    content: bytes,
    check: Check = settled,
    least: int = 11,
) -> dict[str, list[str]]:
    """The same in worlds of another kind.

    Args:
        make: a new one, below a folder.
        least: how many points there are at least, or the fault was never there.
    """
    broken: dict[str, list[str]] = {}
    for point in count(1):
        world = make(folder / str(point))
        path = world.write_package(content)
        armed = fault.arm(world, frozenset({point}))
        result = None
        with suppress(Killed):
            result = world.update(path)
        if not armed.struck:
            break
        if problems := check(Trial(world, path, armed, result)):
            broken[armed.struck[0]] = problems
    assert point >= least, "the fault was never there"
    return broken


def broken_by_two(fault: Fault, folder: Path, content: bytes) -> dict[str, list[str]]:
    """The same with the fault at two points, for all pairs of them."""
    broken: dict[str, list[str]] = {}
    for first in count(1):
        for second in count(first + 1):
            trial = try_at(fault, frozenset({first, second}), folder / f"{first}-{second}", content)
            if len(trial.armed.struck) < 2:
                break
            if problems := settled(trial):
                broken[" and ".join(trial.armed.struck)] = problems
        if not trial.armed.struck:
            return broken
    raise AssertionError
