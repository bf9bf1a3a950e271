"""Making what Docker wrote survive a power cut. Nothing in Docker's overlay2 path syncs a layer's contents."""

import ctypes
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from caissond.errors import DockerError

CONTAINERD_ROOT = Path("/var/lib/containerd")
"""Where the system's containerd keeps images, where Docker leaves them to it."""

_libc = ctypes.CDLL(None, use_errno=True)


def folders_to_sync(root: Path, *more: Path) -> tuple[Path, ...]:
    """One folder of each file system that Docker keeps its things on: a folder in its data root may be a mount of its
    own, or a link to one.

    Args:
        root: Docker's data root.
        more: other folders, where they are there.
    """
    by_device: dict[int, Path] = {}
    for folder in (root, *_entries(root), *more):
        with suppress(OSError):  # gone meanwhile
            if folder.is_dir():
                by_device.setdefault(folder.stat().st_dev, folder)
    return tuple(by_device.values())


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:  # whoever may not read it cannot sync it either, which is told
        return []


def sync_filesystem(folder: Path, *, deadline_s: float, beat: Callable[[], None]) -> None:
    """Write the file system below `folder` to its disk (syncfs(2), whose errors `os.sync` would hide).

    Args:
        deadline_s: a disk that needs longer is taken for broken.
        beat: called once a second while it goes on.

    Raises:
        DockerError: `docker.sync_failed`.
    """
    result: list[int] = []
    worker = threading.Thread(target=lambda: result.append(_syncfs(folder)), name="syncfs", daemon=True)
    worker.start()
    waited_s = 0.0
    while worker.is_alive() and waited_s < deadline_s:
        worker.join(1)
        waited_s += 1
        beat()
    if result != [0]:
        reason = os.strerror(result[0]) if result else f"not done after {deadline_s:.0f} s"
        raise DockerError(f"cannot sync {folder}: {reason}", code="docker.sync_failed")


def _syncfs(folder: Path) -> int:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as exc:
        return exc.errno or 5
    try:
        return 0 if _libc.syncfs(descriptor) == 0 else ctypes.get_errno()
    finally:
        os.close(descriptor)
