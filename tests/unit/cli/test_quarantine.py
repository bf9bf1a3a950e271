"""`caisson quarantine` and `caisson rollback` as far as they come without Docker."""

from contextlib import closing

import pytest

from caissond.model.ids import UpdateId
from caissond.store.database import Database
from caissond.store.lock import hold_lock
from caissond.store.releases import Releases
from tests.unit.cli.command import BEGAN, Command
from tests.unit.samples import installed, release


@pytest.fixture
def sick(caisson: Command) -> Command:
    """Three releases failed here."""
    with closing(Database(caisson.paths.database)) as database:
        for version, number in (("1.0.0", 1), ("1.1.0", 2), ("1.1.0", 3)):
            failed = release(version, service="frontend", number=number)
            Releases(database).quarantine(failed, code="gate.exited", update_id=UpdateId("0a" * 18), at=BEGAN)
    return caisson


def test_quarantine_lists_what_failed_and_why(sick: Command) -> None:
    answer = sick("quarantine", "list")
    assert answer.code == 0
    assert answer.lines[1].split() == [
        "frontend",
        "1.0.0",
        "gate.exited",
        "2026-03-01",
        "12:00:00",
        "0a0a0a0a",
    ]
    assert [one["version"] for one in sick("quarantine", "list", "--json").json] == [
        "1.0.0",
        "1.1.0",
        "1.1.0",
    ]


def test_empty_quarantine_says_so(caisson: Command) -> None:
    assert caisson("quarantine", "list").lines == ["No release is in quarantine."]
    assert caisson("quarantine", "list", "--json").json == []


@pytest.mark.parametrize(
    ("chosen", "cleared"), [([], 3), (["frontend"], 3), (["frontend", "1.1.0"], 2), (["other"], 0)]
)
def test_quarantine_is_cleared_of_what_was_named(sick: Command, chosen: list[str], cleared: int) -> None:
    assert sick("quarantine", "clear", *chosen, "--json").json == {"cleared": cleared}
    assert len(sick("quarantine", "list", "--json").json) == 3 - cleared


def test_nothing_is_cleared_while_somebody_updates(sick: Command) -> None:
    with hold_lock(sick.paths.lock, who="somebody"):
        answer = sick("quarantine", "clear")
    assert (answer.code, "[lock.busy, E-721]" in answer.err) == (1, True)
    assert len(sick("quarantine", "list", "--json").json) == 3


# going back


def test_going_back_wants_a_service_of_the_catalog_and_a_release_before(caisson: Command) -> None:
    assert "[service.unknown" in caisson("rollback", "nonsense").err
    answer = caisson("rollback", "frontend")
    assert (answer.code, "[rollback.nothing_before" in answer.err) == (2, True)


def test_going_back_asks_first(caisson: Command) -> None:
    with closing(Database(caisson.paths.database)) as database:
        earlier = {
            "previous": release("1.0.0"),
            "previous_image": "sha256:0",
            "previous_reference": "a:1",
        }
        known = installed("1.1.0", service="frontend").model_copy(update=earlier)
        Releases(database).save_installed(known)
    answer = caisson.as_process("rollback", "frontend", stdin=b"no\n")
    assert answer.code == 3
    assert answer.lines[:2] == ["Ready to go back", "frontend 1.1.0 -> 1.0.0"]
    assert answer.lines[-1].endswith("Cancelled before changing the service.")


def test_hold_is_lifted_and_says_what_it_was(caisson: Command) -> None:
    with closing(Database(caisson.paths.database)) as database:
        Releases(database).hold("frontend", "1.1.0")
    said = [caisson("rollback", "frontend", "--lift").lines for _ in range(2)]
    assert said == [["frontend: 1.1.0 and older may come in again"], ["frontend: nothing was held"]]
