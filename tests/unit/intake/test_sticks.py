"""Which sticks are told to be of no use, when, and which are none of our business."""

from dataclasses import replace
from pathlib import Path

import pytest

from caissond.intake.mounts import parse_mounts
from caissond.intake.sticks import FILESYSTEMS, MOUNT_S, SETTLE_S, Fault, Stick, Volume, Wait, judge

REPOSITORY = Path(__file__).parents[3]
MEDIUM = Path("/run/caisson/media/sdb1")
EFI = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"

DISK = Volume("sdb", "8:16", seen_s=0)
VFAT = Volume("sdb1", "8:17", seen_s=0, usage="filesystem", fs_type="vfat")
NTFS = Volume("sdb2", "8:18", seen_s=0, usage="filesystem", fs_type="ntfs")
LUKS = Volume("sdb3", "8:19", seen_s=0, usage="crypto", fs_type="crypto_LUKS")
BLANK = Volume("sdb4", "8:20", seen_s=0)

NO_FILESYSTEM = "sdb: cannot be used: no filesystem was found on it"


def verdict(*partitions: Volume, mounted: str = "", now: float = 60, disk: Volume = DISK) -> str | None:
    """What is told of a stick.

    Args:
        mounted: lines of `DEVICE POINT SOURCE`.
    """
    lines = (line.split() for line in mounted.splitlines())
    table = "\n".join(f"30 1 {device} / {point} ro - x {source} ro" for device, point, source in lines)
    mounts = parse_mounts(table.encode())
    told = judge(Stick("sdb", "7", (disk, *partitions)), mounts, {MEDIUM}, now)
    assert not isinstance(told, Wait)
    return told.text if told else None


SERVED = f"8:17 {MEDIUM} /dev/sdb1"


def test_stick_that_is_served_is_not_told() -> None:
    assert verdict(VFAT, mounted=SERVED) is None


@pytest.mark.parametrize(
    ("partitions", "told"),
    [
        ((NTFS,), "sdb: cannot be used: sdb2 (ntfs)"),
        ((NTFS, LUKS), "sdb: cannot be used: sdb2 (ntfs), sdb3 (crypto_LUKS)"),
        ((BLANK,), NO_FILESYSTEM),
        ((), NO_FILESYSTEM),
        ((VFAT,), "sdb: cannot be mounted: sdb1 (vfat)"),
        ((VFAT, NTFS), "sdb: cannot be mounted: sdb1 (vfat)"),
    ],
    ids=["ntfs", "two", "blank partition", "nothing at all", "damaged vfat", "damaged vfat beside ntfs"],
)
def test_stick_that_is_of_no_use_is_told_in_one_line(partitions: tuple[Volume, ...], told: str) -> None:
    assert verdict(*partitions) == told


def test_disk_without_a_partition_table_is_told() -> None:
    disk = replace(DISK, usage="filesystem", fs_type="iso9660")
    assert verdict(disk=disk) == "sdb: cannot be used: sdb (iso9660)"


def test_partition_with_content_is_told_beside_one_that_is_served() -> None:
    assert verdict(VFAT, NTFS, mounted=SERVED) == "sdb: cannot be used: sdb2 (ntfs)"


def test_partition_that_was_unmounted_is_not_told_but_the_one_beside_it_is() -> None:
    stick = Stick("sdb", "7", (DISK, VFAT, NTFS))
    told = judge(stick, (), (), 60, were_mounted={"sdb1"})
    assert told == Fault("media.unsupported", "sdb: cannot be used: sdb2 (ntfs)")
    assert judge(replace(stick, volumes=(DISK, VFAT)), (), (), 60, were_mounted={"sdb1"}) is None


@pytest.mark.parametrize(
    "beside",
    [BLANK, replace(NTFS, part_type=EFI), replace(NTFS, part_type="0x27"), replace(NTFS, fs_type="swap")],
    ids=["blank", "EFI", "Windows recovery", "swap"],
)
def test_partition_where_nobody_puts_packages_is_not_told_beside_a_good_one(beside: Volume) -> None:
    assert verdict(VFAT, beside, mounted=SERVED) is None


@pytest.mark.parametrize(
    "mounted",
    ["8:18 / /dev/root", "0:44 /data /dev/sdb2", f"{SERVED}\n8:18 /home /dev/sdb2", "8:16 /mnt /dev/sdb"],
    ids=["by number", "btrfs, by name", "one of two", "the disk itself"],
)
def test_disk_that_the_system_uses_is_left_alone(mounted: str) -> None:
    assert verdict(VFAT, NTFS, mounted=mounted) is None


def test_stick_that_somebody_asked_to_leave_alone_is_left_alone() -> None:
    assert judge(Stick("sdb", "7", (DISK, NTFS), left_alone=True), (), (), 60) is None


@pytest.mark.parametrize(("volume", "grace_s"), [(NTFS, SETTLE_S), (VFAT, MOUNT_S)])
def test_newest_partition_is_given_time(volume: Volume, grace_s: float) -> None:
    stick = Stick("sdb", "7", (DISK, replace(volume, seen_s=50)))
    assert judge(stick, (), (), 50.5) == Wait(grace_s - 0.5)
    assert isinstance(judge(stick, (), (), 50 + grace_s), Fault)


def test_stick_that_udev_has_not_handled_is_not_judged() -> None:
    """udev says so when it has; nobody has to look every so often."""
    assert verdict(replace(NTFS, seen_s=None)) is None


def test_rule_and_program_mount_the_same_filesystems() -> None:
    rule = (REPOSITORY / "udev/90-caisson-media.rules").read_text()
    program = (REPOSITORY / "packaging/caisson-mount").read_text()
    assert f'ENV{{ID_FS_TYPE}}=="{"|".join(FILESYSTEMS)}"' in rule
    assert f"expected {', '.join(FILESYSTEMS[:-1])} or {FILESYSTEMS[-1]}" in program
