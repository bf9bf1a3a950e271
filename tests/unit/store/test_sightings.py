"""How long a release is known: by the time for which the device has been on, whatever clocks say."""

import pytest

from caissond.store.database import Database
from caissond.store.sightings import SAVED_EVERY_S, Sightings, boot_clock
from tests.unit.samples import release

DAY_S = 86400.0


class Machine:
    """A device that can be switched off."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.boot_s = 1000.0

    @property
    def sightings(self) -> Sightings:
        """A process that has just started."""
        return Sightings(self.database, lambda: self.boot_s)

    def runs(self, seconds: float) -> None:
        self.boot_s += seconds

    def boots(self) -> None:
        self.boot_s = 0.0


@pytest.fixture
def machine(database: Database) -> Machine:
    return Machine(database)


def test_release_that_nobody_saw_is_not_known(machine: Machine) -> None:
    machine.runs(DAY_S)
    assert machine.sightings.known_for_s(release()) == 0


def test_time_is_counted_from_the_first_sight_on(machine: Machine) -> None:
    machine.sightings.see(release())
    machine.runs(60)
    machine.sightings.see(release())
    assert machine.sightings.known_for_s(release()) == 60
    assert machine.sightings.known_for_s(release("1.2.4")) == 0


def test_restart_of_the_daemon_takes_nothing_of_the_count_and_writes_nothing(machine: Machine) -> None:
    machine.sightings.see(release())
    machine.runs(5 * DAY_S)
    before = machine.database.path.stat().st_mtime_ns
    assert machine.sightings.known_for_s(release()) == 5 * DAY_S
    assert machine.database.path.stat().st_mtime_ns == before


def test_boot_takes_what_came_since_the_last_save(machine: Machine) -> None:
    machine.sightings.see(release())
    machine.runs(1000)
    machine.sightings.save_time(longest_s=DAY_S)
    machine.runs(500)
    machine.boots()
    machine.runs(30)
    assert machine.sightings.known_for_s(release()) == 1030


def test_count_is_saved_now_and_then_and_only_while_something_soaks(machine: Machine) -> None:
    machine.sightings.see(release())
    machine.runs(SAVED_EVERY_S - 1)
    machine.sightings.save_time(longest_s=DAY_S)
    machine.boots()
    assert machine.sightings.known_for_s(release()) == 0
    machine.runs(2 * DAY_S)
    machine.sightings.save_time(longest_s=DAY_S)
    machine.boots()
    assert machine.sightings.known_for_s(release()) == 0


def test_approval_is_for_one_release_until_its_verdict(machine: Machine) -> None:
    machine.sightings.approve(release())
    assert machine.sightings.is_approved(release())
    assert not machine.sightings.is_approved(release(number=2))
    machine.sightings.forget(release())
    machine.runs(60)
    assert (machine.sightings.is_approved(release()), machine.sightings.known_for_s(release())) == (False, 0)


def test_boot_that_is_older_than_the_one_before_became_takes_nothing_of_the_count(machine: Machine) -> None:
    machine.sightings.see(release())
    machine.boots()
    machine.runs(60)
    machine.sightings.save_time(longest_s=DAY_S)
    machine.runs(5000)
    assert machine.sightings.known_for_s(release()) == 5060


def test_clock_of_the_boot_goes_forward() -> None:
    assert 0 < boot_clock() <= boot_clock()
