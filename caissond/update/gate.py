"""What a release is held to: the catalog's check, less what it is forgiven for having failed before the update."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from caissond.model.catalog import HealthCheck, HealthKind
from caissond.model.records import Before


@dataclass(frozen=True, slots=True)
class Gate:
    """The terms of one watch."""

    check: HealthCheck
    heeds_health: bool = True
    """Whether Docker's `unhealthy` is a verdict."""
    forgiven: str = ""
    """What failed before the update and is not held against it, in words."""

    @property
    def words(self) -> str:
        """For the audit chain: what is asked, and for how long."""
        besides = f"; not held against it: {self.forgiven}" if self.forgiven else ""
        return f"{self.check.kind.value} within {self.check.timeout_secs} s{besides}"

    def only_running(self) -> "Gate":
        """The same, of a service that is not asked anything."""
        return replace(self, check=self.check.model_copy(update={"kind": HealthKind.RUNNING}))


def gate_of_new(check: HealthCheck, before: Before) -> Gate:
    """For the release that an update brings. With `baseline`, what the one before failed is not held against it."""
    return gate_of_old(check, before) if before.forgiven else Gate(check)


def gate_of_old(check: HealthCheck, before: Before) -> Gate:
    """For a release that ran before: no check has to pass that failed then."""
    gate = Gate(check, heeds_health=not before.was_unhealthy, forgiven=before.failing)
    asks_docker = check.kind is HealthKind.CONTAINER_HEALTH
    if before.check_failed or (before.was_unhealthy and asks_docker):
        return gate.only_running()
    return gate


def health_of(inspect: Mapping[str, Any]) -> str | None:
    """Docker's word: starting, healthy, unhealthy; None without a health check."""
    health = ((inspect.get("State") or {}).get("Health") or {}).get("Status")
    return None if health in (None, "none") else str(health)
