"""Whatever fails, and wherever it is cut off: an update ends wholly done or wholly undone, and says where it is."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caissond.errors import (
    CaissonError,
    DockerError,
    GateFailed,
    HostUnavailable,
    Stopping,
    StoreError,
    StoreFull,
)
from caissond.model.records import Failure, Record, Status
from caissond.update.engine import Action, Direction, Step, after_restart, drive, next_action, nothing
from tests.unit import samples

NAMES = ("one", "two", "three", "commit")
FINAL = frozenset({"commit"})
UNAVAILABLE = HostUnavailable("cannot reach the engine", code="docker.unavailable")
REFUSED = DockerError("cannot do it: no", code="docker.error")
FULL = StoreFull("cannot write", code="store.full")


class PowerCut(BaseException):
    """Nothing catches this."""


def calm() -> None:
    """No fault."""


@dataclass
class World:
    """What the steps change, what happened in which order, and the disk. A fault, named `do one` or `undo one`, is
    raised before the effect; `late` ones after it.
    """

    faults: dict[str, BaseException] = field(default_factory=dict)
    late: dict[str, BaseException] = field(default_factory=dict)
    save_fault: Callable[[], None] = calm
    effects: set[str] = field(default_factory=set)
    happened: list[str] = field(default_factory=list)
    disk: list[Record] = field(default_factory=list)

    def steps(self) -> tuple[Step, ...]:
        return tuple(
            Step(name, self._handler("do", name), self._handler("undo", name), final=name in FINAL)
            for name in NAMES
        )

    def _handler(self, direction: str, name: str) -> Callable[[], None]:
        def handle() -> None:
            self.happened.append(f"{direction} {name}")
            if fault := self.faults.get(f"{direction} {name}"):
                raise fault
            (self.effects.add if direction == "do" else self.effects.discard)(name)
            if fault := self.late.get(f"{direction} {name}"):
                raise fault

        return handle

    def save(self, record: Record) -> None:
        self.save_fault()
        self.disk.append(record)
        self.happened.append("save " + " ".join(record.statuses.values()))

    def drive(self, record: Record, told: Callable[[Failure], None] = lambda _failure: None) -> Record:
        return drive(record, self.steps(), self.save, told)

    def handled(self) -> list[str]:
        return [what for what in self.happened if not what.startswith("save")]


def fresh() -> Record:
    return samples.record(*NAMES)


def statuses(record: Record) -> str:
    return " ".join(record.statuses.values())


def all_or_nothing(world: World) -> bool:
    return world.effects in (set(), set(NAMES))


# forward


def test_steps_are_done_in_order_each_saved_before_and_after() -> None:
    world = World()
    assert statuses(world.drive(fresh())) == "done done done done"
    assert world.happened == [
        "save doing pending pending pending", "do one", "save done pending pending pending",
        "save done doing pending pending", "do two", "save done done pending pending",
        "save done done doing pending", "do three", "save done done done pending",
        "save done done done doing", "do commit", "save done done done done",
    ]  # fmt: skip


def test_failure_is_undone_backwards_with_the_failed_step_first() -> None:
    world = World(faults={"do three": REFUSED})
    told: list[Failure] = []
    record = world.drive(fresh(), told.append)
    assert world.handled() == ["do one", "do two", "do three", "undo three", "undo two", "undo one"]
    assert statuses(record) == "undone undone undone pending"
    assert record.failure == Failure(step="three", code="docker.error", message="cannot do it: no")
    assert told == [record.failure]


@pytest.mark.parametrize(
    ("error", "verdict", "interrupted"),
    [
        (REFUSED, False, False),
        (GateFailed("cannot keep it", code="gate.exited"), True, False),
        (Stopping("cannot go on", code="update.interrupted"), False, True),
        (FULL, False, False),
    ],
)
def test_failure_says_who_is_to_blame(error: CaissonError, verdict: bool, interrupted: bool) -> None:
    failure = World(faults={"do two": error}).drive(fresh()).failure
    assert failure is not None
    assert (failure.code, failure.verdict, failure.interrupted) == (error.code, verdict, interrupted)


def test_mistake_in_the_program_is_undone_too_and_blames_no_release() -> None:
    world = World(faults={"do two": ZeroDivisionError("a secret")})
    record = world.drive(fresh())
    assert record.failure == Failure(
        step="two", code="update.step_failed", message="ZeroDivisionError in two"
    )
    assert statuses(record) == "undone undone pending pending"
    assert world.effects == set()


def test_step_that_cannot_be_written_down_is_not_done() -> None:
    def full_from_the_third() -> None:
        if len(world.disk) >= 2:
            raise FULL

    world = World(save_fault=full_from_the_third)
    record = world.drive(fresh())
    assert world.handled() == ["do one", "undo two", "undo one"]
    assert record.failure is not None
    assert record.failure.code == "store.full"


# back


def test_failed_undo_is_stuck_and_the_ones_before_it_still_run() -> None:
    world = World(faults={"do three": REFUSED, "undo two": REFUSED})
    record = world.drive(fresh())
    assert statuses(record) == "undone stuck undone pending"
    assert record.stuck == (Failure(step="two", code="docker.error", message="cannot do it: no"),)
    assert world.handled()[-3:] == ["undo three", "undo two", "undo one"]


def test_undo_with_a_mistake_in_it_is_stuck_too() -> None:
    record = World(faults={"do two": REFUSED, "undo two": ZeroDivisionError("by zero")}).drive(fresh())
    assert [(stuck.step, stuck.message) for stuck in record.stuck] == [("two", "ZeroDivisionError in two")]
    assert statuses(record) == "undone stuck pending pending"


@pytest.mark.parametrize("error", [FULL, StoreError("cannot write", code="store.failed")])
def test_database_that_cannot_be_written_does_not_stop_the_way_back(error: StoreError) -> None:
    def broken_once_three_failed() -> None:
        if "do three" in world.happened:
            raise error

    world = World(faults={"do three": REFUSED}, save_fault=broken_once_three_failed)
    assert statuses(world.drive(fresh())) == "undone undone undone pending"
    assert world.effects == set()


def test_committed_update_stays_when_the_database_cannot_be_written() -> None:
    def broken_after_commit() -> None:
        if "do commit" in world.happened:
            raise FULL

    world = World(save_fault=broken_after_commit)
    assert statuses(world.drive(fresh())) == "done done done done"
    assert world.effects == set(NAMES)


def test_failed_commit_is_undone() -> None:
    world = World(late={"do commit": REFUSED})
    assert statuses(world.drive(fresh())) == "undone undone undone undone"
    assert world.effects == set()


@pytest.mark.parametrize("where", ["do two", "undo two"])
def test_lost_engine_leaves_the_record_as_it_is_written_down(where: str) -> None:
    world = World(faults={"do three": REFUSED, where: UNAVAILABLE})
    with pytest.raises(HostUnavailable):
        world.drive(fresh())
    assert world.disk[-1].statuses["two"] is (Status.DOING if where == "do two" else Status.UNDOING)
    world.faults.pop(where)
    assert statuses(world.drive(after_restart(world.disk[-1], FINAL))).count("undone") >= 2
    assert world.effects == set()


def test_call_that_hangs_while_the_engine_answers_does_not_stop_the_way_back() -> None:
    world = World(faults={"do three": UNAVAILABLE, "undo two": UNAVAILABLE})
    record = drive(fresh(), world.steps(), world.save, answers=lambda: True)
    assert statuses(record) == "undone stuck undone pending"
    assert record.failure is not None
    assert record.failure.interrupted
    assert [stuck.code for stuck in record.stuck] == ["docker.unavailable"]


# after a restart


def at(*names: str) -> Record:
    """A record with these statuses."""
    return fresh().model_copy(update={"statuses": dict(zip(NAMES, map(Status, names), strict=True))})


@pytest.mark.parametrize(
    ("cut_off", "step"),
    [
        (at("pending", "pending", "pending", "pending"), "one"),
        (at("doing", "pending", "pending", "pending"), "one"),
        (at("done", "doing", "pending", "pending"), "two"),
        (at("done", "done", "done", "pending"), "three"),
    ],
    ids=["not begun", "in the first", "in the middle", "between two"],
)
def test_update_cut_off_before_the_verdict_goes_back(cut_off: Record, step: str) -> None:
    failure = after_restart(cut_off, FINAL).failure
    assert failure is not None
    assert (failure.step, failure.code, failure.interrupted) == (step, "update.interrupted", True)
    assert not failure.verdict


@pytest.mark.parametrize("commit", ["doing", "done"])
def test_update_cut_off_after_the_verdict_goes_forward(commit: str) -> None:
    cut_off = at("done", "done", "done", commit)
    assert after_restart(cut_off, FINAL) == cut_off
    world = World()
    assert statuses(world.drive(cut_off)) == "done done done done"
    assert world.handled() == (["do commit"] if commit == "doing" else [])


def test_way_back_that_was_cut_off_goes_on_and_tries_what_was_stuck_again() -> None:
    failure = Failure(step="three", code="docker.error", message="cannot")
    cut_off = at("done", "stuck", "undone", "pending").model_copy(
        update={"failure": failure, "stuck": (failure,)}
    )
    world = World()
    record = world.drive(after_restart(cut_off, FINAL))
    assert world.handled() == ["undo two", "undo one"]
    assert (record.stuck, record.failure) == ((), failure)


# any failure, anywhere

HANDLERS = [f"{direction} {name}" for direction in ("do", "undo") for name in NAMES]


@given(st.sets(st.sampled_from(HANDLERS)), st.sets(st.sampled_from(HANDLERS)))
def test_any_failures_end_in_order_and_in_words(early: set[str], late: set[str]) -> None:
    world = World(dict.fromkeys(early, REFUSED), dict.fromkeys(late, REFUSED))
    record = world.drive(fresh())
    done = [what.removeprefix("do ") for what in world.handled() if what.startswith("do ")]
    undone = [what.removeprefix("undo ") for what in world.handled() if what.startswith("undo ")]
    failing = early | late
    first = next((name for name in NAMES if f"do {name}" in failing), None)
    assert done == list(NAMES[: NAMES.index(first) + 1] if first else NAMES)
    assert undone == (done[::-1] if first else [])
    assert {stuck.step for stuck in record.stuck} == {name for name in undone if f"undo {name}" in failing}
    assert next_action(record) is None
    assert world.disk[-1] == record


@given(st.sets(st.sampled_from(HANDLERS)), st.sets(st.sampled_from(HANDLERS)))
def test_every_handler_is_written_down_before_it_runs(early: set[str], late: set[str]) -> None:
    world = World(dict.fromkeys(early, REFUSED), dict.fromkeys(late, REFUSED))
    world.drive(fresh())
    for before, what in zip(world.happened, world.happened[1:], strict=False):
        if not what.startswith("save"):
            direction, name = what.split()
            status = before.removeprefix("save ").split()[NAMES.index(name)]
            assert status == {"do": "doing", "undo": "undoing"}[direction]


# any cut, anywhere


def run_until(world: World, record: Record, cut_at: int, *, before_it_is_written: bool) -> Record | None:
    """Drive until the save with this number; None when the power went, else the finished record."""
    counted = 0

    def save(record: Record) -> None:
        nonlocal counted
        counted += 1
        if counted == cut_at and before_it_is_written:
            raise PowerCut
        world.save(record)
        if counted == cut_at:
            raise PowerCut

    try:
        return drive(record, world.steps(), save)
    except PowerCut:
        return None


CUTS = st.lists(st.tuples(st.integers(1, 20), st.booleans()), min_size=1, max_size=4)
FAILING_DOS = st.sets(st.sampled_from([f"do {name}" for name in NAMES]))


@given(FAILING_DOS, FAILING_DOS, CUTS)
def test_cut_at_any_save_ends_wholly_done_or_wholly_undone(
    early: set[str], late: set[str], cuts: list[tuple[int, bool]]
) -> None:
    world = World(dict.fromkeys(early, REFUSED), dict.fromkeys(late, REFUSED))
    begun = fresh()
    world.save(begun)
    record = begun
    for cut_at, before_it_is_written in cuts:
        finished = run_until(world, record, cut_at, before_it_is_written=before_it_is_written)
        record = after_restart(world.disk[-1], FINAL) if finished is None else finished
    record = world.drive(record)
    assert all_or_nothing(world)
    assert world.effects == (set() if record.failure else set(NAMES))
    assert record.stuck == ()


@given(st.sampled_from(HANDLERS), FAILING_DOS, st.booleans())
def test_cut_inside_any_handler_ends_wholly_done_or_wholly_undone(
    where: str, failing: set[str], after_its_effect: bool
) -> None:
    cut: dict[str, BaseException] = {where: PowerCut()}
    refused: dict[str, BaseException] = dict.fromkeys(failing, REFUSED)
    world = World(refused | ({} if after_its_effect else cut), cut if after_its_effect else {})
    begun = fresh()
    world.save(begun)
    try:
        record = world.drive(begun)
    except PowerCut:
        world.faults, world.late = dict(refused), {}
        record = world.drive(after_restart(world.disk[-1], FINAL))
    assert all_or_nothing(world)
    assert world.effects == (set() if record.failure else set(NAMES))


def test_verdict_of_the_gate_outlives_a_cut_on_the_way_back() -> None:
    world = World({"do three": GateFailed("cannot keep it", code="gate.exited"), "undo two": PowerCut()})
    with pytest.raises(PowerCut):
        world.drive(fresh())
    world.faults.pop("undo two")
    failure = world.drive(after_restart(world.disk[-1], FINAL)).failure
    assert failure is not None
    assert failure.verdict


def test_finished_record_asks_for_nothing() -> None:
    assert next_action(at("done", "done", "done", "done")) is None
    assert next_action(fresh()) == Action("one", Direction.DO)


def test_step_without_an_undo_changes_nothing() -> None:
    assert Step("gate", calm).undo is nothing
    nothing()
