"""Packages that have to wait for their time: the daemon's worker on fakes, with a clock and boots that a test sets."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from caissond.errors import Refusal
from caissond.intake.scan import Origin, Place, Scanner
from caissond.model.records import AuditKind, Outcome
from caissond.package.validate import is_whole_file
from caissond.update.acceptance import PassedOver, Request
from caissond.update.device import Device
from caissond.update.going_back import go_back
from caissond.update.planning import Planned, approve_package, plan_all, plan_package
from caissond.update.updater import Updater
from caissond.update.worker import Worker
from tests.flow.bundle import BundleWorld, bundle
from tests.flow.device import CATALOG, World, package

WINDOW = 'windows = [{ start = "0 2 * * *", duration = "2h" }]'
NOON = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)


class Case:
    """A device whose one service has a policy, a stick in it, and an inbox."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.now = NOON
        self.boot = 100.0
        self.stick = Place(world.paths.media / "stick", Origin.MEDIA, read_only=True)
        self.stick.path.mkdir(parents=True)
        self.inbox = world.paths.inbox
        self._ticks = count()

    def policy(self, lines: str, *, catalog: str = CATALOG) -> None:
        self.world.paths.services.write_text(f"{catalog}[services.policy]\n{lines}\n")

    def put(self, content: bytes = package(), name: str = "a.edgepkg", *, stick: bool = False) -> Path:
        folder = self.stick.path if stick else self.inbox
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / name
        path.write_bytes(content)
        return path

    @contextmanager
    def device(self) -> Iterator[Device]:
        with self.world.device() as device:
            device.clock, device.boot = lambda: self.now, lambda: self.boot
            yield device

    @contextmanager
    def worker(self) -> Iterator[Worker]:
        scanner = Scanner(is_whole=is_whole_file, clock=lambda: next(self._ticks), incomplete_s=30)
        with self.device() as device:
            yield Worker(device, scanner, lambda: (self.stick,))

    def plan(self, path: Path) -> Planned:
        with self.device() as device:
            return plan_package(device, Request(path, Origin.INBOX))

    def told(self) -> list[str]:
        codes = [event.code for event in self.world.events]
        self.world.events.clear()
        return codes


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(World.make(tmp_path))


def look(worker: Worker) -> float | None:
    """Twice: a file in the inbox has to be seen unchanged."""
    worker.look()
    return worker.look().after_s


def test_package_waits_in_the_inbox_for_its_window_and_is_told_once(case: Case) -> None:
    case.policy(WINDOW)
    path = case.put()
    with case.worker() as worker:
        assert look(worker) == 60
        assert case.told().count("policy.window") == 1
        look(worker)
        assert (case.told(), case.world.version(), path.exists()) == ([], "old", True)
        case.now = NOON + timedelta(hours=14)
        look(worker)
    assert (case.world.version(), path.exists()) == ("new", False)


def test_worker_wakes_when_the_window_opens(case: Case) -> None:
    case.policy(WINDOW)
    case.now = NOON + timedelta(hours=13, minutes=59, seconds=40)
    case.put()
    with case.worker() as worker:
        assert look(worker) == 20


def test_waiting_package_costs_no_write(case: Case) -> None:
    case.policy(f'soak = "24h"\n{WINDOW}')
    case.put()
    with case.worker() as worker:
        look(worker)
        writes = case.world.writes
        for _ in range(5):
            look(worker)
        assert case.world.writes == writes


def test_stick_may_be_removed_while_its_package_waits_and_is_wanted_again_in_the_window(case: Case) -> None:
    case.policy(WINDOW)
    case.put(stick=True)
    with case.worker() as worker:
        look(worker)
        told = case.told()
        assert told[-2:] == ["policy.window", "media.done"]
        look(worker)
        assert case.told() == []
        case.now = NOON + timedelta(hours=14)
        look(worker)
        told = case.told()
        assert told[0] == "media.needed"
        assert told.index("media.done") < told.index("update.committed")


def test_stick_that_comes_again_is_told_again(case: Case) -> None:
    case.policy(WINDOW)
    case.put(stick=True)
    with case.worker() as worker:
        look(worker)
        case.told()
        case.stick = Place(case.stick.path, Origin.MEDIA, read_only=True, sequence="2")
        look(worker)
        assert "policy.window" in case.told()


def test_no_window_opens_before_the_clock_is_set(case: Case) -> None:
    case.policy(WINDOW)
    case.now = datetime(1970, 1, 1, 2, 30, tzinfo=UTC)
    case.put()
    with case.worker() as worker:
        look(worker)
        assert (case.world.version(), "policy.clock" in case.told()) == ("old", True)
        case.now = NOON + timedelta(hours=14)
        look(worker)
    assert case.world.version() == "new"


def test_soak_goes_on_over_restarts_and_does_not_mind_the_clock(case: Case) -> None:
    case.policy('soak = "24h"')
    case.put()
    with case.worker() as worker:
        look(worker)
        assert "policy.soak" in case.told()
        case.now = NOON + timedelta(days=4000)
        look(worker)
    case.now = datetime(1970, 1, 1, tzinfo=UTC)
    case.boot = 100.0 + 86399
    with case.worker() as worker:
        look(worker)
        assert case.world.version() == "old"
        case.boot = 100.0 + 86401
        look(worker)
    assert case.world.version() == "new"


def test_soak_goes_on_after_a_power_cut_from_where_it_was_saved(case: Case) -> None:
    case.policy('soak = "24h"')
    case.put()
    with case.worker() as worker:
        look(worker)
        case.boot = 100.0 + 80000
        look(worker)
    case.boot = 6300.0
    with case.worker() as worker:
        look(worker)
        assert case.world.version() == "old"
        case.boot = 6500.0
        look(worker)
    assert case.world.version() == "new"


def test_hold_file_keeps_packages_waiting_until_it_is_removed(case: Case) -> None:
    case.put()
    case.world.paths.hold.parent.mkdir(parents=True, exist_ok=True)
    case.world.paths.hold.touch()
    with case.worker() as worker:
        assert look(worker) == 60
        assert "policy.hold" in case.told()
        case.world.paths.hold.unlink()
        look(worker)
    assert case.world.version() == "new"


def test_service_has_a_hold_file_of_its_own(case: Case) -> None:
    busy = case.world.root / "busy"
    case.policy(f'hold_file = "{busy}"')
    busy.touch()
    assert case.plan(case.put()).decision.code == "policy.hold"
    busy.unlink()
    assert case.plan(case.put()).decision.code == ""


@pytest.mark.parametrize("line", ['mode = "monitor"', "pinned = true"])
def test_service_that_must_not_be_updated_has_its_packages_told_and_passed_over(
    case: Case, line: str
) -> None:
    case.policy(line)
    path = case.put()
    with case.worker() as worker:
        look(worker)
    code = "policy.monitor" if "monitor" in line else "policy.pinned"
    assert (case.world.version(), path.exists()) == ("old", False)
    assert code in case.told()
    with case.device() as device:
        assert [(one.outcome, one.code) for one in device.history.newest()] == [(Outcome.SKIPPED, code)]


def test_somebody_who_types_the_command_waits_for_no_window_but_for_the_hold_file(case: Case) -> None:
    case.policy(f'soak = "24h"\n{WINDOW}')
    case.world.paths.hold.parent.mkdir(parents=True, exist_ok=True)
    case.world.paths.hold.touch()
    path = case.put()
    with case.device() as device:
        verdict = Updater(device).handle(Request(path, Origin.COMMAND))
        assert verdict is not None
        assert (verdict.outcome, verdict.code) == (Outcome.POSTPONED, "policy.hold")
        case.world.paths.hold.unlink()
        Updater(device).handle(Request(path, Origin.COMMAND))
    assert case.world.version() == "new"


def test_command_is_refused_for_a_pinned_service(case: Case) -> None:
    case.policy("pinned = true")
    with case.device() as device:
        verdict = Updater(device).handle(Request(case.put(), Origin.COMMAND))
    assert verdict is not None
    assert (verdict.outcome, verdict.code) == (Outcome.REFUSED, "policy.pinned")


def test_way_back_by_hand_is_never_barred(case: Case) -> None:
    case.world.update(case.put())
    case.policy(f"pinned = true\n{WINDOW}")
    with case.device() as device:
        assert go_back(device, "frontend").outcome is Outcome.SUCCEEDED
    assert case.world.version() == "old"


def test_time_that_a_container_gets_to_stop_is_its_policy_s(case: Case) -> None:
    case.policy("stop_timeout_secs = 77")
    case.world.update(case.put())
    assert any(call.startswith("stop") and "77" in call for call in case.world.docker.calls)


# several services


def test_bundle_waits_when_one_of_its_services_has_to(tmp_path: Path) -> None:
    world = BundleWorld.of(tmp_path)
    case = Case(world)
    case.policy(WINDOW, catalog=world.paths.services.read_text())
    path = case.put(bundle())
    with case.worker() as worker:
        look(worker)
        assert (set(world.releases().values()), path.exists()) == ({"old"}, True)
        case.now = NOON + timedelta(hours=14)
        look(worker)
    assert set(world.releases().values()) == {"new"}


def test_bundle_is_passed_over_when_one_of_its_services_is_pinned(tmp_path: Path) -> None:
    world = BundleWorld.of(tmp_path)
    case = Case(world)
    case.policy("pinned = true", catalog=world.paths.services.read_text())
    case.put(bundle())
    with case.worker() as worker:
        look(worker)
    assert set(world.releases().values()) == {"old"}
    assert "policy.pinned" in case.told()


# approving


def test_approved_package_is_applied_before_its_time_and_the_next_one_waits(case: Case) -> None:
    case.policy(f'soak = "24h"\n{WINDOW}')
    path = case.put()
    with case.worker() as worker:
        look(worker)
        with case.device() as device:
            (release,) = approve_package(device, path)
            with device.database.read() as connection:
                kinds = [row[0] for row in connection.execute("SELECT kind FROM audit ORDER BY seq")]
        assert (release.version, kinds[-1]) == ("1.2.3", AuditKind.RELEASE_APPROVED)
        look(worker)
        assert case.world.version() == "new"
        with case.device() as device:
            assert not device.sightings.is_approved(release)
        case.put(package(version="1.3.0", reference="example/frontend:1.3.0"))
        case.told()
        look(worker)
    assert "policy.soak" in case.told()


def test_only_what_may_be_applied_can_be_approved(case: Case) -> None:
    path = case.put()
    case.policy("pinned = true")
    with case.device() as device, pytest.raises(Refusal) as refused:
        approve_package(device, path)
    assert refused.value.code == "policy.pinned"
    case.policy("")
    case.world.update(path)
    with case.device() as device, pytest.raises(PassedOver):
        approve_package(device, path)


# what would be done


def test_plan_says_what_the_daemon_then_does(case: Case) -> None:
    case.policy(WINDOW)
    path = case.put()
    planned = case.plan(path)
    with case.worker() as worker:
        look(worker)
    (told,) = [event.text for event in case.world.events if event.code == "policy.window"]
    assert planned.decision.reason in told
    assert [(release.service, release.version) for release, _ in planned.parts] == [("frontend", "1.2.3")]


def test_plan_changes_nothing(case: Case) -> None:
    case.policy('soak = "24h"')
    path = case.put()
    case.plan(path)
    writes = case.world.writes
    assert (case.plan(path).decision.code, case.world.writes) == ("policy.soak", writes)
    assert case.told() == []


def test_plan_names_what_speaks_against_a_package(case: Case) -> None:
    assert case.plan(case.put(b"no package")).decision.code == "archive.truncated"
    path = case.put()
    case.world.docker.containers[case.world.old]["State"]["Paused"] = True
    assert case.plan(path).decision.code == "service.paused"
    case.world.docker.is_down = True
    assert case.plan(path).decision.code == "docker.unavailable"


def test_of_two_packages_for_a_service_the_plan_applies_the_newer_one(case: Case) -> None:
    case.put(package(version="1.2.3"), "old.edgepkg")
    case.put(package(version="1.3.0"), "new.edgepkg")
    scanner = Scanner(is_whole=is_whole_file, clock=lambda: next(case._ticks), incomplete_s=30)
    inbox = Place(case.inbox, Origin.INBOX, read_only=False)
    scanner.scan(inbox)
    with case.device() as device:
        planned = plan_all(device, scanner.scan(inbox).complete)
    assert [(one.path.name, one.decision.act, one.decision.code) for one in planned] == [
        ("new.edgepkg", "apply", ""),
        ("old.edgepkg", "skip", "package.superseded"),
    ]
