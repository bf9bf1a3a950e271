"""The kernel's mount table `/proc/self/mountinfo`, and which of its mounts are media. Pure but for the reading."""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from caissond.intake.scan import Origin, Place

MOUNTINFO = Path("/proc/self/mountinfo")
SYS_DEVICES = Path("/sys/dev/block")

_OCTAL = re.compile(rb"\\([0-3][0-7]{2})")


@dataclass(frozen=True, slots=True)
class Mount:
    """A line of the table (proc(5), section /proc/pid/mountinfo)."""

    mount_id: int
    parent_id: int
    device: str
    """major:minor"""
    root: str
    """The folder of the filesystem that is mounted."""
    point: Path
    options: frozenset[str]
    fs_type: str
    source: str
    super_options: frozenset[str]

    @property
    def read_only(self) -> bool:
        """Nothing can be written through this mount."""
        return "ro" in self.options or self.unchanging

    @property
    def unchanging(self) -> bool:
        """Nothing can be written through any mount of this filesystem."""
        return "ro" in self.super_options


def read_mounts(path: Path = MOUNTINFO) -> tuple[Mount, ...]:
    """The mounts that this process can reach, as the kernel lists them."""
    return parse_mounts(path.read_bytes())


def parse_mounts(content: bytes) -> tuple[Mount, ...]:
    """The mounts of a whole table. A line that is none is passed over: the others still count."""
    lines = (_parse_line(line) for line in content.split(b"\n"))
    return tuple(mount for mount in lines if mount is not None)


def _parse_line(line: bytes) -> Mount | None:
    """Split at blanks alone: a carriage return or a form feed may stand in a path as it is."""
    head, _, tail = line.partition(b" - ")
    try:
        mount_id, parent_id, device, root, point, options, *_ = head.split(b" ")
        fs_type, source, super_options = tail.split(b" ", 2)
        return Mount(
            mount_id=int(mount_id),
            parent_id=int(parent_id),
            device=device.decode("ascii"),
            root=_unescape(root),
            point=Path(_unescape(point)),
            options=_options(options),
            fs_type=_unescape(fs_type),
            source=_unescape(source),
            super_options=_options(super_options),
        )
    except ValueError:
        return None


def _unescape(field: bytes) -> str:
    return os.fsdecode(_unescape_bytes(field))


def _unescape_bytes(field: bytes) -> bytes:
    return _OCTAL.sub(lambda match: bytes([int(match[1], 8)]), field)


def _options(field: bytes) -> frozenset[str]:
    return frozenset(_unescape(option) for option in field.split(b","))


def find_media(media_root: Path, extra_roots: Iterable[Path] = ()) -> tuple[Place, ...]:
    """The media that are mounted right now. Links in the roots are followed, since the table knows none."""
    root, extra = media_root.resolve(), resolve_roots(extra_roots)
    mounts = parse_mounts(lines_near(MOUNTINFO.read_bytes(), (root, *extra)))
    return media_places(mounts, root, extra, sequence_of=sequence_of)


def resolve_roots(roots: Iterable[Path]) -> tuple[Path, ...]:
    """The roots without links; one that leads nowhere has nothing in it, and is left out."""
    resolved: list[Path] = []
    for root in roots:
        with suppress(OSError, RuntimeError, ValueError):  # links in a circle, a NUL
            resolved.append(root.resolve())
    return tuple(resolved)


def lines_near(content: bytes, roots: Iterable[Path]) -> bytes:
    """The lines of the table whose mounts are above or below one of these folders: all that decide what is mounted
    there. Docker's health checks have the table looked at all the time, and the other lines are most of it.
    """
    wanted = tuple(os.fsencode(root).rstrip(b"/") + b"/" for root in roots)

    def is_near(line: bytes) -> bool:
        fields = line.split(b" ", 5)
        point = _unescape_bytes(fields[4]).rstrip(b"/") + b"/" if len(fields) > 5 else b""
        return any(point.startswith(root) or root.startswith(point) for root in wanted)

    return b"\n".join(line for line in content.split(b"\n") if is_near(line))


def media_places(
    mounts: Sequence[Mount],
    media_root: Path,
    extra_roots: Iterable[Path] = (),
    *,
    sequence_of: Callable[[str], str | None] = lambda _device: "",
) -> tuple[Place, ...]:
    """The mounts below the media folder, and at or below each extra root, sorted by path.

    Those hidden under another mount are left out, as are autofs placeholders, and what is mounted twice counts once.

    Args:
        media_root: absolute and without links, like the others.
        sequence_of: what tells the disk with these numbers from the one before it; None when it was pulled out.
    """
    extra = tuple(extra_roots)

    def is_medium(mount: Mount) -> bool:
        below = mount.point != media_root and mount.point.is_relative_to(media_root)
        served = below or any(mount.point.is_relative_to(root) for root in extra)
        return served and mount.fs_type != "autofs"

    media = sorted(filter(is_medium, visible_mounts(mounts)), key=lambda mount: os.fsencode(mount.point))
    once: dict[tuple[str, str], Mount] = {}
    for mount in media:
        once.setdefault((mount.device, mount.root), mount)
    return tuple(
        Place(mount.point, Origin.MEDIA, read_only=mount.unchanging, sequence=sequence)
        for mount in once.values()
        if (sequence := sequence_of(mount.device)) is not None
    )


def sequence_of(device: str) -> str | None:
    """The kernel's count of what was plugged in: a stick that comes back has its old name perhaps, but another count.
    Empty for what is no disk, and for kernels before 5.15 (`diskseq`, ABI/testing/sysfs-block). None: the disk was
    pulled out, though its mount may still be there.

    Args:
        device: major:minor, of the disk or of a partition.
    """
    here = SYS_DEVICES / device
    if device.startswith("0:") or not SYS_DEVICES.is_dir():
        return ""
    for name in ("diskseq", "../diskseq"):
        with suppress(OSError):
            return (here / name).read_text(encoding="ascii").strip()
    return "" if here.exists() else None


def visible_mounts(mounts: Sequence[Mount]) -> tuple[Mount, ...]:
    """The mounts that a walk along their paths ends at. The table also lists those that a later mount, there or
    further up, has hidden; below a sandboxed unit's own bind mounts every medium stands twice (docs/intake.md).
    """
    by_id = {mount.mount_id: mount for mount in mounts}
    children: dict[tuple[int | None, Path], Mount] = {}
    for mount in by_id.values():
        parent = mount.parent_id if mount.parent_id in by_id and mount.parent_id != mount.mount_id else None
        children[parent, mount.point] = mount
    return tuple(mount for mount in by_id.values() if _walk_to(mount.point, children) is mount)


def _walk_to(point: Path, children: dict[tuple[int | None, Path], Mount]) -> Mount | None:
    here: Mount | None = None
    for path in (*reversed(point.parents), point):
        while above := children.get((here.mount_id if here else None, path)):
            here = above
    return here
