"""What is written down about an update: the running record, the finished one, and the state of a service.

All of it is frozen and goes to the database as JSON. A record is saved before a step's handler runs and again after
it; everything an undo needs stands in `Before`, saved before anything is touched.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from caissond.model.ids import ContainerId, Digest, ImageId, UpdateId


class _Frozen(BaseModel):
    # hide_input: what is validated here may hold the secrets of a container's environment
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


_IDENTITY: str = Field("", validation_alias=AliasChoices("package_identity", "package_sha256"))
"""What `package.validate.identity_of` says; databases of version 1.0 call it `package_sha256`."""


GOING_BACK = "rollback"
"""The source of an update that somebody asked for by `caisson rollback`; else it is where the package came from."""


class Status(StrEnum):
    """Where a step is."""

    PENDING = "pending"
    DOING = "doing"
    DONE = "done"
    UNDOING = "undoing"
    UNDONE = "undone"
    STUCK = "stuck"


class Outcome(StrEnum):
    """How it ended for a package."""

    SUCCEEDED = "succeeded"
    NOTHING_TO_DO = "nothing_to_do"
    REFUSED = "refused"
    SKIPPED = "skipped"
    POSTPONED = "postponed"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    ROLLBACK_FAILED = "rollback_failed"

    @property
    def words(self) -> str:
        return self.value.replace("_", " ")

    @property
    def final(self) -> bool:
        """Whether the package has had its turn; a postponed one gets another."""
        return self is not Outcome.POSTPONED


class Release(_Frozen):
    """What a package brings for one service. Its identity is service + version + config digest."""

    service: str
    version: str
    digest: Digest
    reference: str
    created_at: datetime


class Installed(_Frozen):
    """The release a service runs, saved by the commit."""

    release: Release
    update_id: UpdateId
    image_id: ImageId
    committed_at: datetime
    previous: Release | None = None
    previous_image: ImageId | None = None
    previous_reference: str | None = None
    ungated: bool = False


def restart_policy(inspected: dict[str, Any] | None) -> dict[str, Any]:
    """A policy as the engine takes it. Docker 20.10 shows an empty name for a container that was created without one,
    and changes nothing when it is asked to set that.
    """
    inspected = inspected or {}
    return {
        "Name": inspected.get("Name") or "no",
        "MaximumRetryCount": inspected.get("MaximumRetryCount") or 0,
    }


class Before(_Frozen):
    """All that the undos need, read before anything is touched."""

    container_id: ContainerId
    container: dict[str, Any]
    """The old container's full inspect."""
    image_id: ImageId
    image: dict[str, Any]
    """The old image's inspect: its defaults are subtracted from the container's configuration."""
    restart_policy: dict[str, Any]
    was_running: bool
    was_well: bool
    """Running, not in a restart loop, not unhealthy: what the gate of a rollback may ask for."""
    runs_once: bool = False
    """It ends by itself when it is done, so that it does not run says nothing."""
    reference_image: ImageId | None
    """What the package's reference pointed at; None when there was no such tag."""
    compose_image: ImageId | None = None
    """What the image name of the Compose file pointed at."""
    check_failed: str = ""
    """What the service answered to the catalog's check before the update, where that was a failure."""
    baseline: bool = False
    """What failed before is not held against the new release."""
    host_name: str = ""
    """The engine's host."""
    installed: Installed | None = None
    """What the database said the service runs."""
    dependants: "tuple[Dependant, ...]" = ()
    """What is bound to it and is made again with it."""

    @property
    def is_gated(self) -> bool:
        """Whether the new release is started, and watched. Who finds a service stopped leaves it so."""
        return self.was_running or self.runs_once

    @property
    def running_words(self) -> str:
        """Whether it ran, for a label: yes, no, or once."""
        return "once" if self.runs_once else "yes" if self.was_running else "no"

    @property
    def was_unhealthy(self) -> bool:
        """Docker said so."""
        health = (self.container.get("State") or {}).get("Health") or {}
        return self.was_running and health.get("Status") == "unhealthy"

    @property
    def failing(self) -> str:
        """What failed before the update, in words; empty where nothing did."""
        unhealthy = "its health check says unhealthy" if self.was_unhealthy else ""
        return "; ".join(words for words in (self.check_failed, unhealthy) if words)

    @property
    def forgiven(self) -> str:
        """What of that is not held against the new release."""
        return self.failing if self.baseline else ""

    @property
    def own_policy(self) -> dict[str, Any]:
        """The service's restart policy, in the words in which it is set."""
        return restart_policy(self.restart_policy)

    @property
    def reference(self) -> str:
        """What people call the old image."""
        if self.installed is not None and self.installed.image_id == self.image_id:
            return self.installed.release.reference
        return str(self.container["Config"].get("Image") or self.image_id)


class Dependant(_Frozen):
    """A container that Docker has bound to the service's (`container:X`, a link) and the catalog declares."""

    name: str
    before: Before


class Failure(_Frozen):
    step: str
    code: str
    message: str
    verdict: bool = False
    """The gate said no: the release itself is to blame."""
    interrupted: bool = False
    """We were stopped or cut off: nobody is to blame, the package gets another attempt."""
    refused: bool = False
    """The package is to blame: what was read of its image is not what its manifest says."""

    def is_of(self, service: str) -> bool:
        """Whether it was this service's step that failed."""
        return self.step.rpartition("/")[0] == service


class Replica(_Frozen):
    """One more container of a Compose service that is scaled."""

    name: str
    before: Before


class Part(_Frozen):
    """One target of an update."""

    container_name: str
    release: Release
    before: Before
    replicas: tuple[Replica, ...] = ()
    compose_reference: str = ""
    """The image name of the Compose file, which is moved like the release's own; empty for a plain container."""
    vouched: bool = False
    """Somebody whom the device trusts has signed for it."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of all its containers."""
        return (self.container_name, *(replica.name for replica in self.replicas))

    @property
    def each(self) -> "tuple[Part, ...]":
        """A part for each container, as if it were the only one."""
        alone = self.model_copy(update={"replicas": ()})
        others = (
            alone.model_copy(update={"container_name": replica.name, "before": replica.before})
            for replica in self.replicas
        )
        return (alone, *others)

    @property
    def is_gated(self) -> bool:
        """Whether any of its containers is."""
        return any(one.before.is_gated for one in self.each)

    @property
    def forgiven(self) -> str:
        """What failed before and is not held against the new release, of any of its containers."""
        return "; ".join(dict.fromkeys(one.before.forgiven for one in self.each if one.before.forgiven))


class Record(_Frozen):
    """A running update."""

    update_id: UpdateId
    parts: tuple[Part, ...]
    statuses: dict[str, Status]
    """By step name, in the order of the steps."""
    failure: Failure | None = None
    stuck: tuple[Failure, ...] = ()
    package: str = ""
    """The package's file name, for people."""
    package_identity: str = _IDENTITY
    source: str = ""
    started_at: datetime


class PartVerdict(_Frozen):
    service: str
    version: str
    digest: str = ""
    reference: str = ""
    previous_version: str | None = None
    previous_reference: str | None = None
    ungated: bool = False
    forgiven: str = ""
    """What failed before the update and was not held against the new release."""
    outcome: Outcome


class Verdict(_Frozen):
    """A finished update, or a package that was handled without one: a row of the history."""

    update_id: UpdateId
    package: str
    package_identity: str = _IDENTITY
    source: str = ""
    outcome: Outcome
    code: str = ""
    message: str = ""
    hint: str = ""
    retry: bool = False
    """The package stays where it is and gets another attempt."""
    unsettled: bool = False
    """Something on the way back did not work; it is tried again."""
    parts: tuple[PartVerdict, ...] = ()
    started_at: datetime
    finished_at: datetime

    @property
    def services(self) -> str:
        return ", ".join(part.service for part in self.parts)

    @property
    def versions(self) -> str:
        return ", ".join(part.version for part in self.parts)


class AuditKind(StrEnum):
    VALIDATION_STARTED = "validation_started"
    VALIDATION_ACCEPTED = "validation_accepted"
    VALIDATION_REJECTED = "validation_rejected"
    IMAGE_IMPORT_STARTED = "image_import_started"
    IMAGE_IMPORT_SUCCEEDED = "image_import_succeeded"
    IMAGE_IMPORT_FAILED = "image_import_failed"
    UPDATE_STARTED = "update_started"
    HEALTH_CHECK_STARTED = "health_check_started"
    HEALTH_CHECK_PASSED = "health_check_passed"
    HEALTH_CHECK_FAILED = "health_check_failed"
    ROLLBACK_STARTED = "rollback_started"
    ROLLBACK_SUCCEEDED = "rollback_succeeded"
    ROLLBACK_FAILED = "rollback_failed"
    UPDATE_COMMITTED = "update_committed"
    TIME_FLOOR_RESET = "time_floor_reset"
    RELEASE_APPROVED = "release_approved"


class AuditEvent(_Frozen):
    """A link of the audit chain."""

    seq: int
    update_id: UpdateId
    at: datetime
    kind: AuditKind
    message: str
    hash: str
