"""An engine that answers a request with an error: whatever it was asked, the package gets a verdict or another turn."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from caissond.errors import CaissonError, DockerError
from caissond.model.records import Outcome
from tests.flow.device import World, outcome, package
from tests.flow.fake_docker import Interfere, leave_alone
from tests.flow.faults import Fault, Killed, Trial, Where, broken_by, kill, refuse

GOOD, BAD = package(), package(crashes=True)


@pytest.fixture
def folder() -> Iterator[Path]:
    with TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        yield Path(folder)


def _no_turn(trial: Trial) -> list[str]:
    """Before a turn begins an error is raised; in it there has to be a verdict, or others would not get theirs."""
    began = any(event.code == "package.received" for event in trial.world.events)
    return [trial.result.message] if began and isinstance(trial.result, CaissonError) else []


@pytest.mark.parametrize("where", [Where.BEFORE_CALL, Where.AFTER_CALL])
def test_refused_request_in_the_turn_of_a_package_is_a_verdict_on_it(folder: Path, where: Where) -> None:
    assert broken_by(Fault(refuse, where), folder, GOOD, _no_turn) == {}


def _refuse_old(world: World) -> Interfere:
    """What a dockerd does that was killed inside a start: this id is never started again."""

    def interfere(_number: int, what: str) -> None:
        if what == f"start {world.old}":
            raise DockerError(f"cannot start container {world.old}: id already in use", code="docker.error")

    return interfere


def _both(*all_of_them: Interfere) -> Interfere:
    def interfere(number: int, what: str) -> None:
        for one in all_of_them:
            one(number, what)

    return interfere


def test_old_container_that_can_never_be_started_again_is_made_again(folder: Path) -> None:
    world = World.make(folder)
    world.docker.before = _refuse_old(world)
    assert outcome(world.update(world.write_package(BAD))) is Outcome.ROLLED_BACK
    assert world.broken_promises() == []
    assert world.docker.named()["frontend"]["Id"] != world.old


@pytest.mark.parametrize("where", [Where.BEFORE_CALL, Where.AFTER_CALL])
def test_making_it_again_can_be_cut_off_anywhere(folder: Path, where: Where) -> None:
    broken, point, struck = {}, 0, True
    while struck:
        point += 1
        world = World.make(folder / str(point))
        armed = Fault(kill, where).arm(world, frozenset({point}))
        world.docker.before = _both(world.docker.before, _refuse_old(world))
        with suppress(Killed):
            world.update(world.write_package(BAD))
        struck = bool(armed.struck)
        world.docker.before, world.docker.after = _refuse_old(world), leave_alone
        world.settle()
        if problems := world.broken_promises():
            broken[point] = problems
    assert point > 10
    assert broken == {}
