"""The old and the new container of one name, side by side, with what is bound to them."""

from caissond.errors import GateFailed, HostUnavailable, Refusal, Stopping
from caissond.model.catalog import HealthCheck
from caissond.model.ids import ContainerId, UpdateId
from caissond.model.records import Part
from caissond.update.dependants import Dependants
from caissond.update.new_container import NewContainer
from caissond.update.old_container import OldContainer
from caissond.update.step_tools import Tools, whatever_comes

ENGINE_SETTLES_S = 2
ENGINE_MAY_BE_TO_BLAME = frozenset({"gate.exited", "gate.restarting", "gate.probe_failed", "gate.timed_out"})


class Swap:
    """The old and the new container of one name, and what is bound to them."""

    def __init__(self, part: Part, update_id: UpdateId, check: HealthCheck, tools: Tools) -> None:
        self._before = part.before
        self._tools = tools
        self.old = OldContainer(part, update_id, check, tools)
        self.new = NewContainer(part, update_id, check, tools)
        self.dependants = Dependants(part, update_id, tools, self.old)

    def engine_revived_old(self) -> bool:
        """Only an engine that started anew can have done that."""
        old = self._tools.docker.find_container(self._before.container_id)
        return self._before.was_running and old is not None and bool(old["State"]["Running"])

    def check_at_rest(self) -> None:
        """Whether somebody has started the old one meanwhile, of a service that ends by itself: the new one is not
        started beside it.

        Raises:
            Refusal: `service.at_work`.
        """
        if not self._before.runs_once:
            return
        old = self.old.find()
        if old is not None and old["State"]["Running"]:
            raise Refusal("cannot go on now: the old release is at work", code="service.at_work")

    @property
    def is_gated(self) -> bool:
        return self._before.is_gated

    @property
    def was_running(self) -> bool:
        return self._before.was_running

    @property
    def was_well(self) -> bool:
        return self._before.was_running and self._before.was_well

    def create_dependants(self) -> None:
        if self._before.dependants:
            self.dependants.create(ContainerId(self.new.required()["Id"]))

    # past the verdict, and back

    def make_revived(self) -> None:
        """Docker brings the new ones back from now on."""
        self.new.make_revived()
        self.dependants.make_revived()

    def retire_old(self) -> None:
        self.dependants.retire_old()
        self.old.retire()

    def take_over(self) -> None:
        self.new.take_over()
        self.dependants.take_over()

    def go_back(self) -> None:
        """Docker revives the old ones already, since the way back can be cut off too."""
        self.dependants.go_back()
        self.new.step_back()
        self.old.take_name_back()

    def give_own_policy(self) -> None:
        self.new.give_own_policy()
        self.dependants.give_own_policy()

    def keep_new_up(self) -> None:
        """Once committed: start what does not run after all."""
        whatever_comes((self.new.keep_up, self.dependants.bring_up_again))

    def clean_up(self) -> None:
        self.dependants.clean_up()
        self.old.remove_parked()

    def keep_up(self) -> None:
        """Once undone: start what does not run after all."""
        self.old.keep_up()
        self.dependants.keep_up()


def judge_engine(tools: Tools, swaps: tuple[Swap, ...], mark: str, failed: GateFailed) -> None:
    """Whether what the gate saw says anything about the release.

    Args:
        mark: the engine's `start_mark` before the release was started; empty where it was not asked for.

    Raises:
        Stopping: it stopped because the engine did.
        HostUnavailable: the engine went away; one that shuts down takes no new connection.
    """
    if failed.code not in ENGINE_MAY_BE_TO_BLAME:
        return
    tools.host.pause_whatever_comes(ENGINE_SETTLES_S)
    if not tools.docker.answers():
        raise HostUnavailable("cannot judge the new release: Docker went away", code="docker.unavailable")
    check_engine(tools, mark)
    if any(swap.engine_revived_old() for swap in swaps):
        text = f"cannot judge the new release: Docker was restarted ({failed.message})"
        raise Stopping(text, code="update.interrupted") from failed


def check_engine(tools: Tools, mark: str) -> None:
    """Whether the engine is still the one that the release was started on.

    Args:
        mark: its `start_mark` then; empty where it was not asked for.

    Raises:
        Stopping: how the release ended says nothing, well or not.
    """
    if mark and mark != tools.docker.start_mark():
        raise Stopping("cannot judge the new release: Docker was restarted", code="update.interrupted")
