"""The history is in the order of what happened, and nobody changes it unseen."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caissond.errors import StoreError
from caissond.model.ids import UpdateId
from caissond.model.records import AuditKind, Outcome
from caissond.store.database import Database
from caissond.store.history import History
from tests.unit.samples import NOW, verdict

IN_1970 = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture
def history(database: Database) -> History:
    return History(database)


def ids(history: History, *, service: str | None = None, limit: int | None = None) -> list[str]:
    return [one.update_id for one in history.newest(service=service, limit=limit)]


def test_newest_comes_first_even_when_the_clock_goes_back(history: History) -> None:
    for update_id, at in (("first", NOW), ("second", IN_1970), ("third", NOW - timedelta(days=1))):
        history.add(verdict(update_id, finished_at=at))
    assert ids(history) == ["third", "second", "first"]


def test_service_and_limit_choose_among_them(history: History) -> None:
    for update_id, service in (("1", "web"), ("2", "api"), ("3", "web"), ("4", "web")):
        history.add(verdict(update_id, service=service))
    assert ids(history, service="web") == ["4", "3", "1"]
    assert ids(history, service="web", limit=2) == ["4", "3"]
    assert ids(history, limit=0) == []
    assert ids(history, service="db") == []


def test_verdict_is_read_as_it_was_written(history: History) -> None:
    written = verdict("1", outcome=Outcome.ROLLED_BACK)
    history.add(written)
    assert history.newest() == (written,)


def test_later_verdict_on_the_same_update_takes_the_place_of_the_first(history: History) -> None:
    history.add(verdict("1", outcome=Outcome.ROLLBACK_FAILED))
    history.add(verdict("2"))
    history.add(verdict("1", outcome=Outcome.ROLLED_BACK))
    assert [(one.update_id, one.outcome.value) for one in history.newest()] == [
        ("2", "succeeded"), ("1", "rolled_back"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("prefix", "found"),
    [("0123", "0123abcd"), ("0123abcd", "0123abcd"), ("012", None), ("9", None), ("", None), ("%", None)],
)
def test_update_is_found_by_an_unambiguous_prefix(history: History, prefix: str, found: str | None) -> None:
    for update_id in ("0123abcd", "0129abcd", "_x"):
        history.add(verdict(update_id))
    match = history.find(prefix)
    assert (match.update_id if match else None) == found


# the audit chain


def audit(history: History, number: int, update_id: str = "u") -> None:
    kind = list(AuditKind)[number % len(AuditKind)]
    history.audit(UpdateId(update_id), kind, f"event {number} – ü", at=NOW - timedelta(hours=number))


@pytest.fixture
def chain(history: History) -> History:
    """One with five links."""
    for number in range(5):
        audit(history, number)
    return history


def test_chain_of_what_was_written_adds_up(chain: History) -> None:
    assert chain.verify() == 5


def test_empty_chain_adds_up(history: History) -> None:
    assert history.verify() == 0


def test_events_of_an_update_come_oldest_first(history: History) -> None:
    for number, update_id in enumerate(("a", "b", "a")):
        audit(history, number, update_id)
    events = history.events(UpdateId("a"))
    assert [(event.seq, event.message) for event in events] == [(1, "event 0 – ü"), (3, "event 2 – ü")]
    assert events[1].at == NOW - timedelta(hours=2)


TAMPERINGS = {
    "message changed": ("UPDATE audit SET message = 'nothing' WHERE seq = 3", 3),
    "time changed": ("UPDATE audit SET at = '1970-01-01T00:00:00+00:00' WHERE seq = 3", 3),
    "kind changed": ("UPDATE audit SET kind = 'update_committed' WHERE seq = 1", 1),
    "update changed": ("UPDATE audit SET update_id = 'other' WHERE seq = 5", 5),
    "hash changed": ("UPDATE audit SET hash = 'f' || substr(hash, 2) WHERE seq = 2", 2),
    "first deleted": ("DELETE FROM audit WHERE seq = 1", 1),
    "one in the middle deleted": ("DELETE FROM audit WHERE seq = 3", 3),
    "last deleted": ("DELETE FROM audit WHERE seq = 5", 5),
    "all deleted": ("DELETE FROM audit", 1),
    "renumbered over a gap": ("DELETE FROM audit WHERE seq = 4; UPDATE audit SET seq = 4 WHERE seq = 5", 4),
    "one added": ("INSERT INTO audit SELECT 6, update_id, at, kind, message, hash FROM audit WHERE seq = 5", 6),
    "two exchanged": (
        "UPDATE audit SET seq = 99 WHERE seq = 3; UPDATE audit SET seq = 3 WHERE seq = 4; "
        "UPDATE audit SET seq = 4 WHERE seq = 99", 3,
    ),
}  # fmt: skip


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_tampering_is_detected(chain: History, database: Database, tampering: str) -> None:
    script, place = TAMPERINGS[tampering]
    with database.write() as connection:
        for statement in script.split(";"):
            connection.execute(statement)
    with pytest.raises(StoreError, match=f"event {place} is missing or changed") as broken:
        chain.verify()
    assert broken.value.code == "store.audit_broken"


def test_deleted_end_is_detected_after_more_was_written(chain: History, database: Database) -> None:
    with database.write() as connection:
        connection.execute("DELETE FROM audit WHERE seq > 3")
    audit(chain, 9)
    with pytest.raises(StoreError, match="event 4 is missing"):
        chain.verify()


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
def test_chain_adds_up_whatever_the_messages_say(history: History, messages: list[str]) -> None:
    length = history.verify()
    for message in messages:
        history.audit(UpdateId("u"), AuditKind.UPDATE_STARTED, message, at=NOW)
    assert history.verify() == length + len(messages)
