"""From a file that others may write or pull out, to a private copy that nobody else touches.

Rules it keeps: a FIFO, device or link called x.edgepkg is never read; a copy is nobody else's, and one that failed is
gone. What is copied is checked where it is copied (`layers`).
"""

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from caissond.errors import Refusal
from caissond.package.source import Window, read_chunks, reading

EXTENSION = ".edgepkg"

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_BROKEN = {errno.EIO, errno.EROFS, errno.EUCLEAN, errno.ENOENT, errno.EACCES, errno.EPERM}
_REFUSED = {
    errno.ENOENT: "package.not_found",
    errno.ENOTDIR: "package.not_found",
    errno.ENAMETOOLONG: "package.not_found",
    errno.ELOOP: "package.not_a_file",
    errno.ENXIO: "package.not_a_file",  # a socket
    errno.EACCES: "package.unreadable",
    errno.EPERM: "package.unreadable",
    errno.EAGAIN: "package.changed",  # somebody holds a lease on it: a file server that has it open for writing
}


def open_regular(path: Path) -> BinaryIO:
    """The package at this path, open for reading and unbuffered. Neither its content nor its size is looked at.

    Raises:
        Refusal: `package.invalid_extension`, `package.not_found`, `package.not_a_file`, `package.unreadable`,
            `package.changed`.
        SourceGone: the medium does not answer.
    """
    if path.suffix.lower() != EXTENSION:
        raise Refusal(
            f"cannot use {str(path)!r}, expected a name that ends in {EXTENSION}",
            code="package.invalid_extension",
        )
    descriptor = _open(path)
    try:
        with reading():
            mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise Refusal(f"cannot use {str(path)!r}, expected a regular file", code="package.not_a_file")
        return os.fdopen(descriptor, "rb", buffering=0)
    except BaseException:
        os.close(descriptor)
        raise


def _open(path: Path) -> int:
    """O_NONBLOCK, or a FIFO would hold us for ever; it means nothing for regular files."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    with reading():
        try:
            return os.open(path, flags)
        except OSError as exc:
            if code := _REFUSED.get(exc.errno or 0):
                raise Refusal(f"cannot open {str(path)!r}: {exc.strerror}", code=code) from exc
            raise


@contextmanager
def private_file(target: Path) -> Iterator[int]:
    """The descriptor of a new file that only we may read; where the block fails the file is gone again.

    Args:
        target: must not exist.

    Raises:
        Refusal: `host.disk_full`, `host.io_error`; the device's own disk is at fault.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with writing(target):
        descriptor = os.open(target, flags, 0o600)
    try:
        try:
            yield descriptor
        finally:
            os.close(descriptor)
    except BaseException:
        with suppress(
            OSError
        ):  # the first error is the one to tell; what is left is removed at the next start
            target.unlink()
        raise


def write_private(target: Path, descriptor: int, chunk: bytes) -> None:
    """Append all of the chunk to a private file.

    Raises:
        Refusal: `host.disk_full`, `host.io_error`.
    """
    rest = memoryview(chunk)
    with writing(target):
        while rest:
            rest = rest[os.write(descriptor, rest) :]


def hash_file(source: BinaryIO, window: Window, progress: Callable[[int], None]) -> str:
    """The SHA-256 of the window's bytes, in hexadecimal.

    Raises:
        Truncated: the source ends before the window does.
        SourceGone: the source cannot be read.
    """
    digest = hashlib.sha256()
    for chunk in read_chunks(source, window, progress):
        digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Tells the device's own disk from the medium: both answer EIO. Never put a read of the source inside."""
    try:
        yield
    except OSError as exc:
        if exc.errno in _FULL:
            raise Refusal(f"cannot write {str(target)!r}: {exc.strerror}", code="host.disk_full") from exc
        if exc.errno in _BROKEN:
            raise Refusal(f"cannot write {str(target)!r}: {exc.strerror}", code="host.io_error") from exc
        raise
