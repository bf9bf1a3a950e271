"""What is told of the places where packages may lie."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from caissond.intake.scan import Found, Origin, Place, Scanner
from caissond.update.device import Device
from caissond.update.faulty_sticks import FaultySticks
from caissond.update.order import MOST_TURNS, Turns
from caissond.update.places import Places
from tests.flow.device import World


class Desk:
    """A device with one stick in it."""

    def __init__(self, device: Device, world: World, stick: Place) -> None:
        self.world = world
        self.stick = stick
        self.media: tuple[Place, ...] = (stick,)
        scanner = Scanner(is_whole=lambda path: not path.name.startswith("short"), incomplete_s=30)
        no_others = FaultySticks(device.bus, sticks=lambda: ())
        self.places = Places(device, scanner, lambda: self.media, faulty=no_others)

    def look(self) -> list[str]:
        return [file.path.name for file in self.places.look()[0]]

    def told(self) -> list[str]:
        return [event.code for event in self.world.events]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    (tmp_path / "media/sdb1").mkdir(parents=True)
    stick = Place(tmp_path / "media/sdb1", Origin.MEDIA, read_only=True, sequence="7")
    world = World.make(tmp_path / "device")
    with world.device() as device:
        yield Desk(device, world, stick)


def put(desk: Desk, *names: str) -> None:
    for name in names:
        (desk.stick.path / name).write_bytes(b"package")


def test_packages_on_a_stick_are_found_and_the_stick_is_told(desk: Desk) -> None:
    put(desk, "a.edgepkg", "b.EDGEPKG", "._a.edgepkg")
    assert desk.look() == ["a.edgepkg", "b.EDGEPKG"]
    assert desk.told() == ["media.found"]


def test_stick_full_of_other_files_is_told_in_one_line(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caissond.intake.scan.MAX_ENTRIES", 10)
    desk.media = (replace(desk.stick, read_only=False),)  # so that it is looked at again
    put(desk, *(f"holiday{number}.jpg" for number in range(20)))
    desk.look()
    desk.look()
    assert desk.told().count("media.too_many_files") == 1


@pytest.mark.parametrize("read_only", [True, False])
def test_stick_without_packages_is_told_once(desk: Desk, *, read_only: bool) -> None:
    desk.media = (replace(desk.stick, read_only=read_only),)
    put(desk, "holiday.jpg")
    desk.look()
    desk.look()
    assert desk.told() == ["media.found", "media.empty"]


def test_stick_that_is_pulled_while_it_is_listed_is_not_called_empty(desk: Desk) -> None:
    """After a yank vfat lists nothing, without an error."""
    answers = [(desk.stick,), (), ()]
    desk.places = Places(
        desk.world.running_device,
        Scanner(is_whole=lambda _: True, incomplete_s=30),
        lambda: answers.pop(0),
        faulty=FaultySticks(desk.world.running_device.bus, sticks=lambda: ()),
    )
    desk.look()
    desk.look()
    assert desk.told() == ["media.found", "media.gone"]


def test_stick_in_the_place_of_another_is_a_new_one(desk: Desk) -> None:
    """Nobody looked in between: an update took its time."""
    desk.look()
    desk.media = (replace(desk.stick, sequence="8"),)
    desk.look()
    assert desk.told() == ["media.found", "media.empty", "media.gone", "media.found", "media.empty"]


def test_short_file_is_told_with_its_stick(desk: Desk) -> None:
    put(desk, "short.edgepkg")
    desk.look()
    desk.look()
    assert desk.told() == ["media.found", "media.incomplete"]


def test_stick_that_cannot_be_read_is_told_once(desk: Desk) -> None:
    desk.media = (replace(desk.stick, path=desk.stick.path / "gone"),)
    desk.look()
    desk.look()
    assert desk.told() == ["media.found", "media.unreadable"]


def found(desk: Desk, number: int) -> Found:
    put(desk, f"{number}.edgepkg")
    path = desk.stick.path / f"{number}.edgepkg"
    scan = Scanner(is_whole=lambda _: True, incomplete_s=30).scan(desk.stick)
    return next(file for file in scan.complete if file.path == path)


def test_packages_that_get_no_turn_are_told_in_one_line_and_not_found_again(desk: Desk) -> None:
    files = [found(desk, number) for number in range(5)]
    desk.look()
    desk.places.pass_over(Turns((), for_others=tuple(files[:2]), too_many=tuple(files[2:])))
    assert [event.text for event in desk.world.events[1:]] == [
        "sdb1: 2 more packages are for other devices",
        f"sdb1: the newest {MOST_TURNS} packages get a turn, 3 do not",
    ]
    assert desk.look() == []
