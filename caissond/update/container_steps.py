"""The do and undo of each step for a plain Docker container, side by side.

The old container keeps its name, its whole self and a restart policy that revives it until the verdict is in. The
replacement is made before the old one is stopped, and Docker never starts it by itself before the commit. Names are
derived from the update's id, so an undo finds what it made without having been told; it deletes nothing else.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from caissond.errors import CaissonError, Conflict, GateFailed, HostUnavailable, NotFound, Stopping
from caissond.host.docker import Docker, Inspect
from caissond.host.recreate import NO_RESTART, Replacement, plan_replacement
from caissond.model.catalog import HealthCheck, HealthKind
from caissond.model.ids import (
    LABEL_PREFIX,
    ContainerId,
    ImageId,
    UpdateId,
    ingest_tag,
    keep_tag,
    new_name,
    parked_name,
)
from caissond.model.records import AuditKind, Installed, Part
from caissond.store.releases import Releases
from caissond.update.engine import Step, nothing
from caissond.update.health import watch

REVIVE: Inspect = {"Name": "always", "MaximumRetryCount": 0}
REMADE_LABEL = "io.caisson.remade"
DEFAULT_GRACE_S = 10
ENDLESS_GRACE_S = 600
ENGINE_SETTLES_S = 2
ENGINE_MAY_BE_TO_BLAME = frozenset({"gate.exited", "gate.restarting"})
STEP_NAMES = ("keep-old", "load-image", "create-new", "stop-old", "start-new", "health-gate", "commit")


class Host(Protocol):
    """What the steps need besides Docker."""

    def import_image(self, part: Part, tag: str) -> ImageId:
        """Load the part's image, verified, under this tag."""

    def remove_intermediates(self) -> None:
        """Remove what an import that was cut off left between two layers."""

    def sync(self) -> None:
        """Write Docker's data root to its disk."""

    def pause(self, seconds: float) -> None:
        """Wait; raises Stopping when we were asked to stop."""

    def pause_whatever_comes(self, seconds: float) -> None:
        """Wait, also when we were asked to stop."""

    def beat(self, silent_s: float) -> None:
        """A sign of life; the next may take this long."""

    def tell(self, code: str, text: str) -> None: ...

    def audit(self, kind: AuditKind, message: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Tools:
    docker: Docker
    releases: Releases
    host: Host
    claim: str
    state_dir: Path
    stop_timeout_s: int | None


class ContainerSteps:
    """The steps that update one container."""

    def __init__(self, part: Part, update_id: UpdateId, check: HealthCheck, tools: Tools) -> None:
        self._part = part
        self._before = part.before
        self._update_id = update_id
        self._check = check
        self._tools = tools
        self._docker = tools.docker
        self._service = part.release.service
        self._name = part.container_name
        self._new_name = new_name(part.container_name, update_id)
        self._parked_name = parked_name(part.container_name, update_id)
        self._ingest_tag = ingest_tag(tools.claim, update_id)
        self._keep_tag = keep_tag(tools.claim, update_id)

    def steps(self) -> tuple[Step, ...]:
        """In the order in which they are done."""
        handlers: tuple[tuple[Callable[[], None], Callable[[], None]], ...] = (
            (self.keep_old, self.release_old),
            (self.load_image, self.unload_image),
            (self.create_new, self.remove_new),
            (self.stop_old, self.revive_old),
            (self.start_new, self.stop_new),
            (self.pass_gate, nothing),
            (self.commit, self.uncommit),
        )
        return tuple(
            Step(f"{self._service}/{name}", do, undo, final=name == "commit")
            for name, (do, undo) in zip(STEP_NAMES, handlers, strict=True)
        )

    # keep-old

    def keep_old(self) -> None:
        self._docker.tag(self._before.image_id, self._keep_tag)

    def release_old(self) -> None:
        if self._find_old() is None:
            return  # it could not be made again yet: its image is all that is left of it
        with suppress(Conflict):  # the old image's only tag now, and a container uses it: left for the sweep
            self._docker.untag(self._keep_tag)

    # load-image

    def load_image(self) -> None:
        self._tools.host.import_image(self._part, self._ingest_tag)
        self._tools.host.sync()

    def unload_image(self) -> None:
        self._docker.untag(self._ingest_tag)
        self._tools.host.remove_intermediates()

    # create-new

    def create_new(self) -> None:
        self.remove_new()
        old_image = self._before.image
        image = ImageId(self._docker.inspect_image(self._ingest_tag)["Id"])
        plan = plan_replacement(
            self._before.container, old_image, image, labels=self._labels(), host_name=self._before.host_name
        )
        self._connect(self._docker.create(self._new_name, plan.config), plan)

    def _connect(self, container: ContainerId, plan: Replacement) -> None:
        for network, endpoint in plan.more_networks:
            self._docker.connect(container, network, endpoint)

    def remove_new(self) -> None:
        if new := self._find_new():
            self._docker.remove(new["Id"], with_new_volumes=True)

    def _labels(self) -> dict[str, str]:
        policy = self._before.restart_policy
        release = self._part.release
        return {
            "io.caisson.update": self._update_id,
            "io.caisson.service": release.service,
            "io.caisson.version": release.version,
            "io.caisson.digest": release.digest,
            "io.caisson.reference": release.reference,
            "io.caisson.created": release.created_at.isoformat(),
            "io.caisson.replaces": self._before.container_id,
            "io.caisson.restart": f"{policy.get('Name') or 'no'}:{policy.get('MaximumRetryCount') or 0}",
            "io.caisson.running": "yes" if self._before.was_running else "no",
            "io.caisson.state": str(self._tools.state_dir),
        }

    # stop-old

    def stop_old(self) -> None:
        if not self._before.was_running:
            return
        self._tools.host.pause(0)  # asked to stop? then not now
        self._tools.host.tell("update.stopping_old", f"{self._service}: the old release is stopped")
        self._docker.set_restart_policy(self._before.container_id, REVIVE)
        self._tools.host.sync()  # should the power go now, Docker has to know that it revives the old one
        self._stop(self._before.container)

    def revive_old(self) -> None:
        old = self._find_old() or self._make_old_again()
        if not self._before.was_running:
            return
        if self._is_being_stopped(old):
            self._stop(old)  # waits for the stop that is under way; a start before its end would be in vain
        self._docker.start(old["Id"])
        self._docker.set_restart_policy(old["Id"], self._before.restart_policy)
        if self._before.was_well:
            pause = self._tools.host.pause_whatever_comes
            watch(self._old_check(), lambda: self._docker.inspect_container(old["Id"]), pause=pause)

    def _is_being_stopped(self, old: Inspect) -> bool:
        """Whether it may be on its way down: still the same run, and already told to be revived at boot."""
        state, before = old["State"], self._before.container["State"]
        same_run = state["Running"] and state["StartedAt"] == before["StartedAt"]
        return bool(same_run and old["HostConfig"]["RestartPolicy"]["Name"] == REVIVE["Name"])

    def _find_old(self) -> Inspect | None:
        """The old container, or what was made again in its place."""
        if found := self._docker.find_container(self._before.container_id):
            return found
        copy = self._docker.find_container(self._name)
        labels = (copy["Config"].get("Labels") or {}) if copy else {}
        return copy if labels.get(REMADE_LABEL) == self._update_id else None

    def _make_old_again(self) -> Inspect:
        """Somebody pruned it while it was stopped: the same, from what was written down and the image that was kept."""
        before = self._before
        labels = before.container["Config"].get("Labels") or {}
        own = {name: value for name, value in labels.items() if name.startswith(LABEL_PREFIX)}
        plan = plan_replacement(
            before.container, before.image, before.image_id, labels={**own, REMADE_LABEL: self._update_id},
            host_name=before.host_name,
        )  # fmt: skip
        created = self._docker.create(self._name, plan.config)
        try:
            self._connect(created, plan)
        except CaissonError:
            self._docker.remove(created, with_new_volumes=False)
            raise
        return self._docker.inspect_container(created)

    def _old_check(self) -> HealthCheck:
        """The gate of the way back asks for no health check that the old release does not have."""
        test = (self._before.container["Config"].get("Healthcheck") or {}).get("Test")
        known = bool(test) and test != ["NONE"]
        return self._check if known else self._check.model_copy(update={"kind": HealthKind.RUNNING})

    # start-new

    def start_new(self) -> None:
        if self._before.was_running:
            self._docker.start(self._new_name)

    def stop_new(self) -> None:
        if new := self._find_new():
            self._stop(new)

    # health-gate

    def pass_gate(self) -> None:
        host = self._tools.host
        if not self._before.was_running:
            host.tell(
                "update.ungated", f"{self._service}: it was stopped before, so the new release is not started"
            )
            return
        host.tell("update.checking", f"{self._service}: the new release runs, watching it")
        host.audit(
            AuditKind.HEALTH_CHECK_STARTED, f"{self._check.kind.value} within {self._check.timeout_secs} s"
        )
        try:
            words = self._watch_new()
        except GateFailed as exc:
            host.audit(AuditKind.HEALTH_CHECK_FAILED, exc.message)
            raise
        host.audit(AuditKind.HEALTH_CHECK_PASSED, words)

    def _watch_new(self) -> str:
        """
        Raises:
            GateFailed: the verdict.
            Stopping: it stopped because the engine did: that says nothing about the release.
        """
        try:
            new = self._required_new()["Id"]
            return watch(
                self._check, lambda: self._docker.inspect_container(new), pause=self._tools.host.pause
            )
        except GateFailed as exc:
            if exc.code in ENGINE_MAY_BE_TO_BLAME and self._engine_restarted():
                text = f"cannot judge the new release: Docker was restarted ({exc.message})"
                raise Stopping(text, code="update.interrupted") from exc
            raise

    def _engine_restarted(self) -> bool:
        """Only an engine that started anew can have revived the old container; one that shuts down takes no new
        connection.
        """
        self._tools.host.pause_whatever_comes(ENGINE_SETTLES_S)
        if not self._docker.answers():
            raise HostUnavailable("cannot judge the new release: Docker went away", code="docker.unavailable")
        old = self._docker.find_container(self._before.container_id)
        return old is not None and bool(old["State"]["Running"])

    # commit

    def commit(self) -> None:
        new = self._required_new()
        self._docker.set_restart_policy(new["Id"], self._before.restart_policy)
        self._retire_old()
        if self._before.was_running and not self._required_new()["State"]["Running"]:
            # a power cut since the verdict: it has to show once more that it runs
            self._docker.start(new["Id"])
            self._watch_new()
        self._rename(new["Id"], self._name)
        self._docker.tag(new["Image"], self._part.release.reference)
        self._tools.releases.save_installed(self._installed(new["Image"]))
        self._tools.host.sync()

    def _retire_old(self) -> None:
        old = self._docker.find_container(self._before.container_id)
        if old is None:
            return
        self._docker.set_restart_policy(old["Id"], NO_RESTART)
        if old["State"]["Running"]:
            self._stop(old)
        self._rename(old["Id"], self._parked_name)

    def uncommit(self) -> None:
        old = self._docker.find_container(self._before.container_id)
        if old is not None and self._before.was_running and not old["State"]["Running"]:
            # first of all: the way back can be cut off too
            self._docker.set_restart_policy(old["Id"], REVIVE)
        if new := self._find_new():
            self._rename(new["Id"], self._new_name)
            self._docker.set_restart_policy(new["Id"], NO_RESTART)
        if old is not None:
            self._rename(old["Id"], self._name)
        self._restore_reference()
        self._restore_installed()

    def _restore_reference(self) -> None:
        reference = self._part.release.reference
        if self._before.reference_image is not None:
            self._docker.tag(self._before.reference_image, reference)
        elif self._points_at_new(reference):
            self._docker.untag(reference)

    def _restore_installed(self) -> None:
        if self._before.installed is not None:
            self._tools.releases.save_installed(self._before.installed)
        else:
            self._tools.releases.forget_installed(self._part.release.service)

    def _installed(self, image: ImageId) -> Installed:
        before = self._before
        previous = before.installed.release if before.installed else None
        return Installed(
            release=self._part.release, update_id=self._update_id, image_id=image, committed_at=datetime.now(UTC),
            previous=previous, previous_image=before.image_id,
            previous_reference=before.reference, ungated=not before.was_running,
        )  # fmt: skip

    # clean-up after the verdict, one way or the other

    def clean_up(self) -> None:
        """Remove the parked old container, once the new one has been seen under the service's name, and the private
        tag of the load. The old image stays, under its keep tag.
        """
        new = self._docker.find_container(self._name)
        if new is None or not self._is_ours(new) or new["State"]["Running"] is not self._before.was_running:
            return
        old = self._docker.find_container(self._before.container_id)
        if old is not None and old["Name"] == f"/{self._parked_name}":
            self._docker.remove(old["Id"], with_new_volumes=False)
        self._docker.untag(self._ingest_tag)
        earlier = self._before.installed
        if earlier is not None:
            with suppress(Conflict):
                self._docker.untag(keep_tag(self._tools.claim, earlier.update_id))

    # what the record names

    def _find_new(self) -> Inspect | None:
        """The replacement, under whichever name it has by now; never a container that this update did not make."""
        for name in (self._new_name, self._name):
            found = self._docker.find_container(name)
            if found is not None and self._is_ours(found):
                return found
        return None

    def _required_new(self) -> Inspect:
        new = self._find_new()
        if new is None:
            raise NotFound(
                f"cannot go on with {self._service}: the new container is gone", code="docker.not_found"
            )
        return new

    def _is_ours(self, container: Inspect) -> bool:
        labels: dict[str, Any] = container["Config"].get("Labels") or {}
        return labels.get("io.caisson.update") == self._update_id

    def _points_at_new(self, reference: str) -> bool:
        tagged, new = self._docker.find_image(reference), self._docker.find_image(self._ingest_tag)
        return tagged is not None and tagged["Id"] in (self._part.release.digest, new["Id"] if new else None)

    def _rename(self, container: str, name: str) -> None:
        if self._docker.inspect_container(container)["Name"] != f"/{name}":
            self._docker.rename(container, name)

    def _stop(self, container: Inspect) -> None:
        own = container["Config"].get("StopTimeout")
        grace_s = self._tools.stop_timeout_s
        if grace_s is None:
            grace_s = DEFAULT_GRACE_S if own is None else int(own)
        if grace_s < 0:
            grace_s = ENDLESS_GRACE_S  # "wait for ever" is more than we can
        self._tools.host.beat(grace_s)
        self._docker.stop(container["Id"], grace_s=grace_s)
