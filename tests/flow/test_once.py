"""A service that has something to do and ends: the new release is run, by nobody but us, and has to end well."""

from pathlib import Path

import pytest

from caissond.model.records import Outcome, Verdict
from tests.flow.compose import OnceWorld
from tests.flow.device import package
from tests.flow.fake_docker import COMPLETES
from tests.flow.faults import (
    Fault,
    Strike,
    Where,
    ask_to_stop,
    broken_among,
    cut_power,
    hang,
    kill,
    lift,
    live_restore,
    prune,
    refuse,
    settled_once_begun,
    settled_without_state,
)

GOOD, BAD, ENDLESS = package(command=COMPLETES), package(crashes=True), package()
RELEASES = pytest.mark.parametrize("content", [GOOD, BAD], ids=["good", "failing"])


def update(world: OnceWorld, content: bytes) -> Verdict:
    verdict = world.update(world.write_package(content))
    assert isinstance(verdict, Verdict)
    return verdict


@RELEASES
def test_release_that_ends_well_is_kept_and_another_is_not(folder: Path, content: bytes) -> None:
    world = OnceWorld.of(folder)
    verdict = update(world, content)
    expected = (Outcome.SUCCEEDED, "") if content is GOOD else (Outcome.ROLLED_BACK, "gate.exited")
    assert (verdict.outcome, verdict.code) == expected
    assert world.broken_promises() == []
    assert verdict.parts[0].ungated is False


def test_release_that_does_not_end_in_time_is_not_kept(folder: Path) -> None:
    world = OnceWorld.of(folder)
    world.set_timeout_s(1)
    assert update(world, ENDLESS).code == "gate.timed_out"
    assert world.broken_promises() == []


def test_old_release_is_not_run_again(folder: Path) -> None:
    world = OnceWorld.of(folder)
    started = world.docker.containers[world.old]["State"]["StartedAt"]
    update(world, BAD)
    assert world.docker.containers[world.old]["State"]["StartedAt"] == started


def test_service_that_is_at_work_is_not_disturbed(folder: Path) -> None:
    world = OnceWorld.of(folder)
    world.docker.containers[world.old]["State"].update(Status="running", Running=True)
    verdict = update(world, GOOD)
    assert (verdict.outcome, verdict.code) == (Outcome.POSTPONED, "service.at_work")


def test_engine_that_ends_it_says_nothing_about_the_release(folder: Path) -> None:
    world = OnceWorld.of(folder)

    def restart_engine(_number: int, what: str) -> None:
        if what.startswith("start"):
            new = world.docker.containers[what.partition(" ")[2]]
            new["State"].update(Status="exited", Running=False, ExitCode=255)
            world.docker.starts += 1

    world.docker.after = restart_engine
    verdict = update(world, GOOD)
    assert (verdict.outcome, verdict.code, verdict.retry) == (Outcome.ROLLED_BACK, "update.interrupted", True)
    lift(world)
    assert update(world, GOOD).outcome is Outcome.SUCCEEDED


def test_good_end_that_the_engine_brought_about_says_nothing_either(folder: Path) -> None:
    world = OnceWorld.of(folder)

    def restart_engine(_number: int, what: str) -> None:
        world.docker.starts += what.startswith("start")

    world.docker.after = restart_engine
    verdict = update(world, GOOD)
    assert (verdict.code, verdict.retry) == ("update.interrupted", True)


def test_old_one_that_somebody_starts_meanwhile_is_not_disturbed(folder: Path) -> None:
    world = OnceWorld.of(folder)
    old = world.docker.containers[world.old]
    world.on_event = lambda event: (
        old["State"].update(Running=True) if event.code == "update.loading" else None
    )
    verdict = update(world, GOOD)
    assert (verdict.code, verdict.retry, old["State"]["Running"]) == ("service.at_work", True, True)
    assert list(world.docker.named()) == ["frontend"]


@RELEASES
@pytest.mark.parametrize("where", list(Where))
def test_service_is_whole_after_a_kill_at_any_point(folder: Path, where: Where, content: bytes) -> None:
    assert broken_among(OnceWorld.of, Fault(kill, where), folder, content) == {}


@RELEASES
@pytest.mark.parametrize("strike", [refuse, hang, ask_to_stop])
def test_service_is_whole_after_trouble_at_any_point(folder: Path, strike: Strike, content: bytes) -> None:
    assert broken_among(OnceWorld.of, Fault(strike), folder, content) == {}


@RELEASES
@pytest.mark.parametrize("strike", [cut_power, live_restore])
def test_service_is_whole_after_a_restart_at_any_point(folder: Path, strike: Strike, content: bytes) -> None:
    assert broken_among(OnceWorld.of, Fault(strike, Where.AFTER_CALL), folder, content) == {}


@RELEASES
def test_service_is_whole_after_a_prune_in_the_middle(folder: Path, content: bytes) -> None:
    fault = Fault(prune, Where.AFTER_CALL)
    assert broken_among(OnceWorld.of, fault, folder, content, settled_once_begun) == {}


@RELEASES
def test_service_is_whole_when_the_database_is_deleted_at_any_point(folder: Path, content: bytes) -> None:
    fault = Fault(kill, Where.AFTER_CALL)
    assert broken_among(OnceWorld.of, fault, folder, content, settled_without_state) == {}
