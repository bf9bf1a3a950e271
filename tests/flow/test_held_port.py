"""Docker holds a port for nobody, as after a power cut: it is started again, once, when the old release has to run."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from caissond.errors import DockerError
from caissond.model.records import Outcome
from tests.flow.device import OLD_REFERENCE, World, outcome, package
from tests.flow.faults import Fault, Killed, Where, cut_power, lift

GOOD, BAD = package(), package(crashes=True)
HELD = (
    "driver failed programming external connectivity: Bind for 0.0.0.0:8080 failed: port is already allocated"
)


class Engine:
    """It refuses to start the container until it was started again, as often as that."""

    def __init__(self, world: World, *, cured_by: int = 1, problem: str = HELD) -> None:
        self.world, self.cured_by, self.problem = world, cured_by, problem
        self.restarts = 0
        world.docker.before = self.refuse
        world.restart_docker = self.restart

    def refuse(self, _number: int, what: str) -> None:
        if what in self.starts and self.restarts < self.cured_by:
            raise DockerError(f"cannot {what}: {self.problem}", code="docker.error")

    @property
    def starts(self) -> list[str]:
        """Whose start it refuses."""
        return [f"start {self.world.old}"]

    def restart(self) -> None:
        self.restarts += 1
        self.world.docker.end_in_order()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.make(tmp_path)


def told(world: World, code: str) -> list[str]:
    return [event.text for event in world.events if event.code == code]


def test_old_release_runs_once_docker_was_started_again(world: World) -> None:
    engine = Engine(world)
    assert outcome(world.update(world.write_package(BAD))) is Outcome.ROLLED_BACK
    assert world.broken_promises() == []
    assert engine.restarts == 1
    assert told(world, "docker.port_held") == [
        "Docker holds port 8080 for no container, starting Docker again"
    ]
    assert told(world, "update.step_stuck") == []


def test_docker_is_started_again_only_once(world: World) -> None:
    engine = Engine(world, cured_by=2)
    world.update(world.write_package(BAD))
    assert engine.restarts == 1
    assert told(world, "update.rollback_failed")
    world.settle()  # another process of caissond
    assert engine.restarts == 2
    assert world.broken_promises() == []


def test_nothing_is_started_again_for_a_port_that_a_container_has(world: World) -> None:
    engine = Engine(world)
    _run_other(world)
    world.update(world.write_package(BAD))
    assert engine.restarts == 0


def test_port_of_a_container_that_was_stopped_is_nobodys(world: World) -> None:
    engine = Engine(world)
    _run_other(world)["State"]["Running"] = False
    world.update(world.write_package(BAD))
    assert engine.restarts == 1
    assert world.running() == ["frontend"]


def test_what_no_policy_brings_back_is_started_again(world: World) -> None:
    engine = Engine(world)
    _run_other(world)["Ports"] = []
    world.update(world.write_package(BAD))
    assert engine.restarts == 1
    assert sorted(world.running()) == ["frontend", "other"]


def test_container_that_would_be_removed_is_not_risked(world: World) -> None:
    engine = Engine(world)
    other = _run_other(world)
    other["Ports"], other["HostConfig"]["AutoRemove"] = [], True
    world.update(world.write_package(BAD))
    assert engine.restarts == 0
    problems = set(told(world, "docker.error"))
    assert problems == {"cannot start Docker again: it would remove other, which was made with --rm"}
    del world.docker.containers[other["Id"]]
    world.settle()
    assert engine.restarts == 1
    assert world.broken_promises() == []


def _run_other(world: World) -> dict[str, Any]:
    """A container of somebody else that has the port."""
    other = world.docker.containers[world.docker.run("other", OLD_REFERENCE, policy="no")]
    other["Ports"] = [{"PublicPort": 8080, "PrivatePort": 80, "Type": "tcp"}]
    return other


@pytest.mark.parametrize(
    "problem",
    [
        "Error starting userland proxy: listen tcp4 0.0.0.0:8080: bind: address already in use",
        "id already in use",
    ],
)
def test_nothing_is_started_again_for_another_problem(world: World, problem: str) -> None:
    engine = Engine(world, problem=problem)
    world.update(world.write_package(BAD))
    assert engine.restarts == 0


def test_engine_that_systemd_does_not_run_is_left_alone(world: World) -> None:
    Engine(world)
    world.restart_docker = None
    world.update(world.write_package(BAD))
    assert told(world, "docker.port_held") == []
    assert told(world, "update.rollback_failed")


def test_restart_that_fails_is_told_and_the_way_back_stays_open(world: World) -> None:
    engine = Engine(world)

    def restart() -> None:
        raise DockerError("cannot start Docker again: no such unit", code="docker.error")

    world.restart_docker = restart
    world.update(world.write_package(BAD))
    assert told(world, "docker.error") == ["cannot start Docker again: no such unit"]
    assert told(world, "update.rollback_failed")
    world.restart_docker = engine.restart
    world.settle()
    assert world.broken_promises() == []


class EngineAtBoot(Engine):
    """It could start nothing at all when the power came back."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        for container in world.docker.containers.values():
            container["State"]["Running"] = False

    @property
    def starts(self) -> list[str]:
        own = (one for one in self.world.docker.containers.values() if not _is_joined(one))
        return [f"start {one['Id']}" for one in own]


def _is_joined(container: dict[str, Any]) -> bool:
    """It lives in another one's network, and has no ports itself."""
    return str(container["HostConfig"].get("NetworkMode", "")).startswith("container:")


@pytest.mark.parametrize("content", [GOOD, BAD], ids=["good", "bad"])
@pytest.mark.parametrize("policy", ["no", "on-failure", "unless-stopped", "always"])
@pytest.mark.parametrize("sidecar", ["", "no"], ids=["alone", "with-sidecar"])
def test_service_runs_wherever_the_power_went(
    tmp_path: Path, content: bytes, policy: str, sidecar: str
) -> None:
    broken, point, restarts, struck = {}, 0, 0, True
    while struck:
        point += 1
        world = World.make(tmp_path / str(point), policy=policy, sidecar=sidecar)
        armed = Fault(cut_power, Where.AFTER_CALL).arm(world, frozenset({point}))
        with suppress(Killed):
            world.update(world.write_package(content))
        struck = bool(armed.struck)
        lift(world)
        if not _has_begun(world):
            continue  # what was not touched is Docker's business
        engine = EngineAtBoot(world)
        world.settle()
        if sidecar:  # it may have been its turn before there was a network to join; the daemon settles again
            world.settle()
        restarts += engine.restarts
        if problems := world.broken_promises() + (world.sidecar_problems() if sidecar else []):
            broken[point] = problems
    assert restarts > 10
    assert broken == {}


def _has_begun(world: World) -> bool:
    with world.device() as device:
        return bool(device.journal.unfinished())
