"""Sticks that are of no use: told in one line, and nothing else happens."""

import pytest

from fixtures.machine.device import Device
from fixtures.machine.stick import Partition, make_stick


@pytest.mark.parametrize("content", [b"", b"\xeb\x52\x90NTFS    "], ids=["nothing", "ntfs"])
def test_stick_without_a_usable_filesystem_is_told(device: Device, content: bytes) -> None:
    image = make_stick(device.folder / "stick.img", Partition())
    with image.open("r+b") as file:
        file.seek(1 << 20)
        file.write(content.ljust(1 << 20, b"\0"))
    device.plug(image)
    device.await_event("media.unsupported")
    assert device.codes().count("media.unsupported") == 1


def test_empty_stick_is_told(device: Device) -> None:
    device.plug(make_stick(device.folder / "stick.img", Partition(files={"holiday.jpg": b"sun"})))
    device.await_event("media.empty")
