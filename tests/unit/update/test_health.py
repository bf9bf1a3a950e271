"""The gate believes only what lasts: every way of not getting well is caught, and as early as it can be."""

from collections.abc import Iterable
from typing import Any

import pytest

from caissond.errors import GateFailed, NotFound, Stopping
from caissond.model.catalog import HealthCheck, HealthKind
from caissond.model.events import EVENTS
from caissond.update.gate import Gate
from caissond.update.health import Observation, Watch, watch

RUNNING = HealthCheck(kind=HealthKind.RUNNING, timeout_secs=30, stable_secs=10, poll_interval_secs=1)
HEALTH = HealthCheck(kind=HealthKind.CONTAINER_HEALTH, timeout_secs=30, stable_secs=5, poll_interval_secs=1)
ONCE = HealthCheck(kind=HealthKind.COMPLETED, timeout_secs=30, poll_interval_secs=1)
GONE = NotFound("cannot inspect it", code="docker.not_found")

Look = dict[str, Any] | Exception


def look(health: str | None = None, *, restarts: int = 0, started: str = "08:00", **state: Any) -> Look:
    """What an inspect shows of a container; running, unless `state` says otherwise."""
    shown = {"Running": True, "Restarting": False, "ExitCode": 0, "OOMKilled": False, "StartedAt": started}
    if health is not None:
        shown["Health"] = {"Status": health}
    return {"State": {**shown, **state}, "RestartCount": restarts}


EXITED = look(Running=False, ExitCode=3)


class Container:
    """Shows one look at a second, and the last one for ever; a clock that goes with it."""

    def __init__(self, *looks: Look) -> None:
        self.looks = list(looks)
        self.now_s = 100.0

    def look(self) -> dict[str, Any]:
        shown = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if isinstance(shown, Exception):
            raise shown
        return shown

    def pause(self, seconds: float) -> None:
        self.now_s += seconds

    def watch(self, check: HealthCheck) -> str:
        return watch(Watch(Gate(check), self.look, clock=lambda: self.now_s), pause=self.pause)

    @property
    def took_s(self) -> float:
        return self.now_s - 100


def failure(check: HealthCheck, *looks: Look) -> tuple[str, float]:
    """The code, and after how many seconds."""
    container = Container(*looks)
    with pytest.raises(GateFailed) as failed:
        container.watch(check)
    assert EVENTS[failed.value.code]
    return failed.value.code, container.took_s


def test_release_that_stays_up_passes_after_the_stable_time() -> None:
    container = Container(look())
    assert container.watch(RUNNING) == "running for 10 s"
    assert container.took_s == 10


@pytest.mark.parametrize(("timeout", "expected"), [(30, 10), (12, 6), (1, 1)])
def test_stable_time_is_at_most_half_of_the_deadline(timeout: int, expected: int) -> None:
    container = Container(look())
    container.watch(RUNNING.model_copy(update={"timeout_secs": timeout}))
    assert container.took_s == expected


def test_one_look_is_never_enough() -> None:
    at_once = RUNNING.model_copy(update={"stable_secs": 0.0})
    assert failure(at_once, look(), EXITED) == ("gate.exited", 1)
    container = Container(look())
    container.watch(at_once)
    assert container.took_s == 1


def crash_loop() -> Iterable[tuple[str, list[Look]]]:
    yield "caught between two runs", [look(), look(Restarting=True, ExitCode=1)]
    yield "caught while it runs again", [look(), look(restarts=1)]
    yield "caught by its start time alone", [look(), look(started="08:01")]
    yield "up for nine seconds each time", [*[look()] * 9, look(restarts=1, started="08:09")]


@pytest.mark.parametrize(
    ("looks"), [looks for _, looks in crash_loop()], ids=[name for name, _ in crash_loop()]
)
def test_crash_loop_never_passes(looks: list[Look]) -> None:
    assert failure(RUNNING, *looks) == ("gate.restarting", len(looks) - 1)


def test_restarts_of_before_the_gate_are_not_held_against_it() -> None:
    assert Container(look(restarts=7)).watch(RUNNING)


@pytest.mark.parametrize("check", [RUNNING, HEALTH], ids=["running", "health"])
def test_exit_fails_at_once(check: HealthCheck) -> None:
    assert failure(check, EXITED) == ("gate.exited", 0)
    assert failure(check, look("starting"), look("starting"), EXITED) == ("gate.exited", 2)


def test_exit_with_code_0_is_an_exit_too() -> None:
    assert failure(RUNNING, look(), look(Running=False)) == ("gate.exited", 1)


def test_running_out_of_memory_fails_at_once_and_is_named() -> None:
    killed = look(Running=False, OOMKilled=True, ExitCode=137)
    assert failure(RUNNING, look(), killed) == ("gate.out_of_memory", 1)
    assert failure(RUNNING, look(), look(OOMKilled=True)) == ("gate.out_of_memory", 1)


@pytest.mark.parametrize("check", [RUNNING, HEALTH], ids=["running", "health"])
def test_unhealthy_fails_at_once(check: HealthCheck) -> None:
    assert failure(check, look("starting"), look("unhealthy")) == ("gate.unhealthy", 1)


def test_health_passes_once_healthy_and_stable() -> None:
    container = Container(*[look("starting")] * 7, look("healthy"))
    assert container.watch(HEALTH) == "healthy for 7 s"
    container = Container(look("starting"), look("healthy"))
    assert container.watch(HEALTH) == "healthy for 5 s"


def test_health_that_is_still_starting_at_the_deadline_fails() -> None:
    assert failure(HEALTH, look("starting")) == ("gate.timed_out", 30)


def test_running_does_not_wait_for_a_health_check() -> None:
    assert Container(look("starting")).watch(RUNNING) == "starting for 10 s"


@pytest.mark.parametrize("shown", [look(), look("none")], ids=["none", "switched off"])
def test_missing_health_check_fails_at_once_where_it_is_asked_for(shown: Look) -> None:
    assert failure(HEALTH, shown) == ("gate.no_healthcheck", 0)


def test_container_removed_by_hand_is_no_verdict_on_the_release() -> None:
    with pytest.raises(NotFound):
        Container(look(), GONE).watch(RUNNING)


def test_request_to_stop_ends_the_watch() -> None:
    def stop(_seconds: float) -> None:
        raise Stopping("cannot go on", code="update.interrupted")

    with pytest.raises(Stopping):
        watch(Watch(Gate(RUNNING), Container(look()).look), pause=stop)


def test_inspect_of_an_older_engine_may_leave_things_out() -> None:
    seen = Observation.of({"State": {"Running": True, "Health": None}}, at_s=3)
    assert seen == Observation(3, True, False, 0, 0, False, None, "")


# what ends by itself

DONE = look(Running=False, ExitCode=0)


def test_service_that_ends_well_has_done_its_work() -> None:
    assert Container(look(), look(), DONE).watch(ONCE) == "done after 2 s"
    assert Container(DONE).watch(ONCE) == "done after 0 s"


def test_service_that_ends_badly_or_not_at_all_has_not() -> None:
    assert failure(ONCE, look(), EXITED) == ("gate.exited", 1)
    assert failure(ONCE, look()) == ("gate.timed_out", 30)
    assert failure(ONCE, look(), look(restarts=1)) == ("gate.restarting", 1)
    assert failure(ONCE, look(Running=False, OOMKilled=True)) == ("gate.out_of_memory", 0)


# several at once


def test_all_have_to_be_well_at_the_same_time() -> None:
    quick, slow = Container(look()), Container(*[look("starting")] * 15, look("healthy"))

    def pause(seconds: float) -> None:
        for one in (quick, slow):
            one.pause(seconds)

    watches = [Watch(Gate(HEALTH), slow.look, clock=lambda: slow.now_s)]
    watches.append(Watch(Gate(RUNNING), quick.look, clock=lambda: quick.now_s))
    assert watch(*watches, pause=pause) == "running for 15 s"


def test_one_that_falls_over_after_it_has_passed_fails_all() -> None:
    falls = Container(*[look()] * 12, EXITED)
    slow = Container(*[look("starting")] * 15, look("healthy"))
    watches = [Watch(Gate(HEALTH), slow.look, clock=lambda: falls.now_s)]
    watches.append(Watch(Gate(RUNNING), falls.look, clock=lambda: falls.now_s))
    with pytest.raises(GateFailed) as failed:
        watch(*watches, pause=falls.pause)
    assert failed.value.code == "gate.exited"


def test_time_runs_from_the_first_look_at_each() -> None:
    """With many of them, the last is first looked at long after the watch was made."""
    late = Container(look())
    watched = Watch(Gate(RUNNING), late.look, clock=lambda: late.now_s)
    late.pause(29)
    assert watch(watched, pause=late.pause) == "running for 10 s"
