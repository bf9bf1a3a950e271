"""Making a medium that Caisson mounted writable for a moment, and read-only again whatever happens in between.

Only what `caisson-mount` mounted is ever remounted: by its name and its device. All is done through one descriptor of
its topmost folder, so that another mount at the same path is never meant.
"""

import ctypes
import errno
import os
import re
import signal
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from caissond.intake.mounts import Mount, read_mounts

_libc = ctypes.CDLL(None, use_errno=True)

# linux/mount.h
_RDONLY, _REMOUNT = 1, 32
_FLAGS = {
    "nosuid": 2,
    "nodev": 4,
    "noexec": 8,
    "sync": 16,
    "dirsync": 128,
    "nosymfollow": 256,
    "lazytime": 1 << 25,
}

_NAME = re.compile(r"[a-z0-9]{1,32}")
_BUSY_TRIES, _BUSY_PAUSE_S = 10, 0.2
ENDING = (signal.SIGALRM, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""What asks a program to end; a medium is put back undisturbed by them."""

# fs/ext4/ext4.h: struct ext4_super_block
_SUPER_OFFSET, _SUPER_BYTES = 1024, 1024
_MAGIC_AT, _STATE_AT, _INCOMPAT_AT = 56, 58, 96
_MAGIC, _VALID, _ERRORS, _NEEDS_RECOVERY = 0xEF53, 1, 2, 4


class CannotWrite(Exception):
    """Why nothing can be written to the medium, in words for people."""


def is_mounted_by_us(mount: Mount, media: Path) -> bool:
    """Whether `caisson-mount` mounted this, rather than somebody with a folder there."""
    name = mount.point.name
    ours = mount.point.parent == media and _NAME.fullmatch(name) is not None
    return ours and mount.source == f"/dev/{name}"


def mount_of(root: int) -> Mount:
    """The mount that this descriptor belongs to.

    Raises:
        CannotWrite: it is gone.
    """
    lines = Path(f"/proc/self/fdinfo/{root}").read_text(encoding="ascii").splitlines()
    mount_id = next((int(line.split()[1]) for line in lines if line.startswith("mnt_id:")), -1)
    for mount in read_mounts():
        if mount.mount_id == mount_id:
            return mount
    raise CannotWrite("it was removed")


@contextmanager
def writable(root: int, media: Path) -> Iterator[None]:
    """The medium is writable inside the block. One that Caisson mounted is read-only after it, and the signals in
    ENDING are blocked from then on; another one stays as it is.

    Args:
        root: a descriptor of its topmost folder.
        media: where `caisson-mount` mounts.

    Raises:
        CannotWrite: it cannot be made writable, or not read-only again.
        OSError: as the kernel answers; `EACCES` and `EROFS` for a medium with write protection.
    """
    mount = mount_of(root)
    if not is_mounted_by_us(mount, media):
        if mount.read_only:
            raise CannotWrite("it is mounted read-only, and not by Caisson")
        yield
        return
    check_clean(mount)
    try:
        try:
            _make_writable(root, mount)
            yield
        finally:
            # One that came just before raises here, at the latest; no handler runs after that.
            signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    finally:
        make_read_only(root)


def _make_writable(root: int, mount: Mount) -> None:
    remount(root, mount, read_only=False)
    now = mount_of(root)
    if now.read_only:
        raise CannotWrite("it stayed read-only")
    if now.options - {"rw"} != mount.options - {"ro", "rw"}:
        raise CannotWrite("its mount options changed")


def make_read_only(root: int) -> None:
    """
    Raises:
        CannotWrite: it stays writable.
        OSError: as the kernel answers.
    """
    for tries_left in reversed(range(_BUSY_TRIES)):
        try:
            mount = mount_of(root)
            remount(root, mount, read_only=True)
            break
        except OSError as exc:
            if exc.errno != errno.EBUSY or not tries_left:
                raise
            time.sleep(_BUSY_PAUSE_S)
    if not mount_of(root).unchanging:
        raise CannotWrite("it did not become read-only again")


def make_all_read_only(media: Path) -> None:
    """What was mounted by us and left writable, by a program that was killed. The first error is raised at the end.

    Raises:
        CannotWrite, OSError: as `make_read_only`.
    """
    problem: Exception | None = None
    for mount in left_writable(media):
        try:
            root = os.open(mount.point, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                make_read_only(root)
            finally:
                os.close(root)
        except (CannotWrite, OSError) as exc:
            problem = problem or exc
    if problem is not None:
        raise problem


def left_writable(media: Path) -> list[Mount]:
    """What was mounted by us and can be written to now."""
    return [mount for mount in read_mounts() if is_mounted_by_us(mount, media) and not mount.unchanging]


def remount(root: int, mount: Mount, *, read_only: bool) -> None:
    """Change nothing but whether it can be written to (mount(2), "Remounting an existing mount"): the flags are named
    again, the times of access and the filesystem's own options stay when they are not.

    Raises:
        OSError: as the kernel answers.
    """
    options = mount.options | mount.super_options
    flags = _REMOUNT | (_RDONLY if read_only else 0)
    for name in options & _FLAGS.keys():
        flags |= _FLAGS[name]
    target = f"/proc/self/fd/{root}".encode()
    if _libc.mount(b"none", target, None, ctypes.c_ulong(flags), None) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(mount.point))


def sync(root: int) -> None:
    """Write the filesystem to the medium (syncfs(2)).

    Raises:
        OSError: something of it could not be written.
    """
    if _libc.syncfs(root) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def check_clean(mount: Mount) -> None:
    """An ext filesystem was mounted with `noload`; writing to one whose journal is not empty would be undone
    when that is replayed, and worse. The kernel lets it happen (tried on 6.18).

    Raises:
        CannotWrite: it was not unmounted, or has errors.
        OSError: the device cannot be read.
    """
    if mount.fs_type not in ("ext2", "ext3", "ext4"):
        return
    with open(mount.source, "rb", buffering=0) as device:  # noqa: PTH123 (a device)
        device.seek(_SUPER_OFFSET)
        block = device.read(_SUPER_BYTES)
    if problem := problem_of(block):
        raise CannotWrite(problem)


def problem_of(block: bytes) -> str:
    """What an ext superblock says against writing; empty when nothing."""
    if len(block) < _SUPER_BYTES:
        return "its superblock cannot be read"
    magic, state = struct.unpack_from("<HH", block, _MAGIC_AT)
    (incompat,) = struct.unpack_from("<I", block, _INCOMPAT_AT)
    if magic != _MAGIC:
        return "its superblock cannot be read"
    if incompat & _NEEDS_RECOVERY or not state & _VALID:
        return "it was pulled out while somebody wrote to it; e2fsck puts that right"
    return "its filesystem has errors; e2fsck puts that right" if state & _ERRORS else ""
