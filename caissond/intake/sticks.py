"""USB storage that is of no use to us, and why: pure. One line for each stick, not one for each of its partitions."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from caissond.intake.mounts import Mount

FILESYSTEMS = ("vfat", "exfat", "ext2", "ext3", "ext4")
"""What is mounted; the same as in the udev rule and in packaging/caisson-mount."""
SETTLE_S = 2.0
"""Partitions come after their disk."""
MOUNT_S = 30.0
"""A filesystem that is not mounted by then will not be."""

# Boot loaders and Windows put these beside the partition with the files on it. MBR numbers as udev writes them, GPT
# types: EFI system, BIOS boot, Microsoft reserved, Windows recovery (UEFI specification 2.10, table 5.7).
_MINOR_TYPES = frozenset(
    {
        "0x5", "0xf", "0x85", "0xef", "0x27",
        "c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "21686148-6449-6e6f-744e-656564454649",
        "e3c9e316-0b5c-4db8-817d-f92df00215ae", "de94bba4-06d1-4d40-a16a-bfd50179d6ac",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Volume:
    """A disk or one of its partitions, as udev knows it."""

    name: str
    """The kernel's, such as sdb1."""
    number: str
    """major:minor"""
    seen_s: float | None
    """When udev had handled it first, on the monotonic clock; None: it has not yet, and will say so."""
    usage: str = ""
    """`filesystem`, `crypto`, `raid`, `other`; empty where nothing was recognised."""
    fs_type: str = ""
    part_type: str = ""

    @property
    def has_content(self) -> bool:
        """Somebody may have put a package there."""
        return bool(self.usage) and self.part_type not in _MINOR_TYPES and self.fs_type != "swap"

    @property
    def is_supported(self) -> bool:
        return self.usage == "filesystem" and self.fs_type in FILESYSTEMS


@dataclass(frozen=True, slots=True)
class Stick:
    """A disk on USB."""

    name: str
    sequence: str
    """Another one each time that something is plugged in (the kernel's diskseq)."""
    volumes: tuple[Volume, ...]
    """Itself and its partitions; where it has some, its own content does not count."""
    left_alone: bool = False
    """Nobody asks for it: no medium in the reader, another program builds on it, or CAISSON_IGNORE."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a stick, or a part of it, is not looked at."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Wait:
    """It is too early to say."""

    seconds: float


def judge(
    stick: Stick,
    mounts: Sequence[Mount],
    media: Collection[Path],
    now: float,
    *,
    were_mounted: Collection[str] = (),
) -> Fault | Wait | None:
    """What is to be told of a stick; None: nothing is wrong with it, or it is none of our business.

    Args:
        media: where the media that are looked at are mounted.
        now: on the clock of `Volume.seen_s`.
        were_mounted: names of its volumes that were mounted since it was plugged in. Whoever unmounts one to pull the
            stick out in order is not told of a fault.
    """
    served = mounted_volumes(stick, (mount for mount in mounts if mount.point in media))
    seen = [volume.seen_s for volume in stick.volumes if volume.seen_s is not None]
    if stick.left_alone or len(seen) < len(stick.volumes) or mounted_volumes(stick, mounts) - served:
        return None
    used = served.union(were_mounted)
    rest = [volume for volume in stick.volumes if volume.has_content and volume.name not in used]
    waiting = [volume for volume in rest if volume.is_supported]
    if (wait_s := max(seen) + (MOUNT_S if waiting else SETTLE_S) - now) > 0:
        return Wait(wait_s)
    return _fault(stick.name, rest, waiting, is_used=bool(used))


def _fault(name: str, rest: Sequence[Volume], waiting: Sequence[Volume], *, is_used: bool) -> Fault | None:
    if waiting:
        return Fault("media.not_mounted", f"{name}: cannot be mounted: {_listed(waiting)}")
    if rest:
        return Fault("media.unsupported", f"{name}: cannot be used: {_listed(rest)}")
    if is_used:
        return None
    return Fault("media.unsupported", f"{name}: cannot be used: no filesystem was found on it")


def mounted_volumes(stick: Stick, mounts: Iterable[Mount]) -> set[str]:
    """The names of the volumes that are mounted. Some filesystems (btrfs, FUSE) have numbers of their own, and
    `/dev/root` is a name that no device has, so either will do.
    """
    known = {word for mount in mounts for word in (mount.device, mount.source)}
    return {volume.name for volume in stick.volumes if known & {volume.number, f"/dev/{volume.name}"}}


def _listed(volumes: Iterable[Volume]) -> str:
    return ", ".join(f"{volume.name} ({volume.fs_type or volume.usage})" for volume in volumes)
