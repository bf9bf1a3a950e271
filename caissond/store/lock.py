"""Who may update: one process at a time holds the lock of a state folder. The kernel frees it when its holder dies."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from caissond.errors import LockBusy, StoreError

_LOOKERS = 5


@contextmanager
def hold_lock(path: Path, *, who: str, code: str = "lock.busy") -> Iterator[None]:
    """Hold the lock while the block runs.

    Args:
        path: the lock file; made when it is not there.
        who: what the next one who wants it is told, such as `caissond, process 812`.

    Raises:
        LockBusy: somebody else holds it; the message says who.
        StoreError: `store.failed`, the file cannot be made.
    """
    descriptor = _open(path)
    try:
        try:
            _take(descriptor)
        except BlockingIOError as exc:
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
            raise LockBusy(f"cannot take {path}: held by {holder or 'another process'}", code=code) from exc
        _sign(descriptor, who)
        yield
        _sign(descriptor, "")
    finally:
        os.close(descriptor)


def _sign(descriptor: int, who: str) -> None:
    """The name is a courtesy: a full disk does not keep anybody from the lock."""
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, who.encode(), 0)


def _take(descriptor: int) -> None:
    """Who only asks for the holder has the lock for an instant too: worth a few more tries."""
    for _ in range(_LOOKERS):
        with suppress(BlockingIOError):
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(0.02)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def holder_of(path: Path) -> str | None:
    """Who holds the lock, in their own words; None when nobody does or the file may not be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another process"
    finally:
        os.close(descriptor)
    return None


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640)
    except OSError as exc:
        raise StoreError(f"cannot make {path}: {exc.strerror}", code="store.failed") from exc
