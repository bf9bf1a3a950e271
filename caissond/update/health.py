"""The gate: whether a release has become and stays healthy.

`assess` is pure; `watch` polls the engine and the service, and asks it. Exits, restarts, running out of memory and
`unhealthy` fail at once whatever the kind, the deadline fails, and nothing is believed before it has lasted.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from caissond.errors import GateFailed
from caissond.model.catalog import HealthCheck, HealthKind
from caissond.update.gate import Gate, health_of

MIN_PROBE_S = 0.1


def has_health_check(config: Mapping[str, Any]) -> bool:
    """Whether a container or image with this configuration has one that is not turned off."""
    test = (config.get("Healthcheck") or {}).get("Test")
    return bool(test) and test != ["NONE"]


@dataclass(frozen=True, slots=True)
class Observation:
    """One look at a container. Times in seconds since the gate began."""

    at_s: float
    running: bool
    restarting: bool
    restarts: int
    exit_code: int
    out_of_memory: bool
    health: str | None
    started_at: str

    @classmethod
    def of(cls, inspect: dict[str, Any], *, at_s: float) -> "Observation":
        """What a container's inspect says."""
        state = inspect["State"]
        return cls(
            at_s=at_s,
            running=bool(state.get("Running")),
            restarting=bool(state.get("Restarting")),
            restarts=int(inspect.get("RestartCount", 0)),
            exit_code=int(state.get("ExitCode", 0)),
            out_of_memory=bool(state.get("OOMKilled")),
            health=health_of(inspect),
            started_at=str(state.get("StartedAt", "")),
        )


class Answer(Protocol):
    """What came of asking the service once."""

    @property
    def is_well(self) -> bool: ...

    @property
    def words(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of asking the service so far. Times in seconds since the gate began."""

    well_since_s: float | None = None
    """When the unbroken row of good answers began."""
    failures: int = 0
    """In a row, those of the start period left out."""
    was_well: bool = False
    """It was, once: that ends the start period."""
    words: str = "it was not asked yet"

    def after(self, check: HealthCheck, answer: Answer, at_s: float) -> "Asked":
        """The same with one answer more."""
        if answer.is_well:
            since_s = at_s if self.well_since_s is None else self.well_since_s
            return Asked(well_since_s=since_s, was_well=True, words=answer.words)
        counts = self.was_well or at_s >= check.start_period_secs
        return Asked(None, self.failures + counts, self.was_well, answer.words)


@dataclass(frozen=True, slots=True)
class Assessment:
    """Passed, failed or neither yet, and why."""

    passed: bool
    failed: bool
    code: str
    reason: str


def _wait(reason: str) -> Assessment:
    return Assessment(False, False, "", reason)


def _fail(code: str, reason: str) -> Assessment:
    return Assessment(False, True, code, reason)


def assess(gate: Gate, first: Observation, now: Observation, asked: Asked) -> Assessment:
    """The verdict after seeing a container first so and now so.

    Args:
        first: the first look at it, just after its start.
        now: the newest look.
        asked: what it answered, for the kinds that ask it.
    """
    if now.out_of_memory:
        return _fail("gate.out_of_memory", "it ran out of memory")
    if now.restarting or now.restarts > first.restarts or now.started_at != first.started_at:
        return _fail("gate.restarting", f"it restarted, exit code {now.exit_code}")
    if gate.check.kind is HealthKind.COMPLETED:
        return _assess_completion(gate.check, now)
    if not now.running:
        return _fail("gate.exited", f"it exited with code {now.exit_code} after {now.at_s:.0f} s")
    if now.health == "unhealthy" and gate.heeds_health:
        return _fail("gate.unhealthy", "its health check says unhealthy")
    if gate.check.kind is HealthKind.CONTAINER_HEALTH and now.health is None:
        return _fail("gate.no_healthcheck", "it has no health check")
    return _assess_asked(gate.check, now, asked) if gate.check.is_probed else _assess_running(gate.check, now)


def _assess_completion(check: HealthCheck, now: Observation) -> Assessment:
    """Of a service that has something to do and ends when it is done."""
    if now.running and now.at_s >= check.timeout_secs:
        return _fail("gate.timed_out", f"still not done after {check.timeout_secs} s")
    if now.running:
        return _wait(f"at work, {now.at_s:.0f} of {check.timeout_secs} s")
    if now.exit_code != 0:
        return _fail("gate.exited", f"it ended with code {now.exit_code} after {now.at_s:.0f} s")
    return Assessment(True, False, "", f"done after {now.at_s:.0f} s")


def _assess_running(check: HealthCheck, now: Observation) -> Assessment:
    healthy = check.kind is HealthKind.RUNNING or now.health == "healthy"
    state = now.health or "running"
    if healthy and now.at_s >= check.stable_s and now.at_s > 0:  # one look proves nothing
        return Assessment(True, False, "", f"{state} for {now.at_s:.0f} s")
    if now.at_s >= check.timeout_secs:
        return _fail("gate.timed_out", f"still {state} after {check.timeout_secs} s")
    return _wait(f"{state}, {now.at_s:.0f} of {check.timeout_secs} s")


def _assess_asked(check: HealthCheck, now: Observation, asked: Asked) -> Assessment:
    if asked.well_since_s is not None:
        well_s = now.at_s - asked.well_since_s
        if well_s >= check.stable_s and well_s > 0:  # nor does one answer
            return Assessment(True, False, "", f"{asked.words}, for {well_s:.0f} s")
    if check.retries is not None and asked.failures >= check.retries:
        return _fail("gate.probe_failed", f"{asked.words} ({asked.failures} failures in a row)")
    if now.at_s >= check.timeout_secs:
        return _fail("gate.timed_out", f"{_so_far(asked, now)} after {check.timeout_secs} s")
    return _wait(f"{asked.words}, {now.at_s:.0f} of {check.timeout_secs} s")


def _so_far(asked: Asked, now: Observation) -> str:
    if asked.well_since_s is None:
        return f"{asked.words}, still so"
    return f"{asked.words}, but for {now.at_s - asked.well_since_s:.0f} s only,"


class Look(Protocol):
    def __call__(self) -> dict[str, Any]:
        """The container's inspect."""


class Probe(Protocol):
    def __call__(self, container: dict[str, Any], timeout_s: float, /) -> Answer:
        """Ask the service once, within this time."""


def never_asked(_container: dict[str, Any], _timeout_s: float, /) -> Answer:
    """The probe of a gate whose kind asks nothing."""
    raise AssertionError("this kind of check asks nothing")


class Watch:
    """One container under watch, from its first look to its verdict."""

    def __init__(
        self, gate: Gate, look: Look, probe: Probe = never_asked, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """
        Args:
            look: returns its inspect.
            probe: asks it, for the kinds that do.
        """
        self.gate = gate
        self._look, self._probe, self._clock = look, probe, clock
        self._began_s = 0.0
        self._first: Observation | None = None
        self._asked = Asked()

    def look_again(self) -> Assessment:
        """Look at it, and ask it.

        Raises:
            Unprobeable: the probe cannot be made from here.
        """
        shown = self._look()
        if self._first is None:
            self._began_s = self._clock()
        now = Observation.of(shown, at_s=self._clock() - self._began_s if self._first else 0)
        self._first = self._first or now
        if self.gate.check.is_probed and now.running:
            self._asked = _ask(self.gate.check, shown, now.at_s, self._asked, self._probe)
            if (
                self._asked.well_since_s is None
            ):  # an end that came in between says more than the silence after it
                now = Observation.of(self._look(), at_s=now.at_s)
        return assess(self.gate, self._first, now, self._asked)


def watch(*watches: Watch, pause: Callable[[float], None] = time.sleep) -> str:
    """Look at containers until all of them have passed at the same time, and return why the last one did.

    Args:
        pause: waits this many seconds; may raise to end the watch.

    Raises:
        GateFailed: `gate.*`: the first of them that fails fails for all.
        Unprobeable: a probe cannot be made from here.
    """
    while True:
        assessments = [one.look_again() for one in watches]
        if failed := next((one for one in assessments if one.failed), None):
            raise GateFailed(f"cannot keep the release: {failed.reason}", code=failed.code)
        if all(one.passed for one in assessments):
            return assessments[-1].reason
        pause(watches[0].gate.check.poll_interval_secs)


def _ask(check: HealthCheck, shown: dict[str, Any], at_s: float, asked: Asked, probe: Probe) -> Asked:
    """Once more, and not past the deadline."""
    left_s = max(check.timeout_secs - at_s, MIN_PROBE_S)
    return asked.after(check, probe(shown, min(check.probe_timeout_secs, left_s)), at_s)
