"""The files that Caisson leaves on a medium: `caisson-receipts/HOST/`, and nothing outside of it.

The medium is somebody else's work: each folder is opened from the one above it and never through a link, each file is
made anew under a name that was free and then renamed, and removed is only what has exactly the name of a receipt.
Nothing but the standard library is imported here: each delivery starts a process of its own (`intake.stick_unit`).
"""

import errno
import os
import re
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path

FOLDER = "caisson-receipts"
KEEP_PAIRS = 100
LISTING_LIMIT = 20_000
INVENTORY_NAMES = frozenset({"inventory.json", "inventory.txt"})
RECEIPT_NAME = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}-[A-Za-z0-9._-]{1,80}\.(json|txt)")
UNFINISHED = ".new"

_TWO_SECONDS_NS = 2_000_000_000
"""FAT keeps no finer time of modification."""
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def host_folder(host: str) -> str:
    """The host's name as a folder may be called on any filesystem: letters, digits, dots and dashes."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", host)[:63].strip(".-") or "device"


def is_ours(name: str) -> bool:
    """Whether a file of this name may be written there."""
    return name in INVENTORY_NAMES or RECEIPT_NAME.fullmatch(name) is not None


def write_files(root: int, host: str, files: Mapping[str, bytes], *, keep_pairs: int = KEEP_PAIRS) -> None:
    """Write the files into this host's folder and remove its oldest receipts. Synced are the files and their folders;
    the filesystem is the caller's business.

    Args:
        root: a descriptor of the medium's topmost folder.
        files: by name; each of them `is_ours`.

    Raises:
        OSError: a file could not be written; those before it are there. `EXDEV`: another filesystem is mounted inside.
    """
    with _inside(root, FOLDER) as receipts, _inside(receipts, host_folder(host)) as folder:
        order_ns = _order_ns(folder)
        for name, content in files.items():
            _write(folder, name, content, order_ns)
        _prune(folder, keep_pairs)
        for descriptor in (folder, receipts, root):
            os.fsync(descriptor)


def read_ours(place: Path, host: str, name: str, *, limit_bytes: int) -> bytes:
    """The beginning of a file in this host's folder; nothing is written.

    Args:
        place: the medium's topmost folder.

    Raises:
        OSError: it is not there, is behind a link or is no regular file.
    """
    with ExitStack() as opened:
        folder = None
        for step in (place, FOLDER, host_folder(host)):
            folder = os.open(step, _FOLDER_FLAGS, dir_fd=folder)
            opened.callback(os.close, folder)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(name, flags, dir_fd=folder), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), name)
            return file.read(limit_bytes)


@contextmanager
def _inside(parent: int, name: str) -> Iterator[int]:
    """A folder of this folder, made when it is not there; never what a link leads to."""
    with suppress(FileExistsError):
        os.mkdir(name, 0o755, dir_fd=parent)
    descriptor = os.open(name, _FOLDER_FLAGS, dir_fd=parent)
    try:
        if os.fstat(descriptor).st_dev != os.fstat(parent).st_dev:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), name)
        yield descriptor
    finally:
        os.close(descriptor)


def _write(folder: int, name: str, content: bytes, order_ns: int) -> None:
    new = f"{name}{UNFINISHED}"
    with suppress(FileNotFoundError):
        os.unlink(new, dir_fd=folder)
    descriptor = os.open(new, _FILE_FLAGS, 0o644, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.utime(file.fileno(), ns=(order_ns, order_ns))
            os.fsync(file.fileno())
        os.replace(new, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(new, dir_fd=folder)
        raise


def _prune(folder: int, keep_pairs: int) -> None:
    """Remove all but the newest pairs by the order of writing, and what a cut-off write left behind."""
    newest: dict[str, int] = {}
    for name, modified_ns in _receipts(folder):
        if name.endswith(UNFINISHED):
            os.unlink(name, dir_fd=folder)
            continue
        stem = name.rpartition(".")[0]
        newest[stem] = max(newest.get(stem, 0), modified_ns)
    for stem in sorted(newest, key=lambda stem: (newest[stem], stem), reverse=True)[keep_pairs:]:
        for suffix in (".json", ".txt"):
            with suppress(FileNotFoundError):
                os.unlink(f"{stem}{suffix}", dir_fd=folder)


def _receipts(folder: int) -> list[tuple[str, int]]:
    """Our regular files and when they were modified; of a folder that somebody filled with others, not all."""
    with os.scandir(folder) as entries:
        return [
            (entry.name, entry.stat(follow_symlinks=False).st_mtime_ns)
            for entry in islice(entries, LISTING_LIMIT)
            if RECEIPT_NAME.fullmatch(entry.name.removesuffix(UNFINISHED))
            and entry.is_file(follow_symlinks=False)
        ]


def _order_ns(folder: int) -> int:
    """A time behind those of all receipts there, as in the device's own folder: the clock may say 1970."""
    newest_ns = max((modified_ns for _, modified_ns in _receipts(folder)), default=0)
    return max(time.time_ns(), newest_ns + _TWO_SECONDS_NS)
