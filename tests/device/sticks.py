"""Sticks for the tests."""

from pathlib import Path

from fixtures.machine.device import Device
from fixtures.machine.stick import Fs, Partition, make_stick

MEDIA = "/run/caisson/media"
RECEIPTS = "caisson-receipts/device-1"


def stick_with(device: Device, *packages: Path, fs: Fs = Fs.VFAT, name: str = "stick.img") -> Path:
    """A stick with these packages on it."""
    return make_stick(device.folder / name, Partition(fs, {package.name: package for package in packages}))
