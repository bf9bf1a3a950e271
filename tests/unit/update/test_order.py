"""Which of many packages get a turn, and which first."""

from collections.abc import Iterable
from pathlib import Path

import pytest
from semver import Version

from caissond.errors import Stopping
from caissond.intake.scan import Found, Origin, Place, Signature
from caissond.update.order import MOST_OTHERS, MOST_TURNS, Peeked, Turns, peek_all, plan_turns
from tests.flow.device import World, package

STICK = Place(Path("/run/caisson/media/sdb1"), Origin.MEDIA, read_only=True)
SECOND = Place(Path("/run/caisson/media/sdc1"), Origin.MEDIA, read_only=True)
INBOX = Place(Path("/var/lib/caisson/inbox"), Origin.INBOX, read_only=False)


def peeked(name: str, version: str | None = None, *, place: Place = STICK, others: bool = False) -> Peeked:
    file = Found(place.path / name, place, Signature(1, 1, 1, 1, 1))
    if version is None:
        return Peeked(file)
    return Peeked(file, ("frontend",), Version.parse(version), is_for_others=others)


def names(files: Iterable[Found]) -> list[str]:
    return [file.path.name for file in files]


def order(turns: Turns) -> list[str]:
    return names(turn.file for turn in turns.turns)


def test_newest_comes_first_and_what_cannot_be_read_comes_late() -> None:
    turns = plan_turns([peeked("bad"), peeked("old", "1.9.0"), peeked("new", "1.10.0")])
    assert order(turns) == ["new", "old", "bad"]


def test_packages_for_other_devices_wait_for_ours_however_new_they_are() -> None:
    turns = plan_turns([peeked("other", "9.0.0", others=True), peeked("bad"), peeked("ours", "1.0.0")])
    assert order(turns) == ["ours", "bad", "other"]


def test_newest_of_all_media_counts_and_other_devices_and_the_inbox_do_not() -> None:
    turns = plan_turns(
        [
            peeked("other", "9.0.0", others=True),
            peeked("dropped", "3.0.0", place=INBOX),
            peeked("second", "2.0.0", place=SECOND),
            peeked("first", "1.0.0"),
        ]
    )
    newest = {turn.file.path.name: dict(turn.newest_here) for turn in turns.turns}
    assert newest["first"] == newest["second"] == {"frontend": "2.0.0"}
    assert newest["dropped"] == {"frontend": "3.0.0"}


def test_of_too_many_packages_the_newest_of_each_stick_get_a_turn() -> None:
    many = [peeked(f"{number}", f"1.{number}.0") for number in range(MOST_TURNS + 2)]
    turns = plan_turns([*many, peeked("alone", "0.1.0", place=SECOND)])
    assert len(turns.turns) == MOST_TURNS + 1
    assert names(turns.too_many) == ["1", "0"]


def test_everything_in_the_inbox_gets_a_turn() -> None:
    many = [peeked(f"{number}", "1.0.0", place=INBOX) for number in range(MOST_TURNS + 2)]
    assert len(plan_turns(many).turns) == MOST_TURNS + 2


def test_only_some_packages_for_other_devices_are_told_one_by_one() -> None:
    many = [peeked(f"{number}", "1.0.0", others=True) for number in range(MOST_OTHERS + 3)]
    turns = plan_turns(many)
    assert (len(turns.turns), len(turns.for_others)) == (MOST_OTHERS, 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    content = package()
    (tmp_path / "ours.edgepkg").write_bytes(content)
    (tmp_path / "other.edgepkg").write_bytes(content.replace(b'"linux/amd64"', b'"linux/s390x"'))
    (tmp_path / "bad.edgepkg").write_bytes(b"rubbish")
    return tmp_path


def files_in(folder: Path) -> list[Found]:
    place = Place(folder, Origin.MEDIA, read_only=True)
    paths = (*sorted(folder.glob("*.edgepkg")), folder / "gone.edgepkg")
    return [Found(path, place, Signature(1, 1, 1, 1, 1)) for path in paths]


def test_peeking_tells_ours_from_others_and_stops_at_nothing(folder: Path, tmp_path: Path) -> None:
    with World.make(tmp_path / "device").device() as device:
        seen = {one.file.path.stem: one for one in peek_all(device, files_in(folder))}
    assert [name for name, one in seen.items() if one.is_for_others] == ["other"]
    assert [name for name, one in seen.items() if not one.services] == ["bad", "gone"]


def test_peeking_at_thousands_ends_when_asked_to_stop(folder: Path, tmp_path: Path) -> None:
    with World.make(tmp_path / "device").device() as device:
        device.stop.set()
        with pytest.raises(Stopping):
            peek_all(device, files_in(folder))
