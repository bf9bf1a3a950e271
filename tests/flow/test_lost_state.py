"""The database is deleted, or an older copy of it is put back, in the middle of an update: the service is whole."""

import shutil
from pathlib import Path

import pytest

from caissond.model.records import Outcome
from tests.flow.bundle import broken_by as broken_in_bundle
from tests.flow.bundle import bundle
from tests.flow.device import World, outcome, package
from tests.flow.faults import (
    Fault,
    Killed,
    Where,
    broken_by,
    kill,
    lift,
    lose_state,
    settled_without_state,
)

FIRST, GOOD, BAD = package(version="1.1.0"), package(), package(crashes=True)
KILLED = Fault(kill, Where.AFTER_CALL)


@pytest.mark.parametrize("content", [GOOD, BAD], ids=["good", "crashing"])
def test_service_is_whole_when_the_database_is_deleted_at_any_point(folder: Path, content: bytes) -> None:
    assert broken_by(KILLED, folder, content, settled_without_state) == {}


@pytest.mark.parametrize("crashes", ["", "backend", "frontend"])
def test_bundle_is_never_half_new_when_the_database_is_deleted_at_any_point(
    folder: Path, crashes: str
) -> None:
    assert broken_in_bundle(KILLED, folder, bundle(crashes=crashes), settled_without_state) == {}


def _killed_at(folder: Path, content: bytes, point: int) -> tuple[World, bool]:
    """Updated once, then killed at this point of the next update, and the database of the day before put back."""
    world = World.make(folder)
    assert outcome(world.update(world.write_package(FIRST))) is Outcome.SUCCEEDED
    shutil.copy(world.paths.database, folder / "copy")
    armed = KILLED.arm(world, frozenset({len(world.docker.calls) + point}))
    try:
        world.update(world.write_package(content))
    except Killed:
        lose_state(world)
        shutil.copy(folder / "copy", world.paths.database)
    lift(world)
    return world, bool(armed.struck)


@pytest.mark.parametrize("content", [GOOD, BAD], ids=["good", "crashing"])
def test_service_is_whole_when_an_older_database_is_put_back_at_any_point(
    folder: Path, content: bytes
) -> None:
    broken = {}
    struck, point = True, 0
    while struck:
        point += 1
        world, struck = _killed_at(folder / str(point), content, point)
        world.settle()
        ran = outcome(world.update(world.write_package(GOOD)))
        tags = len(world.private_tags())
        if (ran, world.running(), len(world.docker.containers), tags) not in _WELL:
            broken[point] = (ran, world.running(), list(world.docker.named()), world.private_tags())
    assert point > 10
    assert broken == {}


_WELL = [(end, ["frontend"], 1, 1) for end in (Outcome.SUCCEEDED, Outcome.NOTHING_TO_DO)]
