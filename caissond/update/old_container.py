"""The container that a service had before an update: stopped, revived, made again, parked and removed.

From its stop until the verdict it has its own name and a restart policy that makes Docker bring it back at any boot
(docs/restart-policies.md). It is removed only when the release after it is settled. Where it is lost, or can never be
started again, a copy is made from what was written down, under a name of its own until it runs.
"""

from contextlib import suppress
from typing import Any

from caissond.errors import CaissonError, DockerError, NotFound
from caissond.host.docker import Inspect
from caissond.host.probes import Prober
from caissond.host.recreate import NO_RESTART, Replacement, plan_replacement
from caissond.model.catalog import HealthCheck, HealthKind
from caissond.model.ids import LABEL_PREFIX, ContainerId, UpdateId, copy_name, parked_name
from caissond.model.records import Part, restart_policy
from caissond.update.gate import Gate, gate_of_old
from caissond.update.health import Watch, has_health_check
from caissond.update.step_tools import Tools

REVIVE: Inspect = {"Name": "always", "MaximumRetryCount": 0}
REMADE_LABEL = "io.caisson.remade"
DEFAULT_GRACE_S = 10
ENDLESS_GRACE_S = 600
_ID_IN_USE = "id already in use"


class OldContainer:
    """One service's, during one update."""

    def __init__(self, part: Part, update_id: UpdateId, check: HealthCheck, tools: Tools) -> None:
        self._before = part.before
        self._name = part.container_name
        self._parked_name = parked_name(part.container_name, update_id)
        self._copy_name = copy_name(part.container_name, update_id)
        self._update_id = update_id
        self._check = check
        self._tools = tools
        self._docker = tools.docker

    def find(self) -> Inspect | None:
        """The old container, or what was made again in its place."""
        return next(iter(self._alive()), None)

    def _alive(self) -> list[Inspect]:
        """What there is of it, the one first that runs: the original, and copies. A copy that has neither run nor got
        the service's name is none yet: it may lack a network. Nor is a dead one: it can never be started again.
        """
        original = self._docker.find_container(self._before.container_id)
        if original is not None and original["State"]["Running"]:
            return [original]
        named = f"/{self._name}"
        copies = [copy for copy in self._copies() if _has_run(copy) or copy["Name"] == named]
        found = [one for one in (original, *copies) if one is not None and not _is_dead(one)]
        return sorted(found, key=lambda one: not one["State"]["Running"])

    def _copies(self) -> list[Inspect]:
        """What this update has made again, whole or not."""
        found = (self._docker.find_container(name) for name in (self._name, self._copy_name))
        return [one for one in found if one is not None and _label(one, REMADE_LABEL) == self._update_id]

    # until the verdict

    def prepare_stop(self) -> None:
        """Docker revives it from now on; it has to know that durably before anything is stopped."""
        self._docker.set_restart_policy(self._before.container_id, REVIVE)

    def stop(self) -> None:
        stop_container(self._tools, self._before.container)

    def revive(self) -> None:
        """Running again with its own policy, made again where somebody pruned it."""
        self._put_dead_aside()
        old = self._bring_up() if self._before.was_running else self.find() or self._make_again()
        is_copy = old["Id"] != self._before.container_id
        if is_copy:
            self._tools.host.sync()  # it is all there is, and nothing makes it once more when the record is closed
        self._remove_all_but(old["Id"])
        if is_copy or self._before.was_running:
            rename_container(self._tools, old["Id"], self._name)  # somebody may have given it another by hand
        if self._before.was_running or policy_of(old) != self._before.own_policy:
            self._docker.set_restart_policy(old["Id"], self._before.own_policy)

    def _bring_up(self) -> Inspect:
        """What there is, started; a new copy where there is nothing, or nothing that can be started. A dockerd that is
        killed while it starts a container can leave a task of it that it does not know: containerd then refuses every
        start of this id until it is restarted itself (20.10).
        """
        problems: list[DockerError] = []
        for one in self._alive():
            try:
                return self._started(one)
            except DockerError as exc:
                problems.append(exc)
        if problems and not any(_ID_IN_USE in problem.message for problem in problems):
            raise problems[0]
        return self._started(self._make_again())

    def _started(self, one: Inspect) -> Inspect:
        if self._is_being_stopped(one):
            # waits for the stop that is under way; a start before its end would be in vain
            stop_container(self._tools, one)
        start_container(self._tools, one["Id"])
        return one

    def _put_dead_aside(self) -> None:
        """What was to be removed, and could not be, is in the way of a name. Whether it can be by now does not matter:
        recovery tries again.
        """
        original = self._docker.find_container(self._before.container_id)
        for one in (original, *self._copies()):
            if one is not None and _is_dead(one):
                rename_container(self._tools, one["Id"], parked_name(self._name, one["Id"]))
                with suppress(DockerError):
                    self._docker.remove(one["Id"], with_new_volumes=False)

    def _remove_all_but(self, chosen: str) -> None:
        """The original that could not be started, or copies that are not needed after all."""
        original = self._docker.find_container(self._before.container_id)
        for one in (original, *self._copies()):
            if one is not None and one["Id"] != chosen and not _is_dead(one):
                self._docker.remove(one["Id"], with_new_volumes=False)

    def _is_being_stopped(self, old: Inspect) -> bool:
        """Whether it may be on its way down: still the same run, and already told to be revived at boot."""
        state, before = old["State"], self._before.container["State"]
        same_run = state["Running"] and state["StartedAt"] == before["StartedAt"]
        return bool(same_run and policy_of(old) == REVIVE)

    def _make_again(self) -> Inspect:
        """The same, from what was written down and the image that was kept, under a name of its own. Docker revives it
        from its first start on.
        """
        for useless in self._copies():  # it could not be started, or was cut off in the making
            self._docker.remove(useless["Id"], with_new_volumes=False)
        before = self._before
        labels = before.container["Config"].get("Labels") or {}
        own = {name: value for name, value in labels.items() if name.startswith(LABEL_PREFIX)}
        plan = plan_replacement(
            before.container, before.image, before.image_id, labels={**own, REMADE_LABEL: self._update_id},
            host_name=before.host_name,
        )  # fmt: skip
        created = self._docker.create(self._copy_name, plan.config)
        try:
            connect_networks(self._tools, created, plan)
        except CaissonError:
            self._docker.remove(created, with_new_volumes=False)
            raise
        self._docker.set_restart_policy(created, REVIVE if before.was_running else before.own_policy)
        return self._docker.inspect_container(created)

    def watch(self, *, only_running: bool = False) -> Watch:
        """What looks at it, once it is revived, until it is as well as it was."""
        gate = self._gate()
        probe = Prober(self._docker, self._check, self._tools.host.beat)
        return Watch(gate.only_running() if only_running else gate, self._look, probe)

    def _look(self) -> Inspect:
        old = self.find()
        if old is None:
            raise NotFound(f"cannot watch {self._name}: it is gone", code="docker.not_found")
        return old

    def _gate(self) -> Gate:
        """The gate of the way back asks for no health check that the old release does not have."""
        gate = gate_of_old(self._check, self._before)
        is_there = has_health_check(self._before.container["Config"])
        asks_docker = gate.check.kind is HealthKind.CONTAINER_HEALTH
        return gate.only_running() if asks_docker and not is_there else gate

    def keep_up(self) -> None:
        """Start it where it does not run. A power cut takes down again what was revived, and the end of dockerd alone
        also what was never touched; not every policy brings it back (docs/restart-policies.md).
        """
        old = self.find()
        if old is not None and self._before.was_running and not old["State"]["Running"]:
            self.revive()

    # past the verdict, and back

    def retire(self) -> None:
        """Stopped for good, under its parked name."""
        old = self._docker.find_container(self._before.container_id)
        if old is None:
            return
        if not _is_dead(old):
            self._docker.set_restart_policy(old["Id"], NO_RESTART)
        if old["State"]["Running"]:
            stop_container(self._tools, old)
        rename_container(self._tools, old["Id"], self._parked_name)

    def prepare_return(self) -> None:
        """Docker revives it from now on; first of all, since the way back can be cut off too. Nothing is done when it
        runs with its own policy: then it is back already.
        """
        old = self._docker.find_container(self._before.container_id)
        if old is None or _is_dead(old) or not self._before.was_running:
            return
        if not old["State"]["Running"] or policy_of(old) != self._before.own_policy:
            self._docker.set_restart_policy(old["Id"], REVIVE)

    def take_name_back(self) -> None:
        old = self._docker.find_container(self._before.container_id)
        if old is not None and not _is_dead(old):
            rename_container(self._tools, old["Id"], self._name)

    def remove_parked(self) -> None:
        old = self._docker.find_container(self._before.container_id)
        if old is not None and old["Name"] == f"/{self._parked_name}":
            self._docker.remove(old["Id"], with_new_volumes=False)


# what is asked of either container, and done to it


def policy_of(container: Inspect) -> Inspect:
    """Its restart policy, in the words in which it is set."""
    return restart_policy(container["HostConfig"].get("RestartPolicy"))


def _label(container: Inspect, name: str) -> str | None:
    labels: dict[str, str] = container["Config"].get("Labels") or {}
    return labels.get(name)


def _has_run(container: Inspect) -> bool:
    return bool(container["State"]["Status"] != "created")


def _is_dead(container: Inspect) -> bool:
    """Whether its removal was begun and cut off, or failed (docs/restart-policies.md)."""
    return bool(container["State"].get("Dead"))


def connect_networks(tools: Tools, container: ContainerId, plan: Replacement) -> None:
    for network, endpoint in plan.more_networks:
        tools.docker.connect(container, network, endpoint)


def rename_container(tools: Tools, container: str, name: str) -> None:
    """Does nothing when that is its name."""
    if tools.docker.inspect_container(container)["Name"] != f"/{name}":
        tools.docker.rename(container, name)


def start_container(tools: Tools, container: str) -> None:
    """Start what has to run, if need be after Docker was started again (`held_port`). Not for a release that is tried:
    Docker revives the old one at its start.
    """
    try:
        tools.docker.start(container)
    except DockerError as exc:
        if not tools.host.free_port(exc.message):
            raise
        tools.docker.start(container)


def stop_container(tools: Tools, container: Inspect) -> None:
    """Stop it, in the time that it or the settings grant."""
    own: Any = container["Config"].get("StopTimeout")
    grace_s = tools.stop_timeout_s
    if grace_s is None:
        grace_s = DEFAULT_GRACE_S if own is None else int(own)
    if grace_s < 0:
        grace_s = ENDLESS_GRACE_S  # "wait for ever" is more than we can
    tools.docker.stop(container["Id"], grace_s=grace_s)
