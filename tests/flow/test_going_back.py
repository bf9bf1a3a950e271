"""`caisson rollback` on a whole Caisson: by the same steps and gate, and what comes in afterwards."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from caissond.errors import CaissonError, HostUnavailable
from caissond.model.records import Outcome, Verdict
from caissond.update.going_back import go_back
from caissond.update.recovery import settle
from tests.flow.device import CATALOG, OLD_REFERENCE, World, outcome, package
from tests.flow.faults import Fault, Killed, Where, cut_power, go_down, kill, lift, refuse


@pytest.fixture
def folder() -> Iterator[Path]:
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


@pytest.fixture
def world(folder: Path) -> World:
    """The service runs 1.2.3, the release before is known by its image only."""
    return updated(folder)


def updated(folder: Path) -> World:
    world = World.make(folder)
    assert bring(world, "1.2.3") is Outcome.SUCCEEDED
    return world


def bring(world: World, version: str) -> Outcome | str:
    reference = f"example/frontend:{version}"
    result = world.update(world.write_package(package(version=version, reference=reference)))
    return outcome(result) if outcome(result) is not Outcome.REFUSED else code_of(result)


def code_of(result: Verdict | CaissonError) -> str:
    return result.code


def roll_back(world: World) -> Verdict | CaissonError:
    with world.device() as device:
        try:
            settle(device)
            return go_back(device, "frontend")
        except CaissonError as exc:
            return exc


def test_first_release_comes_back_without_a_package(world: World) -> None:
    result = roll_back(world)
    assert outcome(result) is Outcome.SUCCEEDED
    assert world.docker.named()["frontend"]["Image"] == world.old_image
    assert world.running() == ["frontend"]
    assert world.docker.tagged[OLD_REFERENCE] == world.old_image
    assert world.events[-1].code == "update.went_back"


def test_release_that_was_left_by_hand_stays_away_until_a_newer_one_comes(world: World) -> None:
    roll_back(world)
    assert [bring(world, version) for version in ("1.2.3", "1.2.2", "1.2.4", "1.2.3")] == [
        "release.held",
        "release.held",
        Outcome.SUCCEEDED,
        "package.downgrade",
    ]


def test_hold_can_be_lifted(world: World) -> None:
    roll_back(world)
    with world.device() as device:
        device.releases.lift_hold("frontend")
    assert bring(world, "1.2.3") is Outcome.SUCCEEDED


def test_going_back_twice_is_where_one_was(world: World) -> None:
    assert bring(world, "1.3.0") is Outcome.SUCCEEDED
    for version in ("1.2.3", "1.3.0"):
        assert outcome(roll_back(world)) is Outcome.SUCCEEDED
        with world.device() as device:
            installed = device.releases.installed("frontend")
        assert installed is not None
        assert installed.release.version == version


def test_earlier_release_that_is_sick_by_now_is_not_kept(world: World) -> None:
    world.docker.images[world.old_image]["Config"]["Cmd"] = ["crashes"]
    assert outcome(roll_back(world)) is Outcome.ROLLED_BACK
    assert world.version() == "new"
    assert bring(world, "1.2.4") is Outcome.SUCCEEDED


def test_nothing_to_go_back_to_is_said(folder: Path) -> None:
    assert code_of(roll_back(World.make(folder))) == "rollback.nothing_before"


def test_image_that_is_gone_is_said(world: World) -> None:
    for tag in [tag for tag, image in world.docker.tagged.items() if image == world.old_image]:
        world.docker.untag(tag)
    assert code_of(roll_back(world)) == "rollback.image_gone"
    assert world.version() == "new"


def test_nobody_goes_back_before_what_was_cut_off_is_settled(world: World) -> None:
    def kill_at_create(_number: int, what: str) -> None:
        if what.startswith("create"):
            raise Killed

    world.docker.before = kill_at_create
    with pytest.raises(Killed):
        bring(world, "1.3.0")
    lift(world)
    with world.device() as device, pytest.raises(HostUnavailable) as caught:
        go_back(device, "frontend")
    assert caught.value.code == "service.unsettled"


def test_image_that_somebody_put_there_by_hand_is_not_passed_off_as_a_release(world: World) -> None:
    by_hand = world.docker.add_image("by/hand:1")
    world.docker.named()["frontend"]["Image"] = by_hand
    world.docker.named()["frontend"]["Config"]["Image"] = "by/hand:1"
    assert bring(world, "1.3.0") is Outcome.SUCCEEDED
    tagged = world.docker.tagged["example/frontend:1.2.3"]
    assert outcome(roll_back(world)) is Outcome.SUCCEEDED
    assert world.docker.named()["frontend"]["Image"] == by_hand
    assert world.docker.tagged["example/frontend:1.2.3"] == tagged != by_hand


def test_tag_that_is_another_service_s_by_now_is_left_alone(world: World) -> None:
    other = CATALOG.replace('"frontend"', '"other"').replace("catalog_version = 1\n", "")
    world.paths.services.write_text(CATALOG + other)
    result = roll_back(world)
    assert (code_of(result), world.version()) == ("package.reference_taken", "new")


@pytest.mark.parametrize(
    "fault",
    [
        Fault(kill, Where.AFTER_CALL),
        Fault(kill, Where.AFTER_WRITE),
        Fault(cut_power, Where.AFTER_CALL),
        Fault(go_down),
        Fault(refuse, Where.AFTER_CALL),
    ],
    ids=["kill at a call", "kill at a write", "power cut", "engine gone", "refused"],
)
def test_service_is_whole_after_a_fault_at_any_point_of_going_back(folder: Path, fault: Fault) -> None:
    for point in range(1, 200):
        world = updated(folder / str(point))
        start = world.writes if "write" in fault.where else len(world.docker.calls)
        armed = fault.arm(world, frozenset({start + point}))
        with suppress(Killed):
            roll_back(world)
        if not armed.struck:
            assert point > 10
            return
        lift(world)
        world.settle()
        assert world.running() == ["frontend"], armed.struck
        assert list(world.docker.named()) == ["frontend"], armed.struck
        with world.device() as device:
            assert not device.journal.unfinished()
