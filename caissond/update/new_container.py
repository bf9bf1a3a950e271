"""The replacement of one container during an update: created beside the old one, started, watched, and given its name.

Docker never starts it by itself before the commit; from then on one policy or another brings it back at any boot
(docs/restart-policies.md). It is known by its labels, so nothing else is ever touched under its names.
"""

from typing import Any

from caissond.errors import NotFound
from caissond.host.docker import Inspect
from caissond.host.probes import Prober
from caissond.host.recreate import NO_RESTART, plan_replacement
from caissond.model.catalog import HealthCheck
from caissond.model.ids import ImageId, UpdateId, new_name
from caissond.model.records import Part
from caissond.update.gate import gate_of_new
from caissond.update.health import Watch
from caissond.update.old_container import (
    REVIVE,
    connect_networks,
    policy_of,
    rename_container,
    start_container,
    stop_container,
)
from caissond.update.step_tools import Tools

COMPOSE_IMAGE_LABEL = "com.docker.compose.image"
"""By which Compose 2 sees whether a container runs what its file says."""


class NewContainer:
    """One container's, during one update."""

    def __init__(self, part: Part, update_id: UpdateId, check: HealthCheck, tools: Tools) -> None:
        self._part = part
        self._before = part.before
        self._update_id = update_id
        self._check = check
        self._tools = tools
        self._docker = tools.docker
        self._name = part.container_name
        self._new_name = new_name(part.container_name, update_id)

    # until the verdict

    def create(self, image: ImageId) -> None:
        """Beside the old one."""
        self.remove()
        before = self._before
        plan = plan_replacement(
            before.container, before.image, image, labels=self._labels(image), host_name=before.host_name
        )
        connect_networks(self._tools, self._docker.create(self._new_name, plan.config), plan)

    def remove(self) -> None:
        if new := self.find():
            self._docker.remove(new["Id"], with_new_volumes=True)

    def _labels(self, image: ImageId) -> dict[str, str]:
        policy, release = self._before.own_policy, self._part.release
        return {
            **self._compose_labels(image),
            "io.caisson.update": self._update_id,
            "io.caisson.service": release.service,
            "io.caisson.container": self._name,
            "io.caisson.version": release.version,
            "io.caisson.digest": release.digest,
            "io.caisson.reference": release.reference,
            "io.caisson.created": release.created_at.isoformat(),
            "io.caisson.replaces": self._before.container_id,
            "io.caisson.restart": f"{policy['Name']}:{policy['MaximumRetryCount']}",
            "io.caisson.running": self._before.running_words,
            "io.caisson.state": str(self._tools.state_dir),
        }

    def _compose_labels(self, image: ImageId) -> dict[str, str]:
        """None for a plain container, whoever made it: no image name of a Compose file is moved for it."""
        reference = self._part.compose_reference
        if not reference:
            return {}
        own = self._before.container["Config"].get("Labels") or {}
        seen = {COMPOSE_IMAGE_LABEL: str(image)} if COMPOSE_IMAGE_LABEL in own else {}
        return {"io.caisson.compose_reference": reference, **seen}

    def start(self) -> None:
        if self._before.is_gated:
            self._docker.start(self.required()["Id"])

    def stop(self) -> None:
        if new := self.find():
            stop_container(self._tools, new)

    def watch(self, *, stable_secs: float | None = None) -> Watch:
        """What looks at it until its verdict.

        Args:
            stable_secs: how long it has to stay well; None: as the catalog says.
        """
        new = self.required()["Id"]
        check = self._check
        if stable_secs is not None:
            check = check.model_copy(update={"stable_secs": stable_secs})
        probe = Prober(self._docker, check, self._tools.host.beat)
        return Watch(gate_of_new(check, self._before), lambda: self._docker.inspect_container(new), probe)

    # past the verdict, and back

    def make_revived(self) -> None:
        """Docker brings it back whatever happens, as it does the old one no more (docs/restart-policies.md)."""
        policy = REVIVE if self._before.was_running else self._before.own_policy
        self._docker.set_restart_policy(self.required()["Id"], policy)

    def bring_up_again(self) -> None:
        start_container(self._tools, self.required()["Id"])

    @property
    def is_down(self) -> bool:
        """A power cut since the verdict may have taken it down."""
        return self._before.was_running and not self.required()["State"]["Running"]

    def take_over(self) -> None:
        """The service's name is its own now."""
        rename_container(self._tools, self.required()["Id"], self._name)

    def step_back(self) -> None:
        """Its temporary name again, and nobody revives it."""
        if new := self.find():
            rename_container(self._tools, new["Id"], self._new_name)
            self._docker.set_restart_policy(new["Id"], NO_RESTART)

    def give_own_policy(self) -> None:
        new, own = self.find(), self._before.own_policy
        if new is not None and policy_of(new) != own:
            self._docker.set_restart_policy(new["Id"], own)

    def is_settled(self) -> bool:
        """Whether it is what runs, or not, under the service's name."""
        new = self._find_named()
        return new is not None and new["State"]["Running"] is self._before.was_running

    def keep_up(self) -> None:
        """Start one that a power cut took down since the commit, and whose policy does not bring it back: that is the
        last of what the update owes it.
        """
        new = self._find_named()
        if new is not None and self._before.was_running and not new["State"]["Running"]:
            start_container(self._tools, new["Id"])

    def _find_named(self) -> Inspect | None:
        new = self._docker.find_container(self._name)
        return new if new is not None and self._is_ours(new) else None

    # what the record names

    def find(self) -> Inspect | None:
        """The replacement, under whichever name it has by now; never a container that this update did not make."""
        for name in (self._new_name, self._name):
            found = self._docker.find_container(name)
            if found is not None and self._is_ours(found):
                return found
        for short in self._docker.list_containers(label=f"io.caisson.update={self._update_id}"):
            found = self._docker.find_container(short["Id"])  # renamed by hand, or another one's
            if found is not None and self._is_ours(found):
                return found
        return None

    def required(self) -> Inspect:
        """
        Raises:
            NotFound: it is gone.
        """
        new = self.find()
        if new is None:
            service = self._part.release.service
            raise NotFound(f"cannot go on with {service}: the new container is gone", code="docker.not_found")
        return new

    def _is_ours(self, container: Inspect) -> bool:
        labels: dict[str, Any] = container["Config"].get("Labels") or {}
        mine = labels.get("io.caisson.service") == self._part.release.service
        this_one = labels.get("io.caisson.container", self._name) == self._name  # 1.0.0 has no such label
        return mine and this_one and labels.get("io.caisson.update") == self._update_id
