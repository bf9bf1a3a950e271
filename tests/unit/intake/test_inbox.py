"""The watched inbox on the real inotify: what makes it hint, what it survives, and what it leaves behind."""

import ctypes
import grp
import os
import resource
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from caissond.intake.inbox import InboxWatch, make_inbox


class Ear:
    """Counts hints."""

    def __init__(self) -> None:
        self._heard = threading.Semaphore(0)

    def __call__(self) -> None:
        self._heard.release()

    def hears(self, timeout_s: float = 60) -> bool:
        """Whether a hint came; those that came with it are forgotten."""
        heard = self._heard.acquire(timeout=timeout_s)
        time.sleep(0.05)
        while self._heard.acquire(blocking=False):
            pass
        return heard


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
def watch(tmp_path: Path, ear: Ear) -> Iterator[InboxWatch]:
    watch = InboxWatch(tmp_path / "inbox", ear)
    assert watch.ensure() is None
    yield watch
    watch.stop()


@pytest.fixture
def inbox(tmp_path: Path, watch: InboxWatch) -> Path:
    assert watch is not None
    return tmp_path / "inbox"


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_watched(watch: InboxWatch, inbox: Path, ear: Ear) -> bool:
    """Whether a package is heard of, once the folder was looked after, as the daemon does it every so often."""
    assert watch.ensure() is None
    (inbox / "a.edgepkg").write_bytes(b"package")
    return ear.hears(1)


def test_rename_into_the_folder_is_heard(tmp_path: Path, inbox: Path, ear: Ear) -> None:
    (tmp_path / "a").write_bytes(b"package")
    (tmp_path / "a").rename(inbox / "a.edgepkg")
    assert ear.hears()


def test_rename_within_the_folder_is_heard(inbox: Path, ear: Ear) -> None:
    (inbox / "a.part").write_bytes(b"package")
    (inbox / "a.part").rename(inbox / "a.edgepkg")
    assert ear.hears()


def test_hard_link_is_heard(tmp_path: Path, inbox: Path, ear: Ear) -> None:
    (tmp_path / "a").write_bytes(b"package")
    os.link(tmp_path / "a", inbox / "a.edgepkg")
    assert ear.hears()


def test_end_of_a_slow_copy_is_heard(inbox: Path, ear: Ear) -> None:
    with (inbox / "a.edgepkg").open("wb", buffering=0) as file:
        assert ear.hears()
        for _ in range(10):
            file.write(b"piece")
        assert not ear.hears(0.2)
    assert ear.hears()


def test_resumed_copy_is_heard_again(inbox: Path, ear: Ear) -> None:
    (inbox / "a.edgepkg").write_bytes(b"first half")
    assert ear.hears()
    with (inbox / "a.edgepkg").open("ab") as file:
        file.write(b"second half")
    assert ear.hears()


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/etc/passwd")])
def test_what_is_no_file_is_heard_too(inbox: Path, ear: Ear, make: Callable[[Path], None]) -> None:
    make(inbox / "a.edgepkg")
    assert ear.hears()


def test_name_that_is_no_text_is_heard(inbox: Path, ear: Ear) -> None:
    (inbox / "\udcff\n\udc80.edgepkg").touch()
    assert ear.hears()


def test_other_files_are_not_heard(inbox: Path, ear: Ear) -> None:
    (inbox / "a.txt").write_bytes(b"text")
    (inbox / "a.txt").unlink()
    assert not ear.hears(0.3)


def test_deleted_folder_is_heard_made_again_and_watched(inbox: Path, ear: Ear, watch: InboxWatch) -> None:
    inbox.rmdir()
    assert ear.hears()
    wait_until(lambda: is_watched(watch, inbox, ear))  # it is heard before the old watch has ended


def test_folder_that_was_replaced_is_watched(inbox: Path, ear: Ear, watch: InboxWatch) -> None:
    inbox.rename(inbox.with_name("old"))
    inbox.mkdir()
    watch.ensure()
    (inbox / "a.edgepkg").touch()
    assert ear.hears()


def test_folder_deleted_and_made_again_by_somebody_else_is_watched(
    inbox: Path, ear: Ear, watch: InboxWatch
) -> None:
    """Filesystems like to give the new folder the inode of the old one."""
    inbox.rmdir()
    inbox.mkdir()
    assert ear.hears()
    wait_until(lambda: is_watched(watch, inbox, ear))


def test_folder_behind_a_link_is_watched(tmp_path: Path, ear: Ear) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    watch = InboxWatch(tmp_path / "link", ear)
    watch.ensure()
    (tmp_path / "real/a.edgepkg").touch()
    assert ear.hears()
    watch.stop()


def test_event_queue_that_overflows_does_not_end_the_watch(
    inbox: Path, ear: Ear, caplog: pytest.LogCaptureFixture
) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    # PyDLL keeps the interpreter's lock, so nobody reads events meanwhile
    ctypes.PyDLL(None).system(f"cd '{inbox}' && seq -f %.0f.edgepkg {limit} | xargs touch".encode())
    wait_until(lambda: "overflowed" in caplog.text)
    while ear.hears(0.5):  # of what came before
        pass
    (inbox / "last.edgepkg").touch()
    assert ear.hears()


def test_stop_ends_every_thread(tmp_path: Path, ear: Ear) -> None:
    before = set(threading.enumerate())
    watch = InboxWatch(tmp_path / "inbox", ear)
    assert watch.ensure() is None
    assert set(threading.enumerate()) - before
    watch.stop()
    assert not set(threading.enumerate()) - before


def test_stop_before_start_is_no_mistake(tmp_path: Path, ear: Ear) -> None:
    InboxWatch(tmp_path / "inbox", ear).stop()


def test_new_folder_is_sticky_and_writable_for_the_group(inbox: Path) -> None:
    assert stat.S_IMODE(inbox.stat().st_mode) == 0o1770


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a folder to any group")
def test_new_folder_belongs_to_the_group_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = next(group for group in grp.getgrall() if group.gr_gid != tmp_path.stat().st_gid)
    monkeypatch.setattr("caissond.intake.inbox.GROUP", other.gr_name)
    make_inbox(tmp_path / "inbox")
    assert (tmp_path / "inbox").stat().st_gid == other.gr_gid


def test_folder_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox").chmod(0o755)
    make_inbox(tmp_path / "inbox")
    assert stat.S_IMODE((tmp_path / "inbox").stat().st_mode) == 0o755


def test_file_in_the_folders_place_is_told_once(tmp_path: Path, ear: Ear) -> None:
    (tmp_path / "inbox").touch()
    watch = InboxWatch(tmp_path / "inbox", ear)
    assert watch.ensure() == f"cannot watch {tmp_path}/inbox: Not a directory"
    assert watch.ensure() is None


@contextmanager
def no_more_descriptors() -> Iterator[None]:
    """inotify_init(2) then answers EMFILE, as when fs.inotify.max_user_instances is reached."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_reached_limit_is_told_once_and_overcome_later(tmp_path: Path, ear: Ear) -> None:
    (tmp_path / "inbox").mkdir()
    watch = InboxWatch(tmp_path / "inbox", ear)
    with no_more_descriptors():
        assert watch.ensure() == f"cannot watch {tmp_path}/inbox: inotify instance limit reached"
        assert watch.ensure() is None
    assert watch.ensure() is None
    (tmp_path / "inbox/a.edgepkg").touch()
    assert ear.hears()
    watch.stop()


NO_WATCHES = """
import sys, threading
from pathlib import Path
from caissond.intake.inbox import InboxWatch
Path("/proc/sys/user/max_inotify_watches").write_text("0")
print(InboxWatch(Path(sys.argv[1]), lambda: None).ensure())
print(threading.active_count())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="a user namespace with limits of its own needs root")
def test_no_watch_left_leaves_no_threads_behind(tmp_path: Path) -> None:
    unshare = ["unshare", "--user", "--map-root-user", sys.executable, "-c", NO_WATCHES, f"{tmp_path}/inbox"]
    said = subprocess.run(unshare, check=True, capture_output=True, text=True).stdout.splitlines()
    assert said == [f"cannot watch {tmp_path}/inbox: inotify watch limit reached", "1"]
