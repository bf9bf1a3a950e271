"""Reading from a stick or a file that may go away at any moment: the one place that calls `read` on untrusted bytes.

Every read is exact or an error: `Truncated` where the bytes end early, `SourceGone` where the medium does not answer.
"""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from caissond.errors import SourceGone, Truncated

CHUNK_BYTES = 1 << 20

_OURS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EBADF, errno.EFAULT, errno.EINVAL}
_GONE = {
    errno.EIO,
    errno.ENODEV,
    errno.ENXIO,
    errno.ESTALE,
    errno.ENOMEDIUM,
    errno.ENOTCONN,
    errno.ESHUTDOWN,
    errno.EREMOTEIO,
    errno.ETIMEDOUT,
}


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a source that one archive takes up."""

    offset: int
    size_bytes: int

    @property
    def end(self) -> int:
        return self.offset + self.size_bytes


@contextmanager
def reading() -> Iterator[None]:
    """Turns whatever a medium answers instead of bytes into `SourceGone`; a shortage or mistake of our own is left."""
    try:
        yield
    except OSError as exc:
        if exc.errno in _OURS:
            raise
        if exc.errno in _GONE:
            raise SourceGone(f"cannot read the source any more: {exc.strerror}", code="media.gone") from exc
        raise SourceGone(f"cannot read the source: {exc.strerror}", code="media.unreadable") from exc


def read_exact(source: BinaryIO, offset: int, size_bytes: int) -> bytes:
    """Exactly these bytes, held in memory; the caller bounds `size_bytes`.

    Raises:
        Truncated: the source ends before them.
        SourceGone: the source cannot be read.
    """
    content = b""
    with reading():
        source.seek(offset)
        while len(content) < size_bytes and (more := source.read(size_bytes - len(content))):
            content += more
    if len(content) < size_bytes:
        raise _ends_early(offset + len(content), offset + size_bytes)
    return content


def read_chunks(
    source: BinaryIO, window: Window, progress: Callable[[int], None] = lambda _: None
) -> Iterator[bytes]:
    """The window's bytes in pieces of at most 1 MiB; seeks before each, so other readers may come in between.

    Args:
        progress: told the size of each piece before it is handed out.

    Raises:
        Truncated: the source ends before the window does.
        SourceGone: the source cannot be read.
    """
    position = window.offset
    while position < window.end:
        with reading():
            source.seek(position)
            chunk = source.read(min(CHUNK_BYTES, window.end - position))
        if not chunk:
            raise _ends_early(position, window.end)
        position += len(chunk)
        progress(len(chunk))
        yield chunk


def _ends_early(actual: int, expected: int) -> Truncated:
    return Truncated(
        f"cannot read up to byte {expected}, the file ends at byte {actual}", code="archive.truncated"
    )
