"""An update is an ordered list of steps, each with its undo; this drives them forward, or back.

`next_action` is pure, and one loop serves a fresh update, a failure and a restart. What a step is about to do is on
the disk before its handler runs, the outcome after it. Handlers are idempotent: after a crash the same one runs again.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from caissond.errors import (
    CaissonError,
    GateFailed,
    HostUnavailable,
    Refusal,
    SourceGone,
    Stopping,
    StoreError,
)
from caissond.model.records import Failure, Record, Status
from caissond.update.policy import WAIT_FOR_THE_HOST

Save = Callable[[Record], None]
_log = logging.getLogger(__name__)


def nothing() -> None:
    """The undo of a step that changes nothing."""


@dataclass(frozen=True, slots=True)
class Step:
    """A named pair. The undo copes with a do that ran wholly, partly or not at all."""

    name: str
    do: Callable[[], None]
    undo: Callable[[], None] = nothing
    final: bool = False
    """Once it has begun, recovery goes forward: the verdict is in."""


class Direction(StrEnum):
    DO = "do"
    UNDO = "undo"


@dataclass(frozen=True, slots=True)
class Action:
    step: str
    direction: Direction


def next_action(record: Record) -> Action | None:
    """What is to be done next; None when the record is finished, one way or the other."""
    if record.failure is None:
        todo = (name for name, status in record.statuses.items() if status in (Status.PENDING, Status.DOING))
        name = next(todo, None)
        return Action(name, Direction.DO) if name else None
    undoable = (Status.DOING, Status.DONE, Status.UNDOING)
    name = next((name for name, status in reversed(record.statuses.items()) if status in undoable), None)
    return Action(name, Direction.UNDO) if name else None


def after_restart(record: Record, final_steps: frozenset[str]) -> Record:
    """The record of an update that was cut off, as recovery goes on with it: back, or forward past the verdict.
    Undos that were stuck are tried again.
    """
    if record.failure is not None:
        again = {
            name: Status.UNDOING if status is Status.STUCK else status
            for name, status in record.statuses.items()
        }
        return record.model_copy(update={"statuses": again, "stuck": ()})
    begun = {name for name, status in record.statuses.items() if status is not Status.PENDING}
    if begun & final_steps:
        return record
    last = next((name for name in reversed(record.statuses) if name in begun), next(iter(record.statuses)))
    cut_off = Failure(step=last, code="update.interrupted", message="cannot go on: cut off", interrupted=True)
    return record.model_copy(update={"failure": cut_off})


def drive(
    record: Record,
    steps: tuple[Step, ...],
    save: Save,
    on_failure: Callable[[Failure], None] = lambda _failure: None,
    answers: Callable[[], bool] = lambda: False,
) -> Record:
    """Run steps, or their undos after a failure, until nothing is left to do.

    Args:
        record: names every step of `steps`, in their order.
        save: writes a record down, durably.
        on_failure: told once, before the first undo.
        answers: whether the engine answers after all, when a call to it did not: then one call hangs, and the way
            back goes around it.

    Raises:
        HostUnavailable: the engine does not answer; the record stays as it is written down, for recovery.
    """
    by_name = {step.name: step for step in steps}
    while (action := next_action(record)) is not None:
        if action.direction is Direction.UNDO:
            record = _undo(record, by_name[action.step], save, answers)
            continue
        record = _do(record, by_name[action.step], save, answers)
        if record.failure is not None:
            on_failure(record.failure)
    return record


def _do(record: Record, step: Step, save: Save, answers: Callable[[], bool]) -> Record:
    record = _marked(record, step, Status.DOING)
    try:
        save(record)
        step.do()
        if not step.final:
            save(_marked(record, step, Status.DONE))
    except HostUnavailable as exc:
        if not answers():
            raise
        return record.model_copy(update={"failure": _failure(step, exc)})
    except Exception as exc:  # also a mistake of ours: what was begun has to be undone
        return record.model_copy(update={"failure": _failure(step, exc)})
    record = _marked(record, step, Status.DONE)
    if step.final:  # it is committed: a database that cannot be written is no reason to go back
        _save_if_possible(record, save)
    return record


def _undo(record: Record, step: Step, save: Save, answers: Callable[[], bool]) -> Record:
    record = _marked(record, step, Status.UNDOING)
    _save_if_possible(record, save)
    try:
        step.undo()
        record = _marked(record, step, Status.UNDONE)
    except HostUnavailable as exc:
        if not answers():
            raise
        record = _stuck(record, step, exc)
    except Exception as exc:  # whatever it was, the undos before this one still have to run
        record = _stuck(record, step, exc)
    _save_if_possible(record, save)
    return record


def _failure(step: Step, exc: Exception) -> Failure:
    if not isinstance(exc, CaissonError):
        _log.exception("step %s", step.name)
        return Failure(
            step=step.name, code="update.step_failed", message=f"{type(exc).__name__} in {step.name}"
        )
    waits = isinstance(exc, (Stopping, HostUnavailable, SourceGone)) or exc.code in WAIT_FOR_THE_HOST
    return Failure(
        step=step.name,
        code=exc.code,
        message=exc.message,
        verdict=isinstance(exc, GateFailed),
        interrupted=waits,
        refused=isinstance(exc, Refusal) and not waits,
    )


def _save_if_possible(record: Record, save: Save) -> None:
    """A database that cannot be written does not stop the way back: every undo can run twice."""
    with suppress(StoreError):
        save(record)


def _stuck(record: Record, step: Step, exc: Exception) -> Record:
    stuck = _failure(step, exc)
    return _marked(record, step, Status.STUCK).model_copy(update={"stuck": (*record.stuck, stuck)})


def _marked(record: Record, step: Step, status: Status) -> Record:
    return record.model_copy(update={"statuses": {**record.statuses, step.name: status}})
