"""Writing to a medium that somebody else made: nothing outside of our folder, and nothing there that is not ours."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from caissond.report.stick_files import KEEP_PAIRS, host_folder, is_ours, read_ours, write_files

STEM = "20260131T235959Z-0a1b2c3d-frontend-1.2.3"
FILES = {f"{STEM}.txt": b"for people\n", f"{STEM}.json": b"{}\n"}


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    (tmp_path / "stick").mkdir()
    (tmp_path / "outside").mkdir()
    return tmp_path / "stick"


@pytest.fixture
def root(stick: Path) -> Iterator[int]:
    descriptor = os.open(stick, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def refusal(root: int, files: dict[str, bytes] = FILES) -> int:
    with pytest.raises(OSError, match=r"\[Errno") as caught:
        write_files(root, "pump7", files)
    return caught.value.errno or 0


def test_receipts_are_whole_and_anybody_may_read_them(stick: Path, root: int) -> None:
    write_files(root, "pump7", FILES)
    folder = stick / "caisson-receipts/pump7"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    assert stat.S_IMODE((folder / f"{STEM}.txt").stat().st_mode) & 0o444 == 0o444


def test_receipts_are_on_the_medium_before_their_names_are(
    stick: Path, root: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(Path(f"/proc/self/fd/{number}").readlink()))
    write_files(root, "pump7", FILES)
    folder = stick / "caisson-receipts/pump7"
    assert synced == [*(folder / f"{name}.new" for name in FILES), folder, folder.parent, stick]


@pytest.mark.parametrize("where", ["caisson-receipts", "caisson-receipts/pump7"])
def test_link_in_place_of_a_folder_leads_nowhere(stick: Path, root: int, where: str) -> None:
    (stick / where).parent.mkdir(exist_ok=True)
    (stick / where).symlink_to(stick.parent / "outside")
    assert refusal(root) in (errno.ENOTDIR, errno.ELOOP)
    assert list((stick.parent / "outside").rglob("*")) == []


def test_file_in_place_of_the_folder_stays_as_it_is(stick: Path, root: int) -> None:
    (stick / "caisson-receipts").write_text("mine")
    assert refusal(root) == errno.ENOTDIR
    assert (stick / "caisson-receipts").read_text() == "mine"


@pytest.mark.parametrize("suffix", ["", ".new"])
def test_link_or_fifo_with_a_receipts_name_is_replaced_and_not_opened(
    stick: Path, root: int, suffix: str
) -> None:
    folder, secret = stick / "caisson-receipts/pump7", stick.parent / "outside/shadow"
    folder.mkdir(parents=True)
    secret.write_text("secret")
    (folder / f"{STEM}.txt{suffix}").symlink_to(secret)
    os.mkfifo(folder / f"{STEM}.json{suffix}")
    write_files(root, "pump7", FILES)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    assert secret.read_text() == "secret"


def test_folder_with_a_receipts_name_is_in_the_way_and_stays(stick: Path, root: int) -> None:
    (stick / f"caisson-receipts/pump7/{STEM}.json").mkdir(parents=True)
    assert refusal(root) == errno.EISDIR
    assert not list(stick.rglob("*.new"))


def test_oldest_receipts_go_and_other_files_stay(stick: Path, root: int) -> None:
    folder = stick / "caisson-receipts/pump7"
    folder.mkdir(parents=True)
    others = ("holiday.jpg", f"{STEM}.txt.bak", "inventory.json", "notes.txt")
    for name in others:
        (folder / name).touch()
    for number in range(KEEP_PAIRS + 3):
        write_files(
            root, "pump7", {f"19700101T000000Z-{number:08x}-a.{kind}": b"" for kind in ("txt", "json")}
        )
    left = {path.name for path in folder.iterdir()}
    numbers = sorted(int(name.split("-")[1], 16) for name in left - set(others))
    assert left >= set(others)
    assert numbers == sorted(2 * list(range(3, KEEP_PAIRS + 3)))


def test_what_a_pulled_out_stick_was_left_with_is_removed(stick: Path, root: int) -> None:
    folder = stick / "caisson-receipts/pump7"
    folder.mkdir(parents=True)
    (folder / "20250101T000000Z-00000000-old.txt.new").write_text("hal")
    write_files(root, "pump7", FILES)
    assert {path.name for path in folder.iterdir()} == set(FILES)


def test_inventory_is_replaced(stick: Path, root: int) -> None:
    for content in (b"old", b"new"):
        write_files(root, "pump7", {"inventory.json": content})
    assert (stick / "caisson-receipts/pump7/inventory.json").read_bytes() == b"new"


@pytest.mark.parametrize(
    ("host", "folder"),
    [
        ("pump-7.plant", "pump-7.plant"),
        ("Pumpe 7: *", "Pumpe-7"),
        ("../../etc", "etc"),
        ("a/b", "a-b"),
        ("..", "device"),
        ("", "device"),
        ("x" * 300, "x" * 63),
        ("pümp", "p-mp"),
    ],
)
def test_name_of_the_host_is_made_a_folder_of_any_filesystem(host: str, folder: str) -> None:
    assert host_folder(host) == folder


@pytest.mark.parametrize(
    "name", [f"../{STEM}.txt", f"{STEM}.txt/", f"{STEM}.exe", "autorun.inf", f"{STEM}.txt\n", ".", ""]
)
def test_no_other_file_is_ours(name: str) -> None:
    assert not is_ours(name)
    assert is_ours(f"{STEM}.txt")


def test_what_was_written_can_be_read_up_to_a_limit(stick: Path, root: int) -> None:
    write_files(root, "pump7", {"inventory.json": b"{}\n"})
    assert read_ours(stick, "pump7", "inventory.json", limit_bytes=100) == b"{}\n"
    assert read_ours(stick, "pump7", "inventory.json", limit_bytes=2) == b"{}"


@pytest.mark.parametrize("where", ["caisson-receipts", "caisson-receipts/pump7", "caisson-receipts/pump7/a"])
def test_nothing_is_read_through_a_link(stick: Path, where: str) -> None:
    (stick.parent / "outside/pump7").mkdir()
    (stick.parent / "outside/pump7/a").write_text("secret")
    (stick.parent / "outside/a").write_text("secret")
    (stick / where).parent.mkdir(parents=True, exist_ok=True)
    (stick / where).symlink_to(stick.parent / "outside" / ("a" if where.endswith("a") else ""))
    with pytest.raises(OSError, match=r"\[Errno"):
        read_ours(stick, "pump7", "a", limit_bytes=100)


def test_fifo_is_not_waited_for(stick: Path) -> None:
    folder = stick / "caisson-receipts/pump7"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "inventory.json")
    with pytest.raises(OSError, match="Invalid argument"):
        read_ours(stick, "pump7", "inventory.json", limit_bytes=100)
