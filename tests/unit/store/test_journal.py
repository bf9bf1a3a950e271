"""The record of a running update comes back as it was saved, and saving it is cheap."""

from contextlib import closing

import pytest

from caissond.errors import StoreError
from caissond.model.ids import UpdateId
from caissond.model.records import Failure, Record, Status
from caissond.store.database import Database
from caissond.store.history import History
from caissond.store.journal import Journal
from tests.unit.samples import before, installed, record, verdict

STEPS = ("web/load", "web/stop", "web/commit")
BIG = record(*STEPS, old=before(known=installed(), Mounts=[{"Name": "x" * 1000}] * 100))


def on_disk(database: Database) -> tuple[Record, ...]:
    """What a process that starts after a crash finds."""
    with closing(Database(database.path)) as again:
        return Journal(again).unfinished()


def failed(running: Record) -> Record:
    failure = Failure(step="web/stop", code="docker.error", message="cannot stop", interrupted=True)
    statuses = dict(zip(STEPS, (Status.DONE, Status.STUCK, Status.PENDING), strict=True))
    return running.model_copy(update={"statuses": statuses, "failure": failure, "stuck": (failure,)})


def test_record_that_was_begun_is_found_whole(database: Database) -> None:
    Journal(database).begin(BIG)
    assert on_disk(database) == (BIG,)


def test_what_was_saved_last_is_found(database: Database) -> None:
    journal = Journal(database)
    journal.begin(BIG)
    journal.save(failed(BIG))
    assert on_disk(database) == (failed(BIG),)


def test_steps_come_back_in_their_order(database: Database) -> None:
    journal = Journal(database)
    journal.begin(BIG)
    journal.save(failed(BIG))
    assert tuple(on_disk(database)[0].statuses) == STEPS


def test_save_writes_the_statuses_and_not_the_whole_record(database: Database) -> None:
    written: list[str] = []
    journal = Journal(database)
    journal.begin(BIG)
    with database.read() as connection:
        connection.set_trace_callback(written.append)
        journal.save(failed(BIG))
        connection.set_trace_callback(None)
    assert len(BIG.model_dump_json()) > 100_000
    assert sum(map(len, written)) < 1000


def test_updates_are_found_oldest_first(database: Database) -> None:
    journal = Journal(database)
    for update_id in ("c", "a", "b"):
        journal.begin(record(*STEPS, update_id=UpdateId(update_id)))
    assert [running.update_id for running in journal.unfinished()] == ["c", "a", "b"]


def test_save_changes_no_other_update(database: Database) -> None:
    journal, one, other = Journal(database), record(*STEPS), record(*STEPS, update_id=UpdateId("other"))
    journal.begin(one)
    journal.begin(other)
    journal.save(failed(other))
    assert on_disk(database) == (one, failed(other))


def test_update_cannot_begin_twice(database: Database) -> None:
    Journal(database).begin(BIG)
    with pytest.raises(StoreError):
        Journal(database).begin(record(*STEPS))
    assert on_disk(database) == (BIG,)


def test_verdict_closes_the_record_at_the_same_instant(database: Database) -> None:
    journal, history = Journal(database), History(database)
    journal.begin(BIG)
    history.add(verdict(BIG.update_id), keep_running=True)
    assert on_disk(database) == (BIG,)
    history.add(verdict(BIG.update_id))
    assert on_disk(database) == ()
