"""The gate: whether a release has become and stays healthy.

`assess` is pure; `watch` polls the engine and asks it. Exits, restarts, running out of memory and `unhealthy` fail at
once, the deadline fails, and "running" is not believed before it has lasted.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from caissond.errors import GateFailed
from caissond.model.catalog import HealthCheck, HealthKind


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
    """Docker's word: starting, healthy, unhealthy; None without a health check."""
    started_at: str

    @classmethod
    def of(cls, inspect: dict[str, Any], *, at_s: float) -> "Observation":
        """What a container's inspect says."""
        state = inspect["State"]
        health = (state.get("Health") or {}).get("Status")
        return cls(
            at_s=at_s,
            running=bool(state.get("Running")),
            restarting=bool(state.get("Restarting")),
            restarts=int(inspect.get("RestartCount", 0)),
            exit_code=int(state.get("ExitCode", 0)),
            out_of_memory=bool(state.get("OOMKilled")),
            health=None if health in (None, "none") else str(health),
            started_at=str(state.get("StartedAt", "")),
        )


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


def assess(check: HealthCheck, first: Observation, now: Observation) -> Assessment:
    """The verdict after seeing a container first so and now so.

    Args:
        first: the first look at it, just after its start.
        now: the newest look.
    """
    if now.out_of_memory:
        return _fail("gate.out_of_memory", "it ran out of memory")
    if now.restarting or now.restarts > first.restarts or now.started_at != first.started_at:
        return _fail("gate.restarting", f"it restarted, exit code {now.exit_code}")
    if not now.running:
        return _fail("gate.exited", f"it exited with code {now.exit_code} after {now.at_s:.0f} s")
    if now.health == "unhealthy":
        return _fail("gate.unhealthy", "its health check says unhealthy")
    if check.kind is HealthKind.CONTAINER_HEALTH and now.health is None:
        return _fail("gate.no_healthcheck", "it has no health check")
    return _assess_running(check, now)


def _assess_running(check: HealthCheck, now: Observation) -> Assessment:
    healthy = check.kind is HealthKind.RUNNING or now.health == "healthy"
    state = now.health or "running"
    if healthy and now.at_s >= check.stable_s and now.at_s > 0:  # one look proves nothing
        return Assessment(True, False, "", f"{state} for {now.at_s:.0f} s")
    if now.at_s >= check.timeout_secs:
        return _fail("gate.timed_out", f"still {state} after {check.timeout_secs} s")
    return _wait(f"{state}, {now.at_s:.0f} of {check.timeout_secs} s")


class Look(Protocol):
    def __call__(self) -> dict[str, Any]:
        """The container's inspect."""


def watch(
    check: HealthCheck,
    look: Look,
    *,
    pause: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
    on_wait: Callable[[str], None] = lambda _reason: None,
) -> str:
    """Look at a container until the verdict is in, and return why it passed.

    Args:
        look: returns its inspect.
        pause: waits this many seconds; may raise to end the watch.
        on_wait: told at every look what it waits for.

    Raises:
        GateFailed: `gate.*`.
    """
    began = clock()
    first = Observation.of(look(), at_s=0)
    now = first
    while True:
        assessment = assess(check, first, now)
        if assessment.passed:
            return assessment.reason
        if assessment.failed:
            raise GateFailed(f"cannot keep the release: {assessment.reason}", code=assessment.code)
        on_wait(assessment.reason)
        pause(check.poll_interval_secs)
        now = Observation.of(look(), at_s=clock() - began)
