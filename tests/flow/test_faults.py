"""Whatever fails, at whatever point of an update: once settled, one whole release runs, and nothing else is left.

The engine is in memory, everything else is real. The points are counted, not listed: a call more is a point more.
"""

from pathlib import Path

import pytest

from caissond.errors import HostUnavailable
from caissond.model.records import Outcome, Status, Verdict
from tests.flow.device import OLD_REFERENCE, World, dump, outcome, package
from tests.flow.faults import (
    Fault,
    Killed,
    Strike,
    Trial,
    Where,
    ask_to_stop,
    break_disk,
    broken_by,
    broken_by_two,
    cut_power,
    cut_power_quietly,
    end_dockerd,
    fill_disk,
    go_down,
    hang,
    kill,
    lift,
    live_restore,
    prune,
    refuse,
    settled_once_touched,
    try_at,
)

GOOD, BAD = package(), package(crashes=True)
LAYERS = package(padding=(3 << 20,) * 3)
"""So large that they go into Docker one by one."""


RELEASES = pytest.mark.parametrize("content", [GOOD, BAD], ids=["good", "crashing"])

FAULTS = {
    "the engine refuses a call": Fault(refuse),
    "the engine refuses though it did it": Fault(refuse, Where.AFTER_CALL),
    "the engine refuses everything": Fault(refuse, lasting=True),
    "a call hangs": Fault(hang),
    "a call hangs though it was done": Fault(hang, Where.AFTER_CALL),
    "the engine goes down before a call": Fault(go_down),
    "the engine goes down before its answer": Fault(go_down, Where.AFTER_CALL),
    "the engine restarts with live-restore": Fault(live_restore, Where.AFTER_CALL),
    "killed before a call": Fault(kill),
    "killed after a call": Fault(kill, Where.AFTER_CALL),
    "killed before a write": Fault(kill, Where.BEFORE_WRITE),
    "killed after a write": Fault(kill, Where.AFTER_WRITE),
    "power cut before a call": Fault(cut_power),
    "power cut after a call": Fault(cut_power, Where.AFTER_CALL),
    "power cut after a write": Fault(cut_power, Where.AFTER_WRITE),
    "asked to stop at a call": Fault(ask_to_stop),
    "asked to stop at a write": Fault(ask_to_stop, Where.AFTER_WRITE),
    "somebody prunes": Fault(prune, Where.AFTER_CALL),
    "no space for a write": Fault(fill_disk, Where.BEFORE_WRITE),
    "no space for any more writes": Fault(fill_disk, Where.BEFORE_WRITE, lasting=True),
    "a write fails": Fault(break_disk, Where.BEFORE_WRITE),
    "all writes fail from now on": Fault(break_disk, Where.BEFORE_WRITE, lasting=True),
}


@RELEASES
@pytest.mark.parametrize("fault", FAULTS)
def test_service_is_whole_after_a_fault_at_any_point(folder: Path, fault: str, content: bytes) -> None:
    assert broken_by(FAULTS[fault], folder, content) == {}


@pytest.mark.parametrize(
    "fault",
    [name for name, fault in FAULTS.items() if fault.where is not Where.BEFORE_WRITE and not fault.lasting],
)
def test_service_is_whole_after_a_fault_between_two_layers(folder: Path, fault: str) -> None:
    assert broken_by(FAULTS[fault], folder, LAYERS) == {}


def _up(trial: Trial) -> list[str]:
    running = trial.world.running()
    return [] if running == ["frontend"] else [f"{running} run"]


@RELEASES
@pytest.mark.parametrize("strike", [refuse, hang])
def test_one_failed_call_leaves_the_service_up_before_anybody_settles(
    folder: Path, strike: Strike, content: bytes
) -> None:
    assert broken_by(Fault(strike), folder, content, _up) == {}


@RELEASES
@pytest.mark.parametrize(
    "fault", ["killed after a call", "power cut after a call", "the engine refuses a call"]
)
def test_service_whose_tag_is_moved_is_whole_too(folder: Path, fault: str, content: bytes) -> None:
    """The package names the tag that the old image has: `example/frontend:stable` in both."""
    content = package(crashes=content is BAD, reference=OLD_REFERENCE)
    assert broken_by(FAULTS[fault], folder, content, reference=OLD_REFERENCE) == {}


@RELEASES
def test_engine_restart_in_the_middle_never_leaves_the_service_down(folder: Path, content: bytes) -> None:
    """So quick that no call fails: containers stopped, and only those with a restart policy are up again."""
    assert broken_by(Fault(cut_power_quietly, Where.AFTER_CALL), folder, content) == {}


def test_two_refusals_at_any_two_points_leave_the_service_whole(folder: Path) -> None:
    assert broken_by_two(Fault(refuse), folder, GOOD) == {}


# the power goes, and caissond does not come back


def _revived(trial: Trial) -> list[str]:
    """Promise 2, and that at no time nothing runs."""
    with trial.world.device() as device:
        records = device.journal.unfinished()
    statuses = {
        name.partition("/")[2]: status for record in records for name, status in record.statuses.items()
    }
    running = trial.world.running()
    stopped = statuses.get("stop-old") is Status.DONE
    passed = not records or statuses["health-gate"] is Status.DONE
    if (
        not passed
        and (stopped or trial.world.policy != "no")
        and (running, trial.world.version()) != (["frontend"], "old")
    ):
        return [f"{running} run before the verdict"]
    committed = not records or statuses["commit"] is Status.DONE
    return [] if running or _ran_with_policy_no(trial.world, committed=committed) else ["nothing runs"]


def _ran_with_policy_no(world: World, *, committed: bool) -> bool:
    """Whether the power was cut while all was as somebody wants it who gave the service this policy: the old release
    not stopped yet or wholly back, or the new one committed.
    """
    service = world.docker.named().get("frontend")
    if service is None or service["HostConfig"]["RestartPolicy"]["Name"] != "no":
        return False
    return service["Id"] in world.docker.ran_at_cut and (committed or service["Image"] == world.old_image)


@RELEASES
@pytest.mark.parametrize("policy", ["no", "on-failure", "unless-stopped", "always"])
def test_power_cut_before_the_verdict_brings_the_old_release_back_without_us(
    folder: Path, policy: str, content: bytes
) -> None:
    fault = Fault(cut_power, Where.AFTER_CALL)
    assert broken_by(fault, folder, content, _revived, policy=policy) == {}


def _settled_beside_a_starter(trial: Trial) -> list[str]:
    lift(trial.world)
    trial.world.start_by_name()
    trial.world.settle()
    return trial.world.broken_promises()


@RELEASES
def test_service_that_something_else_starts_by_its_name_is_whole_after_a_power_cut(
    folder: Path, content: bytes
) -> None:
    """Restart policy `no`: at boot a unit runs `docker start frontend`, perhaps before caissond does anything."""
    fault = Fault(cut_power, Where.AFTER_CALL)
    assert broken_by(fault, folder, content, _settled_beside_a_starter, policy="no") == {}


@RELEASES
@pytest.mark.parametrize(
    ("strike", "policy"), [(cut_power, "no"), (end_dockerd, "no"), (end_dockerd, "unless-stopped")]
)
def test_service_that_no_policy_brings_back_is_started_when_the_update_is_settled(
    folder: Path, strike: Strike, policy: str, content: bytes
) -> None:
    fault = Fault(strike, Where.AFTER_CALL)
    assert broken_by(fault, folder, content, settled_once_touched, policy=policy) == {}


def test_release_that_is_refused_its_own_policy_has_succeeded_and_gets_it_later(folder: Path) -> None:
    world = World.make(folder, policy="unless-stopped")

    def refuse_policy(_number: int, what: str) -> None:
        if what.startswith("update ") and what.endswith(" unless-stopped"):
            refuse(world)

    world.docker.before = refuse_policy
    verdict = world.update(world.write_package(GOOD))
    assert isinstance(verdict, Verdict)
    assert (verdict.outcome, verdict.unsettled, verdict.retry) == (Outcome.SUCCEEDED, True, False)
    lift(world)
    world.settle()
    assert world.broken_promises() == []


# what becomes of the package


def _next_attempt(trial: Trial) -> list[str]:
    trial.settle()
    end = outcome(trial.world.update(trial.path))
    return [] if end in (Outcome.SUCCEEDED, Outcome.NOTHING_TO_DO) else [f"the next attempt ends as {end}"]


@pytest.mark.parametrize("strike", [kill, go_down, cut_power, refuse, ask_to_stop])
def test_package_that_was_cut_off_is_applied_at_the_next_attempt(folder: Path, strike: Strike) -> None:
    assert broken_by(Fault(strike, Where.BEFORE_CALL), folder, GOOD, _next_attempt) == {}


def _next_attempt_whole(trial: Trial) -> list[str]:
    return [*_next_attempt(trial), *trial.world.broken_promises()]


@pytest.mark.parametrize("strike", [cut_power, kill, prune])
def test_no_layer_that_a_power_cut_emptied_is_built_upon(folder: Path, strike: Strike) -> None:
    assert broken_by(Fault(strike, Where.AFTER_CALL), folder, LAYERS, _next_attempt_whole) == {}


def _stopped_in_order(trial: Trial) -> list[str]:
    """Undone before anybody has to settle, and the package stays; or done, and it does not."""
    version, result = trial.world.version(), trial.result
    assert isinstance(result, Verdict)
    stays = result.retry or result.outcome is Outcome.POSTPONED
    problems = trial.world.broken_promises()
    return (
        problems
        if stays is (version == "old")
        else [*problems, f"{version} runs, and the package stays: {stays}"]
    )


def test_stop_undoes_before_the_verdict_and_finishes_after_it(folder: Path) -> None:
    assert broken_by(Fault(ask_to_stop), folder, GOOD, _stopped_in_order) == {}


def _kill_at_create(_number: int, what: str) -> None:
    if what.startswith("create"):
        raise Killed


def test_three_attempts_that_are_cut_off_are_the_last(folder: Path) -> None:
    world = World.make(folder)
    path = world.write_package(GOOD)
    for _attempt in range(3):
        world.docker.before = _kill_at_create
        with pytest.raises(Killed):
            world.update(path)
        lift(world)
    assert world.settle()[0].code == "update.interrupted"
    verdict = world.update(path)
    assert isinstance(verdict, Verdict)
    assert (verdict.outcome, verdict.code) == (Outcome.REFUSED, "release.too_many_attempts")
    assert world.broken_promises() == []


def test_only_the_gate_puts_a_release_into_quarantine(folder: Path) -> None:
    world = World.make(folder)
    path = world.write_package(BAD)
    assert outcome(world.update(path)) is Outcome.ROLLED_BACK
    verdict = world.update(path)
    assert isinstance(verdict, Verdict)
    assert (verdict.outcome, verdict.code) == (Outcome.REFUSED, "release.quarantined")


def test_nothing_is_done_while_the_engine_is_away(folder: Path) -> None:
    world = World.make(folder)
    Fault(go_down).arm(world, frozenset({35}))
    world.update(world.write_package(GOOD))
    before = dump(world)
    with pytest.raises(HostUnavailable):
        world.settle()
    assert dump(world) == before
    with world.device() as device:
        assert len(device.journal.unfinished()) == 1


def test_settling_twice_changes_nothing(folder: Path) -> None:
    trial = try_at(Fault(kill, Where.AFTER_CALL), frozenset({35}), folder, GOOD)
    trial.settle()
    before = dump(trial.world)
    assert trial.world.settle() == ()
    assert dump(trial.world) == before
