"""The do and undo of each step for a plain Docker container, side by side.

The old container keeps its name, its whole self and a restart policy that revives it until the verdict is in
(`old_container`). The replacement is made before the old one is stopped, and Docker never starts it by itself before
the commit; in the commit one of the two has such a policy at any instant. Names are derived from the update's id, so an
undo finds what it made without having been told; it deletes nothing else.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from caissond.errors import Conflict, GateFailed, HostUnavailable, NotFound, Stopping
from caissond.host.docker import Inspect
from caissond.host.probes import Prober
from caissond.host.recreate import NO_RESTART, plan_replacement
from caissond.model.catalog import HealthCheck
from caissond.model.ids import ContainerId, ImageId, UpdateId, ingest_tag, keep_tag, new_name
from caissond.model.records import AuditKind, Before, Installed, Part
from caissond.update.bundle import STILL_WELL
from caissond.update.dependants import Dependants
from caissond.update.engine import Step, nothing
from caissond.update.gate import gate_of_new
from caissond.update.health import watch
from caissond.update.old_container import (
    REVIVE,
    OldContainer,
    connect_networks,
    policy_of,
    rename_container,
    stop_container,
)
from caissond.update.step_tools import Tools

ENGINE_SETTLES_S = 2
ENGINE_MAY_BE_TO_BLAME = frozenset({"gate.exited", "gate.restarting", "gate.probe_failed", "gate.timed_out"})
STEP_NAMES = ("keep-old", "load-image", "create-new", "stop-old", "start-new", "health-gate", "commit")
WITH_DEPENDANTS = (
    *("keep-old", "load-image", "create-new", "create-dependants", "stop-dependants", "stop-old"),
    *("start-new", "start-dependants", "health-gate", "commit"),
)


def step_names(before: Before) -> tuple[str, ...]:
    """The steps of an update, in their order."""
    return WITH_DEPENDANTS if before.dependants else STEP_NAMES


class ContainerSteps:
    """The steps that update one container."""

    def __init__(self, part: Part, update_id: UpdateId, check: HealthCheck, tools: Tools) -> None:
        self._part = part
        self._before = part.before
        self._update_id = update_id
        self._check = check
        self._tools = tools
        self._docker = tools.docker
        self._old = OldContainer(part, update_id, check, tools)
        self._dependants = Dependants(part, update_id, tools, self._old)
        self._service = part.release.service
        self._name = part.container_name
        self._new_name = new_name(part.container_name, update_id)
        self._ingest_tag = ingest_tag(tools.claim, update_id, self._service)
        self._keep_tag = keep_tag(tools.claim, update_id, self._service)

    def steps(self) -> tuple[Step, ...]:
        """All that there are; `bundle.order_steps` says in which order they are done."""
        others = self._dependants
        handlers: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
            "keep-old": (self.keep_old, self.release_old),
            "load-image": (self.load_image, self.unload_image),
            "create-new": (self.create_new, self.remove_new),
            "create-dependants": (self.create_dependants, others.remove_new),
            "stop-dependants": (self.stop_dependants, others.revive_old),
            "stop-old": (self.stop_old, self._old.revive),
            "start-new": (self.start_new, self.stop_new),
            "start-dependants": (others.start_new, others.stop_new),
            "health-gate": (self.pass_gate, nothing),
            STILL_WELL: (self.stay_well, nothing),
            "commit": (self.commit, self.uncommit),
        }
        return tuple(
            Step(f"{self._service}/{name}", *handlers[name], final=name == "commit")
            for name in (*step_names(self._before), STILL_WELL)
        )

    # keep-old

    def keep_old(self) -> None:
        self._docker.tag(self._before.image_id, self._keep_tag)

    def release_old(self) -> None:
        if self._old.find() is None:
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
        connect_networks(self._tools, self._docker.create(self._new_name, plan.config), plan)

    def remove_new(self) -> None:
        if new := self._find_new():
            self._docker.remove(new["Id"], with_new_volumes=True)

    def _labels(self) -> dict[str, str]:
        policy = self._before.own_policy
        release = self._part.release
        return {
            "io.caisson.update": self._update_id,
            "io.caisson.service": release.service,
            "io.caisson.version": release.version,
            "io.caisson.digest": release.digest,
            "io.caisson.reference": release.reference,
            "io.caisson.created": release.created_at.isoformat(),
            "io.caisson.replaces": self._before.container_id,
            "io.caisson.restart": f"{policy['Name']}:{policy['MaximumRetryCount']}",
            "io.caisson.running": "yes" if self._before.was_running else "no",
            "io.caisson.state": str(self._tools.state_dir),
        }

    # create-dependants, stop-dependants

    def create_dependants(self) -> None:
        self._dependants.create(ContainerId(self._required_new()["Id"]))

    def stop_dependants(self) -> None:
        self._tools.host.pause(0)  # asked to stop? then not now
        self._dependants.stop_old()

    # stop-old

    def stop_old(self) -> None:
        if not self._before.was_running:
            return
        self._tools.host.pause(0)  # asked to stop? then not now
        self._tools.host.tell("update.stopping_old", f"{self._service}: the old release is stopped")
        self._old.stop()

    # start-new

    def start_new(self) -> None:
        if self._before.was_running:
            self._docker.start(self._new_name)

    def stop_new(self) -> None:
        if new := self._find_new():
            stop_container(self._tools, new)

    # health-gate

    def pass_gate(self) -> None:
        host = self._tools.host
        if not self._before.was_running:
            host.tell(
                "update.ungated", f"{self._service}: it was stopped before, so the new release is not started"
            )
            return
        host.tell("update.checking", f"{self._service}: the new release runs, watching it")
        host.audit(AuditKind.HEALTH_CHECK_STARTED, gate_of_new(self._check, self._before).words)
        try:
            words = self._watch_new()
        except GateFailed as exc:
            host.audit(AuditKind.HEALTH_CHECK_FAILED, exc.message)
            raise
        host.audit(AuditKind.HEALTH_CHECK_PASSED, words)

    def stay_well(self) -> None:
        """One more look, after others have been watched."""
        if self._before.was_running:
            self._watch_new(stable_secs=0)

    def _watch_new(self, *, stable_secs: float | None = None) -> str:
        """
        Args:
            stable_secs: how long it has to stay well; None: as the catalog says.

        Raises:
            GateFailed: the verdict.
            Stopping: it stopped because the engine did: that says nothing about the release.
        """
        try:
            new = self._required_new()["Id"]
            check = self._check
            if stable_secs is not None:
                check = check.model_copy(update={"stable_secs": stable_secs})
            probe = Prober(self._docker, check, self._tools.host.beat)
            return watch(
                gate_of_new(check, self._before), lambda: self._docker.inspect_container(new), probe,
                pause=self._tools.host.pause,
            )  # fmt: skip
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
        self._docker.set_restart_policy(new["Id"], self._policy_at_first)
        self._dependants.make_revived()
        self._dependants.retire_old()
        self._old.retire()
        if self._before.was_running and not self._required_new()["State"]["Running"]:
            # a power cut since the verdict: it has to show once more that it runs
            self._docker.start(new["Id"])
            self._watch_new()
        rename_container(self._tools, new["Id"], self._name)
        self._dependants.take_over()
        self._docker.tag(new["Image"], self._part.release.reference)
        self._tools.releases.save_installed(self._installed(new["Image"]))
        self._tools.host.sync()

    @property
    def _policy_at_first(self) -> Inspect:
        """The new container's while the record is open: one with which Docker brings it back whatever happens, as the
        old one's does no more (docs/restart-policies.md).
        """
        return REVIVE if self._before.was_running else self._before.own_policy

    def uncommit(self) -> None:
        self._old.prepare_return()
        self._dependants.go_back()
        if new := self._find_new():
            rename_container(self._tools, new["Id"], self._new_name)
            self._docker.set_restart_policy(new["Id"], NO_RESTART)
        self._old.take_name_back()
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
        known = before.installed
        previous = known.release if known and known.image_id == before.image_id else None  # else by hand
        return Installed(
            release=self._part.release, update_id=self._update_id, image_id=image, committed_at=datetime.now(UTC),
            previous=previous, previous_image=before.image_id,
            previous_reference=before.reference, ungated=not before.was_running,
        )  # fmt: skip

    # once committed

    def give_own_policy(self) -> None:
        """The new container's restart policy is the service's own from now on, durably."""
        new, own = self._find_new(), self._before.own_policy
        changed = self._dependants.give_own_policy()
        if new is not None and policy_of(new) != own:
            self._docker.set_restart_policy(new["Id"], own)
            changed = True
        if changed:
            self._tools.host.sync()

    def clean_up(self) -> None:
        """Remove the parked old container, once the new one has been seen under the service's name, and the private
        tag of the load. The old image stays, under its keep tag. A service that a power cut took down since the commit,
        and whose policy does not bring it back, is started: that is the last of what the update owes it.
        """
        new = self._docker.find_container(self._name)
        if new is None or not self._is_ours(new):
            return
        if new["State"]["Running"] is not self._before.was_running:
            if self._before.was_running:
                self._docker.start(new["Id"])
            return
        self._dependants.clean_up()
        self._old.remove_parked()
        self._docker.untag(self._ingest_tag)

    def keep_up(self) -> None:
        """Once undone: start the old release where it does not run after all."""
        self._old.keep_up()
        self._dependants.keep_up()

    # what the record names

    def _find_new(self) -> Inspect | None:
        """The replacement, under whichever name it has by now; never a container that this update did not make."""
        for name in (self._new_name, self._name):
            found = self._docker.find_container(name)
            if found is not None and self._is_ours(found):
                return found
        for short in self._docker.list_containers(label=f"io.caisson.update={self._update_id}"):
            found = self._docker.find_container(short["Id"])  # renamed by hand, or another service's
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
        mine = labels.get("io.caisson.service") == self._service
        return mine and labels.get("io.caisson.update") == self._update_id

    def _points_at_new(self, reference: str) -> bool:
        tagged, new = self._docker.find_image(reference), self._docker.find_image(self._ingest_tag)
        return tagged is not None and tagged["Id"] in (self._part.release.digest, new["Id"] if new else None)
