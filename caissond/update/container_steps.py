"""The do and undo of each step for a service that runs in one container, or in several that are alike, side by side.

The old containers keep their names, their whole selves and a restart policy that revives them until the verdict is in
(`old_container`). The replacements are made before the old ones are stopped, and Docker never starts them by itself
before the commit (`new_container`). Names are derived from the update's id, so an undo finds what it made without
having been told; it deletes nothing else.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from caissond.errors import GateFailed, Stopping, Unprobeable
from caissond.model.catalog import HealthCheck
from caissond.model.ids import ImageId, UpdateId
from caissond.model.records import AuditKind, Installed, Part
from caissond.update.bundle import STILL_WELL
from caissond.update.containers import find_siblings, name_of
from caissond.update.engine import Step, nothing
from caissond.update.gate import gate_of_new
from caissond.update.health import watch
from caissond.update.step_tools import Tools, whatever_comes
from caissond.update.swap import Swap, check_engine, judge_engine
from caissond.update.tags import Tags, previous_of

STEP_NAMES = ("keep-old", "load-image", "create-new", "stop-old", "start-new", "health-gate", "commit")
WITH_DEPENDANTS = (
    *("keep-old", "load-image", "create-new", "create-dependants", "stop-dependants", "stop-old"),
    *("start-new", "start-dependants", "health-gate", "commit"),
)


def step_names(part: Part) -> tuple[str, ...]:
    """The steps of an update, in their order."""
    return WITH_DEPENDANTS if any(one.before.dependants for one in part.each) else STEP_NAMES


class ContainerSteps:
    """The steps that update one service."""

    def __init__(self, part: Part, update_id: UpdateId, check: HealthCheck, tools: Tools) -> None:
        self._part = part
        self._before = part.before
        self._update_id = update_id
        self._check = check
        self._tools = tools
        self._docker = tools.docker
        self._swaps = tuple(Swap(one, update_id, check, tools) for one in part.each)
        self._dependants = tuple(swap.dependants for swap in self._swaps)
        self._service = part.release.service
        self._tags = Tags(part, update_id, tools)
        self._mark = ""

    def steps(self) -> tuple[Step, ...]:
        """All that there are; `bundle.order_steps` says in which order they are done."""
        handlers: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
            "keep-old": (self.keep_old, self.release_old),
            "load-image": (self.load_image, self.unload_image),
            "create-new": (self.create_new, self.remove_new),
            "create-dependants": (self.create_dependants, self.remove_dependants),
            "stop-dependants": (self.stop_dependants, self.revive_dependants),
            "stop-old": (self.stop_old, self.revive_old),
            "start-new": (self.start_new, self.stop_new),
            "start-dependants": (self.start_dependants, self.stop_new_dependants),
            "health-gate": (self.pass_gate, nothing),
            STILL_WELL: (self.stay_well, nothing),
            "commit": (self.commit, self.uncommit),
        }
        return tuple(
            Step(f"{self._service}/{name}", *handlers[name], final=name == "commit")
            for name in (*step_names(self._part), STILL_WELL)
        )

    # keep-old

    def keep_old(self) -> None:
        self._tags.keep_old()

    def release_old(self) -> None:
        if all(swap.old.find() for swap in self._swaps):
            self._tags.release_old()  # else one could not be made again yet: its image is all that is left of it

    # load-image

    def load_image(self) -> None:
        self._tools.host.import_image(self._part, self._tags.ingest)
        self._tools.host.sync()

    def unload_image(self) -> None:
        whatever_comes((self._tags.release_new, self._tools.host.remove_intermediates))

    # create-new

    def create_new(self) -> None:
        image = ImageId(self._docker.inspect_image(self._tags.ingest)["Id"])
        for swap in self._swaps:
            swap.new.create(image)

    def remove_new(self) -> None:
        whatever_comes(swap.new.remove for swap in self._swaps)

    # create-dependants, stop-dependants, start-dependants

    def create_dependants(self) -> None:
        for swap in self._swaps:
            swap.create_dependants()

    def remove_dependants(self) -> None:
        whatever_comes(each.remove_new for each in self._dependants)

    def stop_dependants(self) -> None:
        self._tools.host.pause(0)  # asked to stop? then not now
        for each in self._dependants:
            each.stop_old()

    def revive_dependants(self) -> None:
        whatever_comes(each.revive_old for each in self._dependants)

    def start_dependants(self) -> None:
        for each in self._dependants:
            each.start_new()

    def stop_new_dependants(self) -> None:
        whatever_comes(each.stop_new for each in self._dependants)

    # stop-old

    def stop_old(self) -> None:
        if running := [swap for swap in self._swaps if swap.was_running]:
            self._tools.host.pause(0)  # asked to stop? then not now
            self._tools.host.tell("update.stopping_old", f"{self._service}: the old release is stopped")
        for swap in running:
            swap.old.prepare_stop()
        if running:
            self._tools.host.sync()
        for swap in running:
            self._tools.host.pause(0)
            swap.old.stop()

    def revive_old(self) -> None:
        """
        Raises:
            GateFailed: it runs again, and is not as well as it was.
        """
        whatever_comes(swap.old.revive for swap in self._swaps)
        try:
            self._watch_old(only_running=False)
        except Unprobeable:
            self._watch_old(only_running=True)

    def _watch_old(self, *, only_running: bool) -> None:
        well = [swap for swap in self._swaps if swap.was_well]
        if well:
            watches = [swap.old.watch(only_running=only_running) for swap in well]
            watch(*watches, pause=self._tools.host.pause_whatever_comes)

    # start-new

    def start_new(self) -> None:
        if self._before.runs_once:  # no old container that the engine revives would tell of its restart
            self._mark = self._docker.start_mark()
        for swap in self._swaps:
            swap.check_at_rest()
            swap.new.start()

    def stop_new(self) -> None:
        whatever_comes(swap.new.stop for swap in self._swaps)

    # health-gate

    def pass_gate(self) -> None:
        host = self._tools.host
        if not self._part.is_gated:
            host.tell(
                "update.ungated", f"{self._service}: it was stopped before, so the new release is not started"
            )
            return
        host.tell("update.checking", f"{self._service}: the new release runs, watching it")
        host.audit(AuditKind.HEALTH_CHECK_STARTED, self._gate_words)
        try:
            words = self._watch_new()
        except GateFailed as exc:
            host.audit(AuditKind.HEALTH_CHECK_FAILED, exc.message)
            raise
        self._check_nobody_joined()
        host.audit(AuditKind.HEALTH_CHECK_PASSED, words)

    def _check_nobody_joined(self) -> None:
        """Whether somebody has scaled the service up meanwhile: that one would stay behind.

        Raises:
            Stopping: `update.interrupted`: the next attempt takes it along.
        """
        if self._part.compose_reference:
            now = {name_of(one) for one in find_siblings(self._docker, self._before.container)}
            if joined := now - set(self._part.names):
                text = f"cannot go on: {', '.join(sorted(joined))} was added meanwhile"
                raise Stopping(text, code="update.interrupted")

    @property
    def _gate_words(self) -> str:
        words = (gate_of_new(self._check, one.before).words for one in self._part.each)
        return ", ".join(dict.fromkeys(words))

    def stay_well(self) -> None:
        """One more look, after others have been watched."""
        if self._part.is_gated:
            self._watch_new(stable_secs=0)

    def _watch_new(self, *, stable_secs: float | None = None) -> str:
        """
        Raises:
            GateFailed: the verdict.
            Stopping, HostUnavailable: it stopped because the engine did: that says nothing about the release.
        """
        gated = (swap for swap in self._swaps if swap.is_gated)
        try:
            watches = [swap.new.watch(stable_secs=stable_secs) for swap in gated]
            words = watch(*watches, pause=self._tools.host.pause)
        except GateFailed as exc:
            judge_engine(self._tools, self._swaps, self._mark, exc)
            raise
        check_engine(self._tools, self._mark)
        return words

    # commit

    def commit(self) -> None:
        for swap in self._swaps:
            swap.make_revived()
        for swap in self._swaps:
            swap.retire_old()
        self._bring_up_again()
        for swap in self._swaps:
            swap.take_over()
        image = ImageId(self._swaps[0].new.required()["Image"])
        self._tags.name_new(image)
        self._tools.releases.save_installed(self._installed(image))
        self._tools.host.sync()

    def _bring_up_again(self) -> None:
        """After a power cut since the verdict they have to show once more that they run."""
        down = [swap for swap in self._swaps if swap.new.is_down]
        for swap in down:
            swap.new.bring_up_again()
        if down:
            self._watch_new()

    def uncommit(self) -> None:
        whatever_comes(swap.old.prepare_return for swap in self._swaps)
        whatever_comes(swap.go_back for swap in self._swaps)
        self._tags.name_old_again()
        self._restore_installed()

    def _restore_installed(self) -> None:
        if self._before.installed is not None:
            self._tools.releases.save_installed(self._before.installed)
        else:
            self._tools.releases.forget_installed(self._part.release.service)

    def _installed(self, image: ImageId) -> Installed:
        previous = previous_of(self._part)
        return Installed(
            release=self._part.release, update_id=self._update_id, image_id=image, committed_at=datetime.now(UTC),
            previous=previous.release, previous_image=previous.image_id,
            previous_reference=previous.reference, ungated=not self._part.is_gated,
        )  # fmt: skip

    # once committed

    def give_own_policy(self) -> None:
        """The new containers' restart policy is the service's own from now on, durably: it may have been set, and not
        synced, before this was cut off.
        """
        for swap in self._swaps:
            swap.give_own_policy()
        self._tools.host.sync()

    def clean_up(self) -> None:
        """Remove the parked old containers, once the new ones have been seen under the service's names, and the
        private tag of the load. The old image stays, under its keep tag.
        """
        settled = [swap.new.is_settled() for swap in self._swaps]
        whatever_comes(swap.keep_new_up for swap in self._swaps)
        if not all(settled):
            return
        for swap in self._swaps:
            swap.clean_up()
        self._tags.release_new()

    def keep_up(self) -> None:
        """Once undone: start the old release where it does not run after all."""
        whatever_comes(swap.keep_up for swap in self._swaps)
