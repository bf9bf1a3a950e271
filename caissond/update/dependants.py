"""The containers that Docker has bound to the service's (`container:X`, `--link`), during one update.

With another container in its place they are cut off, and cannot even be started again (docs/recreation.md). Those that
the catalog declares are therefore made again beside the replacement, stopped before the old container and started after
the new one; each has its old self, its name and a policy that revives it until the verdict, as the service itself has.
"""

from collections.abc import Callable
from datetime import datetime
from functools import partial

from caissond.errors import DockerError
from caissond.host.docker import Inspect
from caissond.host.recreate import NO_RESTART, bound_to, depends_on, plan_replacement
from caissond.model.catalog import HealthCheck
from caissond.model.ids import LABEL_PREFIX, ContainerId, UpdateId, new_name
from caissond.model.records import Dependant, Part
from caissond.update.old_container import (
    REVIVE,
    OldContainer,
    policy_of,
    rename_container,
    start_container,
    stop_container,
)
from caissond.update.step_tools import Tools, whatever_comes

DEPENDANT_LABEL = f"{LABEL_PREFIX}dependant."
UPDATE_LABEL = f"{DEPENDANT_LABEL}update"


class Dependants:
    """All of one service's, in the order in which they are declared."""

    def __init__(self, part: Part, update_id: UpdateId, tools: Tools, old_service: OldContainer) -> None:
        self._each = tuple(
            _One(dependant, part, update_id, tools, old_service) for dependant in part.before.dependants
        )
        self._new_service = new_name(part.container_name, update_id)
        self._docker = tools.docker
        self._sync = tools.host.sync

    def create(self, service: ContainerId) -> None:
        """Beside the old ones, for the container that is to be the service's."""
        for one in self._each:
            one.create(service)

    def remove_new(self) -> None:
        self._all(_One.remove_new)

    def stop_old(self) -> None:
        running = [one for one in self._each if one.was_running]
        for one in running:
            one.prepare_stop()
        if running:
            self._sync()
        for one in running:
            one.stop_old()

    def revive_old(self) -> None:
        self._all(_One.revive_old)

    def start_new(self) -> None:
        """
        Raises:
            DockerError: one cannot be started, though there is something to live in. Else the gate has the word.
        """
        for one in self._each:
            try:
                one.start_new()
            except DockerError:
                if self._service_runs():
                    raise

    def _service_runs(self) -> bool:
        new = self._docker.find_container(self._new_service)
        return new is not None and bool(new["State"]["Running"])

    def stop_new(self) -> None:
        self._all(_One.stop_new)

    # past the verdict, and back

    def make_revived(self) -> None:
        """Docker brings the new ones back from now on."""
        for one in self._each:
            one.make_revived()

    def retire_old(self) -> None:
        for one in self._each:
            one.retire_old()

    def take_over(self) -> None:
        """The new ones run under their own names."""
        for one in self._each:
            one.take_over()

    def go_back(self) -> None:
        self._all(_One.go_back)

    def give_own_policy(self) -> None:
        for one in self._each:
            one.give_own_policy()

    def bring_up_again(self) -> None:
        """Once committed: a power cut may have taken them down."""
        self._all(_One.bring_up_again)

    def clean_up(self) -> None:
        self._all(_One.clean_up)

    def keep_up(self) -> None:
        self._all(_One.keep_up)

    def _all(self, undo: Callable[["_One"], None]) -> None:
        whatever_comes(partial(undo, one) for one in self._each)


class _One:
    def __init__(
        self, dependant: Dependant, part: Part, update_id: UpdateId, tools: Tools, old_service: OldContainer
    ) -> None:
        self._before = dependant.before
        self._name = dependant.name
        self._service = part
        self._old_service = old_service
        self._update_id = update_id
        self._new_name = new_name(dependant.name, update_id)
        self._tools = tools
        self._docker = tools.docker
        self._old = self._old_bound_to(ContainerId(part.before.container_id))

    def _old_bound_to(self, service: ContainerId) -> OldContainer:
        """The old one, which is made again for this container where it is gone."""
        container = self._bound_to(service)
        part = Part(
            container_name=self._name,
            release=self._service.release,
            before=self._before.model_copy(update={"container": container}),
        )
        return OldContainer(part, self._update_id, HealthCheck(), self._tools)

    def _bound_to(self, service: ContainerId) -> Inspect:
        before = self._service.before
        name = self._service.container_name
        return bound_to(self._before.container, name, before.container_id, service)

    # until the verdict

    def create(self, service: ContainerId) -> None:
        self.remove_new()
        before = self._before
        plan = plan_replacement(
            self._bound_to(service),
            before.image,
            before.image_id,
            labels=self._labels(),
            host_name=before.host_name,
        )
        created = self._docker.create(self._new_name, plan.config)
        for network, endpoint in plan.more_networks:
            self._docker.connect(created, network, endpoint)

    def _labels(self) -> dict[str, str]:
        """Its own of Caisson's, since it may be a service too, and what tells the story of this update."""
        labels: dict[str, str] = self._before.container["Config"].get("Labels") or {}
        own = {
            name: value
            for name, value in labels.items()
            if name.startswith(LABEL_PREFIX) and not name.startswith(DEPENDANT_LABEL)
        }
        policy = self._before.own_policy
        return {
            **own,
            UPDATE_LABEL: self._update_id,
            f"{DEPENDANT_LABEL}name": self._name,
            f"{DEPENDANT_LABEL}of": self._service.release.service,
            f"{DEPENDANT_LABEL}container": self._service.container_name,
            f"{DEPENDANT_LABEL}replaces": self._before.container_id,
            f"{DEPENDANT_LABEL}restart": f"{policy['Name']}:{policy['MaximumRetryCount']}",
            f"{DEPENDANT_LABEL}running": "yes" if self._before.was_running else "no",
        }

    def remove_new(self) -> None:
        if new := self._find_new():
            self._docker.remove(new["Id"], with_new_volumes=True)

    @property
    def was_running(self) -> bool:
        return self._before.was_running

    def prepare_stop(self) -> None:
        self._old.prepare_stop()

    def stop_old(self) -> None:
        self._old.stop()

    def revive_old(self) -> None:
        """Running in the network of the service's old container, which may be another one than before: where somebody
        pruned that, it was made again.
        """
        service = self._old_service.find()
        if service is None:
            return  # nothing to live in; its own undo has told so
        old = self._old_bound_to(ContainerId(service["Id"]))
        found = old.find()
        if found is not None and not depends_on(found, self._service.container_name, service["Id"]):
            self._docker.remove(found["Id"], with_new_volumes=False)
        elif found is not None and _is_cut_off(found, service):
            stop_container(self._tools, found)
        old.revive()

    def keep_up(self) -> None:
        """Once undone: whatever cut the update off may have taken it down."""
        found, service = self._old.find(), self._old_service.find()
        is_up = found is not None and service is not None and bool(found["State"]["Running"])
        if self._before.was_running and not is_up:
            self.revive_old()

    def start_new(self) -> None:
        if self._before.was_running:
            self._docker.start(self._new_name)

    def stop_new(self) -> None:
        if new := self._find_new():
            stop_container(self._tools, new)

    # past the verdict, and back

    def make_revived(self) -> None:
        new = self._find_new()
        if new is not None:
            policy = REVIVE if self._before.was_running else self._before.own_policy
            self._docker.set_restart_policy(new["Id"], policy)

    def retire_old(self) -> None:
        self._old.retire()

    def take_over(self) -> None:
        new = self._find_new()
        if new is None:
            return
        if self._before.was_running and not new["State"]["Running"]:
            start_container(self._tools, new["Id"])
        rename_container(self._tools, new["Id"], self._name)

    def go_back(self) -> None:
        self._old.prepare_return()
        if new := self._find_new():
            rename_container(self._tools, new["Id"], self._new_name)
            self._docker.set_restart_policy(new["Id"], NO_RESTART)
        self._old.take_name_back()

    def bring_up_again(self) -> None:
        new = self._find_new()
        if new is not None and self._before.was_running and not new["State"]["Running"]:
            start_container(self._tools, new["Id"])

    def give_own_policy(self) -> None:
        new, own = self._find_new(), self._before.own_policy
        if new is not None and policy_of(new) != own:
            self._docker.set_restart_policy(new["Id"], own)

    def clean_up(self) -> None:
        """The parked one goes once the new one has been seen under the name."""
        new = self._find_new()
        if new is not None and new["Name"] == f"/{self._name}":
            self._old.remove_parked()

    def _find_new(self) -> Inspect | None:
        for name in (self._new_name, self._name):
            found = self._docker.find_container(name)
            if (
                found is not None
                and (found["Config"].get("Labels") or {}).get(UPDATE_LABEL) == self._update_id
            ):
                return found
        return None


def _is_cut_off(dependant: Inspect, service: Inspect) -> bool:
    """Whether it runs since before the service's container was started: then it is in a network that is gone."""
    return bool(dependant["State"]["Running"]) and _started_at(dependant) < _started_at(service)


def _started_at(container: Inspect) -> datetime:
    return datetime.fromisoformat(container["State"]["StartedAt"])
