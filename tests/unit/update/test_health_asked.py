"""The gate of the kinds that ask the service: what a failure means when, and how long a service has to stay well."""

from collections.abc import Iterator
from typing import Any

import pytest

from caissond.errors import GateFailed, Unprobeable
from caissond.host.probes import Answer
from caissond.model.catalog import HealthCheck, HealthKind
from caissond.update.gate import Gate, gate_of_new, gate_of_old
from caissond.update.health import Watch, watch
from tests.unit.samples import before
from tests.unit.update.test_health import EXITED, Look, look

WELL, SICK = Answer(True, "it answers"), Answer(False, "it is silent")


def http(**keys: Any) -> HealthCheck:
    """Asks every second, for 30 at most; 5 of them in a row have to be good."""
    keys = {"timeout_secs": 30, "stable_secs": 5, "poll_interval_secs": 1, **keys}
    return HealthCheck(kind=HealthKind.HTTP, url="http://{container}/", **keys)


class Service:
    """Answers so, once a second, and with the last one for ever; a clock that goes with it."""

    def __init__(self, answers: str, *looks: Look, takes_s: float = 0) -> None:
        """
        Args:
            answers: `+` is well, `-` is not.
            takes_s: how long it takes to answer.
        """
        self.answers: Iterator[str] = iter(answers)
        self.last = answers[-1]
        self.looks = list(looks or [look()])
        self.takes_s = takes_s
        self.now_s = 0.0
        self.granted_s: list[float] = []

    def look(self) -> dict[str, Any]:
        shown = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        assert isinstance(shown, dict)
        return shown

    def probe(self, _container: dict[str, Any], timeout_s: float) -> Answer:
        self.granted_s.append(timeout_s)
        self.now_s += min(self.takes_s, timeout_s)
        return WELL if next(self.answers, self.last) == "+" else SICK

    def pause(self, seconds: float) -> None:
        self.now_s += seconds

    def watch(self, gate: Gate) -> str:
        return watch(Watch(gate, self.look, self.probe, lambda: self.now_s), pause=self.pause)


def passed_after(answers: str, **keys: Any) -> float:
    service = Service(answers)
    service.watch(Gate(http(**keys)))
    return service.now_s


def failure(service: Service, **keys: Any) -> tuple[str, float]:
    """The code, and after how many seconds."""
    with pytest.raises(GateFailed) as failed:
        service.watch(Gate(http(**keys)))
    return failed.value.code, service.now_s


def test_service_that_answers_all_along_passes_after_the_stable_time() -> None:
    service = Service("+")
    assert service.watch(Gate(http())) == "it answers, for 5 s"
    assert service.now_s == 5


def test_stable_time_begins_with_the_first_good_answer() -> None:
    assert passed_after("---+") == 3 + 5


def test_one_failure_begins_the_stable_time_anew() -> None:
    assert passed_after("++++-+") == 5 + 5


def test_one_good_answer_is_never_enough() -> None:
    assert passed_after("+", stable_secs=0) == 1
    assert failure(Service("+-"), stable_secs=0)[0] == "gate.timed_out"


def test_without_retries_only_the_deadline_is_a_verdict() -> None:
    assert passed_after("-" * 20 + "+") == 25
    assert failure(Service("-")) == ("gate.timed_out", 30)


def test_deadline_counts_for_one_that_is_well_too_late() -> None:
    with pytest.raises(GateFailed, match="it answers, but for 2 s only, after 30 s"):
        Service("-" * 28 + "+").watch(Gate(http()))


def test_flapping_never_passes() -> None:
    assert failure(Service("+++-" * 30)) == ("gate.timed_out", 30)


def test_retries_are_failures_in_a_row() -> None:
    assert failure(Service("---"), retries=3) == ("gate.probe_failed", 2)
    assert failure(Service("--+--+---"), retries=3) == ("gate.probe_failed", 8)
    assert passed_after("--+", retries=3) == 7


def test_failures_in_the_start_period_do_not_count() -> None:
    assert passed_after("-" * 9 + "+", retries=1, start_period_secs=10) == 14
    assert failure(Service("-"), retries=2, start_period_secs=10) == ("gate.probe_failed", 11)


def test_good_answer_ends_the_start_period() -> None:
    assert failure(Service("-+-"), retries=1, start_period_secs=10) == ("gate.probe_failed", 2)


def test_probe_ends_with_the_deadline() -> None:
    service = Service("-", takes_s=100)
    assert failure(service, probe_timeout_secs=20)[0] == "gate.timed_out"
    assert service.granted_s[:2] == [20, 9]
    assert service.now_s < 32


ENDS = {
    "exits": (EXITED, "gate.exited"),
    "restarts": (look(restarts=1), "gate.restarting"),
    "out of memory": (look(OOMKilled=True), "gate.out_of_memory"),
    "unhealthy": (look("unhealthy"), "gate.unhealthy"),
}


@pytest.mark.parametrize(("end", "code"), ENDS.values(), ids=ENDS)
def test_bad_end_fails_at_once_though_it_answers(end: Look, code: str) -> None:
    assert failure(Service("+", look(), end)) == (code, 1)


def test_end_between_look_and_probe_is_named_instead_of_the_silence() -> None:
    assert failure(Service("-", look(), EXITED), retries=1) == ("gate.exited", 0)


def test_container_that_does_not_run_is_not_asked() -> None:
    service = Service("+", EXITED)
    failure(service)
    assert service.granted_s == []


def test_what_cannot_be_asked_is_no_verdict() -> None:
    def probe(_container: dict[str, Any], _timeout_s: float) -> Answer:
        raise Unprobeable("cannot ask it", code="service.cannot_be_probed")

    with pytest.raises(Unprobeable):
        watch(Watch(Gate(http()), Service("+").look, probe))


# what failed before

UNHEALTHY: dict[str, Any] = {"State": {"Health": {"Status": "unhealthy"}}}


def test_release_is_held_to_its_check_whatever_failed_before() -> None:
    failed = before().model_copy(update={"check_failed": "it was silent"})
    assert gate_of_new(http(), failed) == Gate(http())


def test_baseline_leaves_only_running_of_a_check_that_failed_before() -> None:
    failed = before().model_copy(update={"check_failed": "it was silent", "baseline": True})
    gate = gate_of_new(http(), failed)
    assert (gate.check.kind, gate.forgiven) == (HealthKind.RUNNING, "it was silent")
    assert Service("-").watch(gate) == "running for 5 s"
    assert gate.words == "running within 30 s; not held against it: it was silent"


def test_baseline_forgives_nothing_that_did_not_fail() -> None:
    well = before().model_copy(update={"baseline": True})
    assert gate_of_new(http(), well) == Gate(http())


def test_unhealthy_before_is_forgiven_and_the_probe_still_asked() -> None:
    gate = gate_of_new(http(), before(**UNHEALTHY).model_copy(update={"baseline": True}))
    assert (gate.check.kind, gate.heeds_health) == (HealthKind.HTTP, False)
    assert Service("+", look("unhealthy")).watch(gate) == "it answers, for 5 s"
    with pytest.raises(GateFailed):
        Service("-", look("unhealthy")).watch(gate)


def test_health_that_failed_before_is_not_asked_with_baseline() -> None:
    check = HealthCheck(kind=HealthKind.CONTAINER_HEALTH, stable_secs=5)
    gate = gate_of_new(check, before(**UNHEALTHY).model_copy(update={"baseline": True}))
    assert Service("-", look("unhealthy")).watch(gate) == "unhealthy for 5 s"


def test_health_of_a_stopped_service_says_nothing() -> None:
    stopped = before(was_running=False, **UNHEALTHY).model_copy(update={"baseline": True})
    assert stopped.forgiven == ""


def test_old_release_need_not_pass_on_the_way_back_what_it_failed_before() -> None:
    failed = before().model_copy(update={"check_failed": "it was silent"})
    assert gate_of_old(http(), failed).check.kind is HealthKind.RUNNING
    assert gate_of_old(http(), before()) == Gate(http())
