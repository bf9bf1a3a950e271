"""Which mounts are ours to make writable, and which filesystems are better left alone."""

import struct
from pathlib import Path

import pytest

from caissond.intake.mounts import parse_mounts
from caissond.intake.remount import is_mounted_by_us, problem_of

MEDIA = Path("/run/caisson/media")


@pytest.mark.parametrize(
    ("point", "source", "ours"),
    [
        ("/run/caisson/media/sdb1", "/dev/sdb1", True),
        ("/run/caisson/media/sdb1", "/dev/sdc1", False),
        ("/run/caisson/media/sdb1", "tmpfs", False),
        ("/run/caisson/media", "/dev/media", False),
        ("/run/caisson/media/a/sdb1", "/dev/sdb1", False),
        ("/media/sdb1", "/dev/sdb1", False),
        ("/run/caisson/media/SDB1", "/dev/SDB1", False),
    ],
)
def test_only_what_caisson_mounted_is_remounted(point: str, source: str, ours: bool) -> None:
    (mount,) = parse_mounts(f"40 20 8:17 / {point} ro,nosuid - vfat {source} ro".encode())
    assert is_mounted_by_us(mount, MEDIA) is ours


def superblock(*, magic: int = 0xEF53, state: int = 1, incompat: int = 0x2C2) -> bytes:
    block = bytearray(1024)
    struct.pack_into("<HH", block, 56, magic, state)
    struct.pack_into("<I", block, 96, incompat)
    return bytes(block)


def test_clean_ext_filesystem_may_be_written_to() -> None:
    assert problem_of(superblock()) == ""


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        (superblock(incompat=0x2C6), "it was pulled out while somebody wrote to it"),
        (superblock(state=0), "it was pulled out while somebody wrote to it"),
        (superblock(state=3), "its filesystem has errors"),
        (superblock(magic=0), "its superblock cannot be read"),
        (b"", "its superblock cannot be read"),
    ],
    ids=["journal not empty", "not unmounted", "errors", "no superblock", "short"],
)
def test_other_ext_filesystems_are_not_written_to(block: bytes, problem: str) -> None:
    assert problem_of(block).startswith(problem)
