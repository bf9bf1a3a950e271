"""Private copies: what is copied is what is hashed, and a copy that failed leaves nothing behind."""

import errno
import fcntl
import hashlib
import io
import os
import resource
import signal
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caissond.errors import Refusal, SourceGone, Truncated
from caissond.package import staging
from caissond.package.source import Window, read_chunks
from caissond.package.staging import hash_file, open_regular, private_file, write_private

CONTENT = bytes(range(256)) * 10_000
WINDOW = Window(1000, 2_500_000)
PART = CONTENT[1000:2_501_000]


def ignore(size_bytes: int) -> None:
    assert size_bytes > 0


def copy(source: BinaryIO, window: Window, target: Path, *, progress: Callable[[int], None]) -> None:
    """As layers are copied."""
    with private_file(target) as descriptor:
        for chunk in read_chunks(source, window, progress):
            write_private(target, descriptor, chunk)


class Pulled(io.BytesIO):
    """A stick that is pulled out after the first mebibyte."""

    def __init__(self, content: bytes, number: int) -> None:
        super().__init__(content)
        self.number = number

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() > 1 << 20:
            raise OSError(self.number, "gone")
        return super().read(size)


@contextmanager
def limited(what: int, limit: int) -> Iterator[None]:
    """The kernel's own refusal: of more bytes in a file (EFBIG), or of more open files (EMFILE)."""
    before = resource.getrlimit(what)
    resource.setrlimit(what, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(what, before)


def test_copy_is_the_window_byte_for_byte(tmp_path: Path) -> None:
    copy(io.BytesIO(CONTENT), WINDOW, tmp_path / "copy", progress=ignore)
    assert (tmp_path / "copy").read_bytes() == PART


def test_copy_is_nobody_elses(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        copy(io.BytesIO(CONTENT), WINDOW, tmp_path / "copy", progress=ignore)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o600


def test_progress_adds_up_to_the_window(tmp_path: Path) -> None:
    told: list[int] = []
    copy(io.BytesIO(CONTENT), WINDOW, tmp_path / "copy", progress=told.append)
    assert sum(told) == WINDOW.size_bytes
    assert max(told) <= 1 << 20


def test_empty_window_makes_an_empty_copy(tmp_path: Path) -> None:
    copy(io.BytesIO(CONTENT), Window(5, 0), tmp_path / "copy", progress=ignore)
    assert (tmp_path / "copy").read_bytes() == b""


def test_file_that_ends_early_is_truncated_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(Truncated) as caught:
        copy(io.BytesIO(CONTENT[:2_000_000]), WINDOW, tmp_path / "copy", progress=ignore)
    assert caught.value.code == "archive.truncated"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "number",
    [errno.EIO, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.ENOMEDIUM],
    ids=lambda number: errno.errorcode[number],
)
def test_pulled_stick_is_an_ordinary_event_and_leaves_nothing(number: int, tmp_path: Path) -> None:
    with pytest.raises(SourceGone) as caught:
        copy(Pulled(CONTENT, number), WINDOW, tmp_path / "copy", progress=ignore)
    assert caught.value.code == "media.gone"
    assert list(tmp_path.iterdir()) == []


def test_disk_that_takes_no_more_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    """Full in the middle of the last piece: the kernel then writes part of it and reports no error."""
    with limited(resource.RLIMIT_FSIZE, 2_300_000), pytest.raises(Refusal) as caught:
        copy(io.BytesIO(CONTENT), WINDOW, tmp_path / "copy", progress=ignore)
    assert caught.value.code == "host.disk_full"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "code"),
    [(errno.ENOSPC, "host.disk_full"), (errno.EDQUOT, "host.disk_full"), (errno.EIO, "host.io_error")],
    ids=["ENOSPC", "EDQUOT", "EIO"],
)
def test_fault_of_our_own_disk_is_never_taken_for_a_pulled_stick(number: int, code: str) -> None:
    with pytest.raises(Refusal) as caught, staging.writing(Path("copy")):
        raise OSError(number, "no")
    assert caught.value.code == code


def test_work_folder_that_is_gone_is_the_hosts_fault(tmp_path: Path) -> None:
    with pytest.raises(Refusal) as caught:
        copy(io.BytesIO(CONTENT), WINDOW, tmp_path / "gone" / "copy", progress=ignore)
    assert caught.value.code == "host.io_error"


def test_stop_in_the_middle_of_a_copy_leaves_nothing(tmp_path: Path) -> None:
    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy(io.BytesIO(CONTENT), WINDOW, tmp_path / "copy", progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("link", [False, True], ids=["file", "link"])
def test_what_is_there_already_is_neither_written_nor_removed(link: bool, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"mine")
    target = tmp_path / "other"
    if link:
        target = tmp_path / "link"
        target.symlink_to("other")
    with pytest.raises(FileExistsError):
        copy(io.BytesIO(CONTENT), WINDOW, target, progress=ignore)
    assert (tmp_path / "other").read_bytes() == b"mine"
    assert target.exists()


def opened_below(folder: Path) -> list[str]:
    """What this process has open there, deleted or not; other tests may have left something elsewhere."""
    paths = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # what the list itself was read from
            paths.append(str(link.readlink()))
    return [path for path in paths if path.startswith(f"{folder}/")]


def test_descriptors_are_closed_on_every_way_out(tmp_path: Path) -> None:
    copy(io.BytesIO(CONTENT), WINDOW, tmp_path / "copy", progress=ignore)
    with pytest.raises(Truncated):
        copy(io.BytesIO(b""), WINDOW, tmp_path / "other", progress=ignore)
    with pytest.raises(Refusal):
        open_regular(make_fifo(tmp_path))
    assert opened_below(tmp_path) == []


@given(offset=st.integers(0, 300), size=st.integers(0, 300))
def test_hash_is_that_of_the_window_or_the_window_is_too_long(offset: int, size: int) -> None:
    content = CONTENT[:400]
    if offset + size <= len(content) or size == 0:
        wanted = hashlib.sha256(content[offset : offset + size]).hexdigest()
        assert hash_file(io.BytesIO(content), Window(offset, size), ignore) == wanted
    else:
        with pytest.raises(Truncated):
            hash_file(io.BytesIO(content), Window(offset, size), ignore)


def make_fifo(folder: Path) -> Path:
    os.mkfifo(folder / "fifo.edgepkg")
    return folder / "fifo.edgepkg"


def make_directory(folder: Path) -> Path:
    (folder / "folder.edgepkg").mkdir()
    return folder / "folder.edgepkg"


def make_link(folder: Path) -> Path:
    (folder / "real.edgepkg").write_bytes(b"x")
    (folder / "link.edgepkg").symlink_to("real.edgepkg")
    return folder / "link.edgepkg"


def make_dangling_link(folder: Path) -> Path:
    (folder / "link.edgepkg").symlink_to("nowhere.edgepkg")
    return folder / "link.edgepkg"


def make_socket(folder: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "s.edgepkg"))
    return folder / "s.edgepkg"


def test_regular_file_is_opened_unbuffered(tmp_path: Path) -> None:
    (tmp_path / "a.edgepkg").write_bytes(b"content")
    with open_regular(tmp_path / "a.edgepkg") as source:
        assert isinstance(source, io.RawIOBase)
        assert source.read() == b"content"
        assert not os.get_inheritable(source.fileno())


@pytest.mark.parametrize("make", [make_fifo, make_directory, make_link, make_dangling_link, make_socket])
def test_what_only_looks_like_a_package_is_not_a_file(make: Callable[[Path], Path], tmp_path: Path) -> None:
    with pytest.raises(Refusal) as caught:
        open_regular(make(tmp_path))
    assert caught.value.code == "package.not_a_file"


@pytest.mark.parametrize(
    "name", ["a.tar", "a.EDGEPKG ", ".edgepkg", "edgepkg", "a.edgepkg.part", "a.edgepkg "]
)
def test_other_name_is_refused_before_anything_is_touched(name: str, tmp_path: Path) -> None:
    with pytest.raises(Refusal) as caught:
        open_regular(tmp_path / name)
    assert caught.value.code == "package.invalid_extension"


@pytest.mark.parametrize("name", ["a.edgepkg", "folder/a.edgepkg", "file/a.edgepkg", "a" * 300 + ".edgepkg"])
def test_missing_package_is_not_found(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Refusal) as caught:
        open_regular(tmp_path / name)
    assert caught.value.code == "package.not_found"


def test_file_that_we_may_not_read_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "a.edgepkg").touch(mode=0o000)
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)  # root may read everything, nobody may not
    try:
        with pytest.raises(Refusal) as caught:
            open_regular(tmp_path / "a.edgepkg")
    finally:
        os.seteuid(before)
    assert caught.value.code == "package.unreadable"


def test_shortage_of_our_own_is_no_fault_of_the_package(tmp_path: Path) -> None:
    (tmp_path / "a.edgepkg").touch()
    with limited(resource.RLIMIT_NOFILE, 0), pytest.raises(OSError, match="Too many open files"):
        open_regular(tmp_path / "a.edgepkg")


def test_file_that_a_file_server_holds_open_does_not_hold_us(tmp_path: Path) -> None:
    """Samba takes a write lease; the kernel would make us wait 45 seconds for it, but for O_NONBLOCK."""
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    try:
        with (tmp_path / "a.edgepkg").open("wb") as writer:
            fcntl.fcntl(writer, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            with pytest.raises(Refusal) as caught:
                open_regular(tmp_path / "a.edgepkg")
            fcntl.fcntl(writer, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    finally:
        signal.signal(signal.SIGIO, before)
    assert caught.value.code == "package.changed"
