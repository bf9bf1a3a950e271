"""The adapter for what udev knows of USB storage. Without udevd it knows nothing, and nothing is told."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pyudev

from caissond.intake.sticks import Stick, Volume

STORAGE = "sd*"
"""The kernel's names of what the udev rule mounts; a CD's disc goes while its device stays."""


def find_sticks() -> tuple[Stick, ...]:
    """The disks on USB right now. For one thread; reads /sys and /run/udev, which takes a millisecond or two."""
    try:
        disks = list(pyudev.Context().list_devices(subsystem="block", DEVTYPE="disk", sys_name=STORAGE))
    except (OSError, ImportError):
        return ()
    return tuple(stick for disk in disks for stick in _stick_if_usb(disk))


def _stick_if_usb(disk: pyudev.Device) -> Iterator[Stick]:
    with suppress(OSError, pyudev.DeviceNotFoundError):  # pulled out under our eyes
        if disk.find_parent("usb") is not None:
            yield _stick(disk)


def _stick(disk: pyudev.Device) -> Stick:
    partitions = [child for child in disk.children if child.properties.get("DEVTYPE") == "partition"]
    whole = replace(_volume(disk), usage="") if partitions else _volume(disk)
    return Stick(
        name=whole.name,
        sequence=_read(Path(disk.sys_path, "diskseq")),
        volumes=(whole, *sorted(map(_volume, partitions), key=lambda volume: volume.name)),
        left_alone=_read(Path(disk.sys_path, "size")) in ("", "0")
        or any(_is_taken(device) for device in (disk, *partitions)),
    )


def _volume(device: pyudev.Device) -> Volume:
    known = device.properties
    seen_us = known.get("USEC_INITIALIZED")
    return Volume(
        name=str(device.sys_name),
        number=f"{known.get('MAJOR', '')}:{known.get('MINOR', '')}",
        seen_s=int(seen_us) / 1e6 if seen_us else None,
        usage=str(known.get("ID_FS_USAGE", "")),
        fs_type=str(known.get("ID_FS_TYPE", "")),
        part_type=str(known.get("ID_PART_ENTRY_TYPE", "")),
    )


def _is_taken(device: pyudev.Device) -> bool:
    return device.properties.get("CAISSON_IGNORE") == "1" or any(_holders(device))


def _holders(device: pyudev.Device) -> Iterator[Path]:
    """What is built on it: LUKS, LVM, a RAID."""
    with suppress(OSError):
        yield from Path(device.sys_path, "holders").iterdir()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""
