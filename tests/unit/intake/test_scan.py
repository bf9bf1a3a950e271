"""What is complete, what is waited for, and what is passed over, in folders with everything that may lie in one."""

import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caissond.errors import SourceGone
from caissond.intake import scan as scan_module
from caissond.intake.scan import Found, Listing, Origin, Place, Scan, Scanner, Signature

WHOLE = b"package END"
SHORT = b"pack"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Desk:
    """A scanner with its clock, and a place to look at."""

    def __init__(self, folder: Path, origin: Origin, *, read_only: bool) -> None:
        self.folder = folder
        self.place = Place(folder, origin, read_only)
        self.clock = Clock()
        self.asked: list[str] = []
        self.scanner = Scanner(is_whole=self._is_whole, clock=self.clock, incomplete_s=30)

    def _is_whole(self, path: Path) -> bool:
        self.asked.append(path.name)
        if path.name.startswith("gone"):
            raise SourceGone("cannot read the source any more: Input/output error", code="media.gone")
        return path.read_bytes().endswith(b"END")

    def put(self, name: str, content: bytes = WHOLE) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def scan(self, after_s: float = 1.0) -> Scan:
        self.clock.now += after_s
        return self.scanner.scan(self.place)

    def settled(self) -> Scan:
        """The second of two scans."""
        self.scan()
        return self.scan()


@pytest.fixture
def inbox(tmp_path: Path) -> Desk:
    return Desk(tmp_path, Origin.INBOX, read_only=False)


@pytest.fixture
def stick(tmp_path: Path) -> Desk:
    return Desk(tmp_path, Origin.MEDIA, read_only=True)


def names(found: tuple[Found, ...]) -> list[str]:
    return [str(file.path.relative_to(file.place.path)) for file in found]


def test_whole_file_is_complete_at_the_second_look(inbox: Desk) -> None:
    inbox.put("a.edgepkg")
    first, second = inbox.scan(), inbox.scan()
    assert (first.complete, first.pending) == ((), True)
    assert (names(second.complete), second.pending) == (["a.edgepkg"], False)


def test_second_look_in_the_same_burst_of_hints_does_not_count(inbox: Desk) -> None:
    inbox.put("a.edgepkg")
    inbox.scan()
    assert inbox.scan(after_s=0.01).pending
    assert inbox.scan().complete


def test_growing_file_is_not_read_at_all(inbox: Desk) -> None:
    for size in range(1, 6):
        inbox.put("a.edgepkg", SHORT * size)
        assert inbox.scan().pending
    assert inbox.asked == []


def test_file_overwritten_in_place_is_new_again(inbox: Desk) -> None:
    path = inbox.put("a.edgepkg")
    inbox.settled()
    os.utime(path, (1, 1))
    assert inbox.scan().pending
    assert inbox.scan().complete


def test_file_overwritten_with_its_old_size_and_time_is_new_again(inbox: Desk) -> None:
    """As cp -p and rsync -t do it."""
    path = inbox.put("a.edgepkg")
    inbox.settled()
    before = path.stat()
    time.sleep(0.02)  # the kernel's clock for files ticks every few milliseconds
    inbox.put("a.edgepkg", b"PACKAGE END")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert inbox.scan().pending


def test_short_file_is_waited_for_then_told_once(inbox: Desk) -> None:
    inbox.put("a.edgepkg", SHORT)
    assert inbox.settled().pending
    late = inbox.scan(after_s=30)
    assert (names(late.incomplete), late.pending) == (["a.edgepkg"], False)
    assert inbox.scan(after_s=30) == Scan((), False, (), None, False)


def test_short_file_that_grows_at_last_is_complete(inbox: Desk) -> None:
    inbox.put("a.edgepkg", SHORT)
    inbox.settled()
    assert inbox.scan(after_s=60).incomplete
    inbox.put("a.edgepkg")
    assert names(inbox.settled().complete) == ["a.edgepkg"]


def test_copy_that_stalls_twice_is_told_once(inbox: Desk) -> None:
    told = []
    for size in (1, 2):
        inbox.put("a.edgepkg", SHORT * size)
        told += [*inbox.settled().incomplete, *inbox.scan(after_s=60).incomplete]
    assert len(told) == 1


def test_short_file_where_nobody_can_write_is_told_at_once(stick: Desk) -> None:
    stick.put("a.edgepkg", SHORT)
    scan = stick.scan()
    assert (names(scan.incomplete), scan.pending) == (["a.edgepkg"], False)


def test_one_look_is_enough_where_nobody_can_write(stick: Desk) -> None:
    stick.put("a.edgepkg")
    assert names(stick.scan().complete) == ["a.edgepkg"]


def test_complete_file_is_returned_until_it_is_settled(inbox: Desk) -> None:
    inbox.put("a.edgepkg")
    (found,) = inbox.settled().complete
    assert inbox.scan().complete == (found,)
    inbox.scanner.settle(found)
    assert inbox.scan().complete == ()


def test_complete_file_is_read_once(inbox: Desk) -> None:
    inbox.put("a.edgepkg")
    for _ in range(5):
        inbox.scan()
    assert inbox.asked == ["a.edgepkg"]


def test_another_file_under_a_settled_name_gets_its_turn(inbox: Desk) -> None:
    inbox.put("a.edgepkg")
    (found,) = inbox.settled().complete
    inbox.scanner.settle(found)
    inbox.put("b").rename(inbox.folder / "a.edgepkg")
    assert inbox.settled().complete


def test_package_that_went_away_and_came_back_unchanged_gets_its_turn(stick: Desk) -> None:
    stick.put("folder/a.edgepkg")
    (found,) = stick.scan().complete
    stick.scanner.settle(found)
    (stick.folder / "folder").rename(stick.folder / ".hidden")
    stick.scan()
    (stick.folder / ".hidden").rename(stick.folder / "folder")
    assert stick.scan().complete == (found,)


def test_medium_that_comes_back_is_new(stick: Desk) -> None:
    stick.put("a.edgepkg")
    (found,) = stick.scan().complete
    stick.scanner.settle(found)
    stick.scanner.forget(stick.place)
    assert stick.scan().complete == (found,)


def test_unreadable_listing_does_not_make_settled_packages_new(inbox: Desk) -> None:
    inbox.put("a.edgepkg")
    (found,) = inbox.settled().complete
    inbox.scanner.settle(found)
    away = inbox.folder.rename(inbox.folder.with_name("away"))
    assert inbox.scan().problem == "No such file or directory"
    away.rename(inbox.folder)
    assert inbox.settled().complete == ()


def test_result_is_sorted_by_path(stick: Desk) -> None:
    for name in ("b.edgepkg", "a.edgepkg", "a/z.edgepkg", "C.edgepkg"):
        stick.put(name)
    assert names(stick.scan().complete) == ["C.edgepkg", "a.edgepkg", "a/z.edgepkg", "b.edgepkg"]


def test_name_in_capitals_is_a_package_too(stick: Desk) -> None:
    """Some systems write all of a name in capitals on vfat."""
    stick.put("FRONTEND.EDGEPKG")
    assert names(stick.scan().complete) == ["FRONTEND.EDGEPKG"]


@pytest.mark.parametrize(
    "name", ["a.edgepkg.part", ".a.edgepkg", ".edgepkg", "._a.edgepkg", "edgepkg", "a.edgepkg~"]
)
def test_other_names_are_passed_over(inbox: Desk, name: str) -> None:
    inbox.put(name)
    assert inbox.scan() == Scan((), False, (), None, False)


ODD_NAMES = st.binary(min_size=1, max_size=200).filter(
    lambda name: not set(name) & {0, ord("/")} and name[0] != 46
)


@given(stem=ODD_NAMES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_name_that_a_filesystem_can_hold_is_found(tmp_path: Path, stem: bytes) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + stem + b".edgepkg"))
    path.write_bytes(WHOLE)
    scanner = Scanner(is_whole=lambda _: True, incomplete_s=30)
    (found,) = scanner.scan(Place(tmp_path, Origin.MEDIA, read_only=True)).complete
    path.unlink()
    assert found.path == path


def test_link_fifo_socket_and_folder_are_handed_on_unopened(inbox: Desk) -> None:
    (inbox.folder / "link.edgepkg").symlink_to("/etc/passwd")
    (inbox.folder / "dangling.edgepkg").symlink_to("nowhere")
    os.mkfifo(inbox.folder / "fifo.edgepkg")
    (inbox.folder / "folder.edgepkg").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(inbox.folder / "s.edgepkg"))
    scan = inbox.scan()
    assert len(scan.complete) == 5
    assert not scan.pending
    assert inbox.asked == []


def test_signature_of_a_link_is_its_own(inbox: Desk) -> None:
    link = inbox.folder / "a.edgepkg"
    link.symlink_to(inbox.put("target"))
    (found,) = inbox.scan().complete
    assert found.signature == Signature.of(link.lstat()) != Signature.of(link.stat())


def test_inbox_is_its_top_level_only(inbox: Desk) -> None:
    inbox.put("folder/a.edgepkg")
    assert inbox.scan() == Scan((), False, (), None, False)


def test_medium_is_searched_three_folders_deep(stick: Desk) -> None:
    for folder in ("", "1/", "1/2/", "1/2/3/", "1/2/3/4/"):
        stick.put(f"{folder}a.edgepkg")
    assert names(stick.scan().complete) == [
        "1/2/3/a.edgepkg",
        "1/2/a.edgepkg",
        "1/a.edgepkg",
        "a.edgepkg",
    ]


@pytest.mark.parametrize(
    "folder", [".Trash-1000", "$RECYCLE.BIN", "System Volume Information", "lost+found", "caisson-receipts"]
)
def test_bins_and_hidden_folders_are_not_entered(stick: Desk, folder: str) -> None:
    stick.put(f"{folder}/a.edgepkg")
    assert stick.scan().complete == ()


def test_folder_behind_a_link_is_not_entered(stick: Desk, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "a.edgepkg").write_bytes(WHOLE)
    (stick.folder / "link").symlink_to(elsewhere)
    assert stick.scan().complete == ()


def test_full_medium_is_cut_short_and_its_top_level_comes_first(
    stick: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_module, "MAX_ENTRIES", 20)
    stick.put("a.edgepkg")
    for number in range(50):
        stick.put(f"photos/{number}.jpg")
    scan = stick.scan()
    assert names(scan.complete) == ["a.edgepkg"]
    assert scan.truncated_listing


def test_deep_folders_of_a_full_medium_do_not_hide_its_shallow_ones(
    stick: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_module, "MAX_ENTRIES", 16)
    for number in range(4):
        stick.put(f"flat{number}/a.edgepkg")
        for photo in range(20):
            stick.put(f"deep{number}/more/{photo}.jpg")
    assert len(stick.scan().complete) == 4


def test_other_files_do_not_hide_a_package_in_the_inbox(inbox: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_module, "MAX_ENTRIES", 20)
    for number in range(50):
        inbox.put(f"{number}.txt")
    inbox.put("a.edgepkg")
    scan = inbox.settled()
    assert (names(scan.complete), scan.truncated_listing) == (["a.edgepkg"], False)


def test_place_that_is_gone_is_a_problem_and_no_exception(stick: Desk) -> None:
    stick.folder.rmdir()
    assert stick.scan().problem == "No such file or directory"


def test_place_that_is_no_folder_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    desk = Desk(tmp_path / "file", Origin.MEDIA, read_only=True)
    assert desk.scan().problem == "Not a directory"


def test_package_on_a_failing_medium_does_not_hide_the_others(stick: Desk) -> None:
    stick.put("gone.edgepkg")
    stick.put("ok.edgepkg")
    scan = stick.scan()
    assert names(scan.complete) == ["ok.edgepkg"]
    assert scan.problem == "cannot read the source any more: Input/output error"
    assert not scan.pending


@contextmanager
def deep_folder(top: Path) -> Iterator[Path]:
    """A folder whose path leaves room for short names only: longer ones answer ENAMETOOLONG."""
    path = top
    while len(str(path)) < 3900:
        path /= "x" * min(200, 3950 - len(str(path)))
    path.mkdir(parents=True)
    descriptor = os.open(path, os.O_DIRECTORY)
    before = os.open(".", os.O_DIRECTORY)
    os.fchdir(descriptor)
    try:
        yield path
    finally:
        os.fchdir(before)
        os.close(before)
        os.close(descriptor)


def test_entries_that_cannot_be_looked_at_do_not_hide_the_others(tmp_path: Path) -> None:
    with deep_folder(tmp_path) as folder:
        Path("ok.edgepkg").write_bytes(WHOLE)
        Path("x" * 200 + ".edgepkg").write_bytes(WHOLE)
        Path("y" * 200).mkdir()
        scan = Desk(folder, Origin.MEDIA, read_only=True).scan()
    assert names(scan.complete) == ["ok.edgepkg"]
    assert scan.problem == "File name too long"


def test_what_vanishes_while_it_is_listed_is_no_problem(stick: Desk) -> None:
    for number in range(3):
        stick.put(f"{number}.edgepkg")
        (stick.folder / f"folder{number}").mkdir()
    listing = Listing(stick.place)
    files = listing.files()
    assert next(files)
    for path in stick.folder.iterdir():
        path.rmdir() if path.is_dir() else path.unlink()
    assert list(files) == []
    assert listing.problem is None


def test_folder_that_vanishes_before_it_is_entered_is_no_problem(stick: Desk) -> None:
    for folder in ("one", "two"):
        stick.put(f"{folder}/a.edgepkg")
    listing = Listing(stick.place)
    files = listing.files()
    assert next(files)
    for folder in ("one", "two"):
        shutil.rmtree(stick.folder / folder)
    assert list(files) == []
    assert listing.problem is None


# A stick that stays in costs nothing


def test_stick_on_which_everything_had_its_turn_needs_no_more_looking(stick: Desk) -> None:
    stick.put("a.edgepkg")
    stick.put("b.edgepkg", SHORT)
    assert not stick.scanner.is_finished(stick.place)
    (found,) = stick.scan().complete
    assert not stick.scanner.is_finished(stick.place)
    stick.scanner.settle(found)
    assert stick.scanner.is_finished(stick.place)


def test_place_that_can_be_written_to_is_looked_at_again(inbox: Desk) -> None:
    assert inbox.settled().complete == ()
    assert not inbox.scanner.is_finished(inbox.place)


def test_stick_that_could_not_be_read_is_looked_at_again(stick: Desk) -> None:
    stick.folder.rmdir()
    assert stick.scan().problem
    assert not stick.scanner.is_finished(stick.place)


def test_stick_that_was_pulled_out_is_looked_at_when_it_comes_back(stick: Desk) -> None:
    stick.scan()
    assert stick.scanner.is_finished(stick.place)
    stick.scanner.forget(stick.place)
    assert not stick.scanner.is_finished(stick.place)


def test_each_folder_is_a_sign_of_life(stick: Desk) -> None:
    """A slow stick with thousands of folders takes its time."""
    signs: list[str] = []
    for number in range(3):
        stick.put(f"photos/{number}/x.jpg")
    scanner = Scanner(is_whole=lambda _: True, on_folder=lambda: signs.append("alive"), incomplete_s=30)
    scanner.scan(stick.place)
    assert len(signs) == 5
