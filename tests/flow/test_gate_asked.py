"""A service that is asked, on an engine that is restarted or breaks off at the wrong moment."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from caissond.errors import DockerError, HostUnavailable
from caissond.intake.scan import Origin
from caissond.model.records import Outcome, Verdict
from caissond.update.acceptance import Request
from caissond.update.updater import Updater
from tests.flow.device import World, outcome, package
from tests.flow.fake_docker import Interfere


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Its service is asked by a command, and one failure is a verdict."""
    world = World.make(tmp_path)
    text = world.paths.services.read_text()
    world.paths.services.write_text(f'{text}kind = "exec"\ncommand = ["check"]\nretries = 1\n')
    return world


def silent_once_replaced(world: World, *, engine_restarts: bool) -> Interfere:
    """The command fails in the replacement; with live-restore, since the engine was restarted just then."""

    def interfere(_number: int, what: str) -> None:
        if what.startswith("exec") and world.old not in what:
            if engine_restarts:
                world.docker.restart_with_live_restore()
            raise DockerError("cannot run check: it was lost", code="docker.error")

    return interfere


def update(world: World) -> Verdict:
    verdict = world.update(world.write_package(package()))
    assert isinstance(verdict, Verdict)
    return verdict


def test_command_is_asked_before_and_after(world: World) -> None:
    assert update(world).outcome is Outcome.SUCCEEDED
    asked = [call.split()[1] for call in world.docker.calls if call.startswith("exec")]
    assert asked[0] == world.old
    assert len(set(asked)) == 2
    assert world.broken_promises() == []


def test_package_that_is_put_off_has_not_run_the_command_in_the_service(world: World) -> None:
    """It is tried again and again, and a command that hangs would stay each time."""

    def later(_fields: Mapping[str, str]) -> None:
        raise HostUnavailable("cannot begin: the door is open", code="hook.later")

    path = world.write_package(package())
    with world.device() as device:
        device.veto = later
        verdict = Updater(device).handle(Request(path, Origin.INBOX))
    assert verdict is not None
    assert (verdict.code, [call for call in world.docker.calls if "exec" in call]) == ("hook.later", [])


def test_silence_is_a_verdict(world: World) -> None:
    world.docker.before = silent_once_replaced(world, engine_restarts=False)
    verdict = update(world)
    assert (verdict.outcome, verdict.code, verdict.retry) == (
        Outcome.ROLLED_BACK, "gate.probe_failed", False,
    )  # fmt: skip
    assert world.broken_promises() == []


def test_silence_while_the_engine_restarts_is_none(world: World) -> None:
    world.docker.before = silent_once_replaced(world, engine_restarts=True)
    verdict = update(world)
    assert (verdict.outcome, verdict.code, verdict.retry) == (
        Outcome.ROLLED_BACK, "update.interrupted", True,
    )  # fmt: skip
    assert world.version() == "old"
    world.docker.before = lambda _number, _what: None
    assert outcome(world.update(world.write_package(package()))) is Outcome.SUCCEEDED
