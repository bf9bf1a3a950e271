"""The stick is pulled while its package is copied, at many offsets, and after that."""

import pytest

from fixtures.machine.device import Device
from fixtures.machine.ready import LARGE
from fixtures.machine.stick import Fs, Partition, make_stick
from tests.device.sticks import stick_with

_SLOW = 2_000_000
"""Bytes per second: the machine has to notice in the middle of it."""


@pytest.mark.parametrize("fs", [Fs.VFAT, pytest.param(Fs.EXT4, marks=pytest.mark.long)])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_pulled_stick_leaves_the_service_alone(device: Device, fs: Fs, share: float) -> None:
    package = device.ready.package(LARGE)
    image = make_stick(device.folder / "stick.img", Partition(fs, {package.name: package}))
    stick = device.plug(image, bytes_per_s=_SLOW)
    offset = share * package.stat().st_size
    device.until(f"{share:.0%} is read", lambda: device.machine.bytes_read(stick) > offset)
    device.machine.yank(stick)
    device.await_event("media.gone")
    device.until("nothing goes on", device.is_settled)
    assert device.version() == "1.0.0"
    assert device.containers() == ["web example/web:1.0.0 running"]
    assert device.run("ls", "/run/caisson/media") == ""
    device.plug(image)
    device.await_event("update.committed", version="2.0.0")
    assert device.version() == "2.0.0"


def test_stick_may_go_while_the_new_release_is_watched(device: Device) -> None:
    """Where no receipt is to be written to it."""
    device.run("sed", "-i", "s/receipts = true/receipts = false/", "/etc/caisson/caissond.toml")
    device.run("systemctl", "reload", "caissond")
    device.await_event("settings.reloaded")
    stick = device.plug(stick_with(device, device.package(LARGE)))
    device.await_event("media.done")
    device.machine.yank(stick)
    device.await_event("update.committed", version="2.0.0")
    codes = device.codes()
    assert codes.index("media.done") < codes.index("update.committed")
    assert device.version() == "2.0.0"
