"""What is known of releases outlives the process, and is kept apart by service, version and digest."""

from contextlib import closing
from datetime import timedelta

import pytest

from caissond.model.records import Outcome, Release
from caissond.store.database import Database
from caissond.store.releases import Quarantined, Releases
from tests.unit.samples import NOW, UPDATE, installed, release

OTHERS = [release("1.2.4"), release(service="api"), release(number=2)]


@pytest.fixture
def releases(database: Database) -> Releases:
    return Releases(database)


def test_installed_release_is_the_last_one_saved(releases: Releases, database: Database) -> None:
    assert releases.installed("web") is None
    releases.save_installed(installed("1.0.0"))
    releases.save_installed(installed("1.1.0"))
    with closing(Database(database.path)) as again:
        assert Releases(again).installed("web") == installed("1.1.0")


def test_forgotten_service_is_not_installed(releases: Releases) -> None:
    releases.save_installed(installed())
    releases.save_installed(installed(service="api"))
    releases.forget_installed("web")
    releases.forget_installed("never there")
    assert releases.all_installed() == (installed(service="api"),)


def test_quarantine_says_why_and_when(releases: Releases) -> None:
    releases.quarantine(release(), code="gate.exited", update_id=UPDATE, at=NOW)
    assert releases.quarantined(release()) == Quarantined(
        "web", "1.2.3", release().digest, "gate.exited", UPDATE, NOW
    )


@pytest.mark.parametrize("other", OTHERS, ids=["version", "service", "digest"])
def test_other_release_is_neither_quarantined_nor_attempted(releases: Releases, other: Release) -> None:
    releases.quarantine(release(), code="gate.exited", update_id=UPDATE, at=NOW)
    releases.count_attempt(release())
    assert releases.quarantined(other) is None
    assert releases.attempts(other) == 0


def test_attempts_are_counted_until_they_are_cleared(releases: Releases, database: Database) -> None:
    assert releases.attempts(release()) == 0
    for _ in range(3):
        releases.count_attempt(release())
    with closing(Database(database.path)) as again:
        assert Releases(again).attempts(release()) == 3
    releases.clear_attempts(release())
    assert releases.attempts(release()) == 0


def test_handled_package_gets_another_turn_under_other_terms(releases: Releases) -> None:
    releases.remember_handled("identity", terms="strict", sha256="", outcome=Outcome.REFUSED)
    assert releases.handled("identity", terms="strict") == {""}
    assert releases.handled("identity", terms="lenient") == frozenset()
    assert releases.handled("other", terms="strict") == frozenset()


def test_copies_of_a_package_are_told_apart(releases: Releases) -> None:
    for sha256 in ("one", "two", "two"):
        releases.remember_handled("identity", terms="strict", sha256=sha256, outcome=Outcome.REFUSED)
    assert releases.handled("identity", terms="strict") == {"one", "two"}


def test_leave_to_go_back_is_used_up_for_that_release_only(releases: Releases, database: Database) -> None:
    releases.use_downgrade(release("1.0.0"))
    releases.use_downgrade(release("1.0.0"))
    with closing(Database(database.path)) as again:
        assert Releases(again).downgrade_used(release("1.0.0"))
        assert not Releases(again).downgrade_used(release("1.0.1"))


def test_time_floor_is_kept_until_it_is_reset(releases: Releases, database: Database) -> None:
    assert releases.time_floor() is None
    for floor in (NOW, NOW + timedelta(days=1)):
        releases.save_time_floor(floor)
    with closing(Database(database.path)) as again:
        assert Releases(again).time_floor() == NOW + timedelta(days=1)
    releases.reset_time_floor()
    assert releases.time_floor() is None
