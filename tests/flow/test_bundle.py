"""Several services in one package: all of them new, or all of them old, whatever comes in between."""

from pathlib import Path

import pytest

from caissond.model.records import Outcome, Verdict
from tests.flow.bundle import BundleWorld, broken_by, bundle
from tests.flow.device import dump, outcome
from tests.flow.faults import (
    Fault,
    Strike,
    Where,
    ask_to_stop,
    break_disk,
    cut_power,
    fill_disk,
    go_down,
    hang,
    kill,
    live_restore,
    prune,
    refuse,
)

GOOD, FIRST_BAD, LAST_BAD = bundle(), bundle(crashes="backend"), bundle(crashes="frontend")
ENDS = pytest.mark.parametrize(
    "content", [GOOD, FIRST_BAD, LAST_BAD], ids=["good", "first-crashes", "last-crashes"]
)


@ENDS
def test_all_services_of_a_bundle_are_new_or_all_are_old(folder: Path, content: bytes) -> None:
    world = BundleWorld.of(folder)
    verdict = world.update(world.write_package(content))
    assert outcome(verdict) is (Outcome.SUCCEEDED if content is GOOD else Outcome.ROLLED_BACK)
    assert set(world.releases().values()) == {"new" if content is GOOD else "old"}
    assert world.broken_promises() == []
    assert isinstance(verdict, Verdict)
    assert [part.service for part in verdict.parts] == ["frontend", "backend"]


def test_only_the_release_that_failed_goes_into_quarantine(folder: Path) -> None:
    world = BundleWorld.of(folder)
    world.update(world.write_package(LAST_BAD))
    with world.device() as device:
        assert [entry.service for entry in device.releases.all_quarantined()] == ["frontend"]
    assert outcome(world.update(world.write_package(LAST_BAD))) is Outcome.REFUSED


def test_nothing_is_stopped_before_all_images_are_in_and_what_comes_after_is_stopped_first(
    folder: Path,
) -> None:
    world = BundleWorld.of(folder)
    said: list[str] = []
    world.on_event = lambda event: said.append(f"{event.code} {event.text.split()[0].rstrip(':')}")
    world.update(world.write_package(GOOD))
    assert [line for line in said if line.startswith(("update.loading", "update.stopping", "update.checking"))] == [
        "update.loading backend", "update.loading frontend",
        "update.stopping_old frontend", "update.stopping_old backend",
        "update.checking backend", "update.checking frontend",
    ]  # fmt: skip


def test_service_that_has_the_release_is_left_alone(folder: Path) -> None:
    world = BundleWorld.of(folder)
    world.update(world.write_package(bundle(services=("backend",))))
    backend = world.docker.named()["backend"]["Id"]
    verdict = world.update(world.write_package(GOOD))
    assert isinstance(verdict, Verdict)
    assert [part.service for part in verdict.parts] == ["frontend"]
    assert (world.docker.named()["backend"]["Id"], world.broken_promises()) == (backend, [])


def test_bundle_that_all_have_changes_nothing(folder: Path) -> None:
    world = BundleWorld.of(folder)
    world.update(world.write_package(GOOD))
    before = dump(world)
    assert outcome(world.update(world.write_package(GOOD))) is Outcome.NOTHING_TO_DO
    assert dump(world) == before


def test_one_service_that_must_not_be_updated_keeps_the_others_from_it(folder: Path) -> None:
    world = BundleWorld.of(folder)
    world.update(world.write_package(bundle(services=("backend",), version="3.0.0")))
    before = dump(world)
    verdict = world.update(world.write_package(GOOD))
    assert isinstance(verdict, Verdict)
    assert (verdict.outcome, verdict.code) == (Outcome.REFUSED, "package.downgrade")
    assert dump(world) == before


def test_word_of_a_package_that_nobody_verified_does_not_split_a_bundle(folder: Path) -> None:
    """Something beside it claims a newer release of one service."""
    world = BundleWorld.of(folder)
    world.update(world.write_package(bundle(services=("backend",), version="3.0.0")))
    before = dump(world)
    verdict = world.update(world.write_package(GOOD), newest_here={"backend": "3.0.0"})
    assert isinstance(verdict, Verdict)
    assert (verdict.outcome, verdict.code) == (Outcome.SKIPPED, "package.superseded")
    assert dump(world) == before


@pytest.mark.parametrize(("optional", "end"), [("true", Outcome.SUCCEEDED), ("false", Outcome.REFUSED)])
def test_target_of_an_unknown_service_refuses_the_bundle_unless_it_is_optional(
    folder: Path, optional: str, end: Outcome
) -> None:
    world = BundleWorld.of(folder)
    content = bundle(services=("frontend", "backend", "stranger"), optional=optional)
    assert outcome(world.update(world.write_package(content))) is end


FAULTS: dict[str, tuple[Strike, tuple[Where, ...]]] = {
    "killed": (kill, tuple(Where)),
    "power cut": (cut_power, (Where.BEFORE_CALL, Where.AFTER_CALL, Where.AFTER_WRITE)),
    "the engine refuses": (refuse, (Where.BEFORE_CALL, Where.AFTER_CALL)),
    "a call hangs": (hang, (Where.BEFORE_CALL, Where.AFTER_CALL)),
    "the engine goes down": (go_down, (Where.BEFORE_CALL, Where.AFTER_CALL)),
    "live-restore": (live_restore, (Where.AFTER_CALL,)),
    "somebody prunes": (prune, (Where.AFTER_CALL,)),
    "asked to stop": (ask_to_stop, (Where.BEFORE_CALL, Where.AFTER_WRITE)),
    "no space for a write": (fill_disk, (Where.BEFORE_WRITE,)),
    "a write fails": (break_disk, (Where.BEFORE_WRITE,)),
}


@ENDS
@pytest.mark.parametrize(
    ("fault", "where"), [(fault, where) for fault, (_, places) in FAULTS.items() for where in places]
)
def test_bundle_is_never_half_new_after_a_fault_at_any_point(
    folder: Path, fault: str, where: Where, content: bytes
) -> None:
    strike, _ = FAULTS[fault]
    assert broken_by(Fault(strike, where), folder, content) == {}
