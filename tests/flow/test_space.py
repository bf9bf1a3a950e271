"""A disk that becomes full: the package waits, the service runs, and the next package gets its turn."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from caissond.model.records import Outcome, Verdict
from tests.flow.device import World, package
from tests.flow.fake_docker import leave_alone

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
LARGE = package(padding=(5 << 20, 5 << 20, 5 << 20, 12 << 20))
"""The last layer does not fit where one before it was."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world whose state folder is a small disk of its own."""
    world = World.make(tmp_path)
    state = world.paths.state_dir
    state.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=192m", "small", state], check=True)
    try:
        yield world
    finally:
        subprocess.run(["umount", state], check=True)


def fill(folder: Path, *, leave_bytes: int = 0) -> Path:
    """A file that takes all the room there is but this much."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(1 << 16)):
            pass
    os.truncate(ballast, ballast.stat().st_size - leave_bytes)
    return ballast


def test_package_that_has_no_room_waits_before_it_is_copied(world: World) -> None:
    path = world.write_package(LARGE)
    ballast = fill(world.paths.state_dir, leave_bytes=48 << 20)
    verdict = world.update(path)
    assert isinstance(verdict, Verdict)
    assert (verdict.outcome, verdict.code) == (Outcome.POSTPONED, "host.disk_full")
    assert not any(call.startswith("load") for call in world.docker.calls)
    assert world.broken_promises() == []
    ballast.unlink()
    assert world.update(path).outcome is Outcome.SUCCEEDED  # type: ignore[union-attr]


@pytest.mark.parametrize("load", [1, 2])
def test_disk_that_becomes_full_between_two_layers_costs_nothing(world: World, load: int) -> None:
    """Somebody else fills it, while there is room by our own reckoning. One layer at most was read ahead by then."""
    loads = 0

    def fill_at_load(_number: int, what: str) -> None:
        nonlocal loads
        loads += what.startswith("load")
        if what.startswith("load") and loads == load:
            fill(world.paths.state_dir, leave_bytes=1 << 16)

    world.docker.before = fill_at_load
    path = world.write_package(LARGE)
    verdict = world.update(path)
    assert isinstance(verdict, Verdict)
    assert (verdict.code, verdict.retry) == ("host.disk_full", True)
    (world.paths.state_dir / "ballast").unlink()
    world.settle()
    assert world.broken_promises() == []
    assert world.update(path).outcome is Outcome.SUCCEEDED  # type: ignore[union-attr]


def test_disk_that_is_full_for_the_rest_does_not_stop_the_way_back(world: World) -> None:
    """Not a byte is left from the moment the old release is stopped: what is held in reserve has to do."""

    def fill_at_stop(_number: int, what: str) -> None:
        if what.startswith("stop"):
            fill(world.paths.state_dir)

    world.docker.before = fill_at_stop
    path = world.write_package(package(crashes=True))
    world.update(path)
    assert world.version() == "old"
    (world.paths.state_dir / "ballast").unlink()
    world.docker.before = leave_alone
    world.settle()
    assert world.broken_promises() == []
