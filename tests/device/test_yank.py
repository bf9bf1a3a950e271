"""The stick is pulled while its package is copied, at many offsets, and after that."""

import tarfile
import time
from pathlib import Path

import pytest

from fixtures.machine.device import Device
from fixtures.machine.machine import Plugged
from fixtures.machine.ready import LARGE
from fixtures.machine.stick import Fs, Partition, make_stick
from tests.device.sticks import MEDIA, stick_with

_SLOW = 1_000_000
"""Bytes per second: the machine has to notice in the middle of it."""
_SHARES = (0.02, 0.25, 0.5, 0.7)
"""Of the copy: after its first byte, and so long before its last that the stick is out by then. That the copy has begun
is noticed a second late, and its pulling takes as long: both are another tenth of it.
"""
_MORE = tuple(number / 20 for number in range(1, 15))


@pytest.mark.parametrize(
    ("fs", "shares"),
    [
        (Fs.VFAT, _SHARES),
        pytest.param(Fs.VFAT, _MORE, marks=pytest.mark.long),
        pytest.param(Fs.EXT4, _SHARES, marks=pytest.mark.long),
    ],
)
def test_pulled_stick_leaves_the_service_alone(device: Device, fs: Fs, shares: tuple[float, ...]) -> None:
    """At each offset of the copy; at last it stays in."""
    package = device.package(LARGE)
    image = make_stick(device.folder / "stick.img", Partition(fs, {package.name: package}))
    copy_bytes = _largest_bytes(package)
    for share in shares:
        device.mark()
        stick = device.plug(image, bytes_per_s=_SLOW)
        device.await_event("update.loading")
        before_bytes = device.machine.bytes_read(stick)  # by mounting it and looking at the package
        _await_read(device, stick, before_bytes + share * copy_bytes)
        device.machine.yank(stick)
        device.await_event("media.gone")
        device.until("nothing goes on", device.is_settled)
        assert "update.interrupted" in device.codes()
        assert "update.stopping_old" not in device.codes()
        assert device.containers() == ["web example/web:1.0.0 running"]
        device.until("its folder is gone", lambda: not device.run("ls", MEDIA))
    device.mark()
    device.plug(image)
    device.await_event("update.committed", version="2.0.0")
    assert device.version() == "2.0.0"


def _largest_bytes(package: Path) -> int:
    """The layer that Docker does not have yet; it is all that is copied, but for some hundred bytes."""
    with tarfile.open(package) as tar:
        return max(entry.size for entry in tar)


def _await_read(device: Device, stick: Plugged, read_bytes: float) -> None:
    """Asking QEMU costs the machine nothing, so it is asked all the time."""
    end = time.monotonic() + 60 * device.machine.patience
    while device.machine.bytes_read(stick) < read_bytes:
        assert time.monotonic() < end, "the copy was over before"
        time.sleep(0.02)


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
