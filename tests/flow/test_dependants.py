"""A container that lives in the service's network is never lost either, nor left behind in a network that is gone."""

from pathlib import Path

import pytest

from caissond.model.records import Outcome, Status, Verdict
from tests.flow.device import World, outcome, package
from tests.flow.faults import (
    Fault,
    Strike,
    Trial,
    Where,
    ask_to_stop,
    broken_by,
    cut_power,
    cut_power_at_odds,
    cut_power_quietly,
    go_down,
    hang,
    kill,
    live_restore,
    prune,
    refuse,
    settled_once_begun,
    settled_without_state,
)

GOOD, BAD = package(), package(crashes=True)
RELEASES = pytest.mark.parametrize("content", [GOOD, BAD], ids=["good", "crashing"])


@RELEASES
def test_dependant_is_made_again_with_its_service(folder: Path, content: bytes) -> None:
    world = World.make(folder, sidecar="unless-stopped")
    before = world.docker.named()["sidecar"]["Id"]
    ended = outcome(world.update(world.write_package(content)))
    assert ended is (Outcome.SUCCEEDED if content is GOOD else Outcome.ROLLED_BACK)
    assert world.broken_promises() == []
    assert (world.docker.named()["sidecar"]["Id"] == before) is (content is BAD)


def test_release_that_crashes_is_judged_by_the_gate_and_not_by_its_dependant(folder: Path) -> None:
    world = World.make(folder, sidecar="always")
    verdict = world.update(world.write_package(BAD))
    assert isinstance(verdict, Verdict)
    assert (verdict.outcome, verdict.code) == (Outcome.ROLLED_BACK, "gate.exited")


@RELEASES
@pytest.mark.parametrize("where", list(Where))
def test_dependant_is_whole_after_a_kill_at_any_point(folder: Path, where: Where, content: bytes) -> None:
    assert broken_by(Fault(kill, where), folder, content, sidecar="unless-stopped") == {}


@RELEASES
@pytest.mark.parametrize("where", [Where.BEFORE_CALL, Where.AFTER_CALL])
@pytest.mark.parametrize("strike", [refuse, hang, go_down])
def test_dependant_is_whole_after_trouble_with_the_engine_at_any_point(
    folder: Path, strike: Strike, where: Where, content: bytes
) -> None:
    assert broken_by(Fault(strike, where), folder, content, sidecar="always") == {}


@RELEASES
@pytest.mark.parametrize("strike", [live_restore, prune, cut_power, cut_power_quietly])
def test_dependant_is_whole_after_a_restart_or_a_prune_at_any_point(
    folder: Path, strike: Strike, content: bytes
) -> None:
    assert broken_by(Fault(strike, Where.AFTER_CALL), folder, content, sidecar="always") == {}


def test_dependant_is_whole_when_we_are_asked_to_stop(folder: Path) -> None:
    assert broken_by(Fault(ask_to_stop), folder, GOOD, sidecar="no") == {}


def test_dependant_is_made_again_for_an_old_release_that_somebody_removed(folder: Path) -> None:
    world = World.make(folder, sidecar="unless-stopped")
    world.on_event = lambda event: _remove_old(world) if event.code == "update.checking" else None
    assert outcome(world.update(world.write_package(BAD))) is Outcome.ROLLED_BACK
    assert world.broken_promises() == []


def _remove_old(world: World) -> None:
    world.docker.containers.pop(world.old)


def test_way_back_of_a_dependant_is_open_at_once(folder: Path) -> None:
    """When Caisson goes back from a commit, Docker revives the old dependant before anything else is done."""
    world = World.make(folder, sidecar="no")
    revived: list[str] = []

    def refuse_tag(_number: int, what: str) -> None:
        if what.startswith("tag") and what.endswith(world.reference):
            world.docker.before = note_policy
            refuse(world)

    def note_policy(_number: int, what: str) -> None:
        old = world.docker.containers[sidecar]
        if what.startswith("rename"):
            revived.append(old["HostConfig"]["RestartPolicy"]["Name"])

    sidecar = world.docker.named()["sidecar"]["Id"]
    world.docker.before = refuse_tag
    world.update(world.write_package(GOOD))
    assert revived[0] == "always"
    assert world.broken_promises() == []


# the power goes, and caissond does not come back


def _old_is_back(trial: Trial) -> list[str]:
    """Between the first stop and the verdict, as far as Docker starts the service before what lives in it."""
    with trial.world.device() as device:
        records = device.journal.unfinished()
    statuses = {name.partition("/")[2]: status for one in records for name, status in one.statuses.items()}
    before_verdict = statuses.get("health-gate") in (Status.PENDING, Status.DOING)
    if statuses.get("stop-dependants") is not Status.DONE or not before_verdict:
        return []
    running = (trial.world.version(), sorted(trial.world.running()))
    return [] if running == ("old", ["frontend", "sidecar"]) else [f"{running} run"]


@RELEASES
def test_power_cut_before_the_verdict_brings_both_old_ones_back_without_us(
    folder: Path, content: bytes
) -> None:
    fault = Fault(cut_power, Where.AFTER_CALL)
    assert broken_by(fault, folder, content, _old_is_back, sidecar="no") == {}


@RELEASES
def test_dependant_that_docker_did_not_revive_is_started_when_the_update_is_settled(
    folder: Path, content: bytes
) -> None:
    fault = Fault(cut_power_at_odds, Where.AFTER_CALL)
    assert broken_by(fault, folder, content, settled_once_begun, sidecar="always") == {}


# the database is lost too


@RELEASES
def test_dependant_is_whole_when_the_database_is_deleted_at_any_point(folder: Path, content: bytes) -> None:
    fault = Fault(kill, Where.AFTER_CALL)
    assert broken_by(fault, folder, content, settled_without_state, sidecar="unless-stopped") == {}
