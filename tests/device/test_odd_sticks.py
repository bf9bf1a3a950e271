"""Sticks that are of no use, or ask for something else: told in one line each, and the service stays as it is."""

import json
from pathlib import Path

from fixtures.machine.device import Device
from fixtures.machine.ready import SMALL, UNSIGNED
from fixtures.machine.stick import Fs, Partition, make_stick, read_stick
from tests.device.sticks import RECEIPTS, stick_with


def test_sticks_of_no_use_are_told_and_change_nothing(device: Device) -> None:
    """One after the other, under the same name."""
    before = device.docker_state()
    holiday = make_stick(device.folder / "holiday.img", Partition(files={"holiday.jpg": b"sun"}))
    sticks = {
        "trust.unsigned": stick_with(device, device.package(UNSIGNED)),
        "media.empty": holiday,
        "media.unsupported": _stick_with_bytes(device.folder / "blank.img", b""),
        "media.unsupported ": _stick_with_bytes(device.folder / "ntfs.img", b"\xeb\x52\x90NTFS    "),
    }
    for code, image in sticks.items():
        device.mark()
        stick = device.plug(image)
        told = device.await_event(code.strip())
        device.machine.yank(stick)
        device.await_event("media.gone")
        assert device.codes().count(code.strip()) == 1
        assert code != "trust.unsigned" or told["PRIORITY"] == "3"
    assert device.docker_state() == before


def _stick_with_bytes(path: Path, content: bytes) -> Path:
    """Its only partition begins with these."""
    image = make_stick(path, Partition())
    with image.open("r+b") as file:
        file.seek(1 << 20)
        file.write(content.ljust(1 << 20, b"\0"))
    return image


def test_stick_that_cannot_be_mounted_is_told_once(device: Device) -> None:
    """An ext4 whose groups are nowhere, though its superblock is sound."""
    image = make_stick(device.folder / "broken.img", Partition(Fs.EXT4))
    with image.open("r+b") as file:
        file.seek((1 << 20) + 2048)
        file.write(bytes(6144))
    stick = device.plug(image)
    device.await_event("media.not_mounted", medium="sda")
    device.run("systemctl", "reload", "caissond")  # so that it looks at everything once more
    device.await_event("settings.reloaded")
    device.until("nothing goes on", device.is_settled)
    device.machine.yank(stick)
    device.await_event("media.gone")
    told = [code for code in device.codes() if code.startswith("media.")]
    assert told == ["media.not_mounted", "media.gone"]


def test_write_protected_stick_is_no_failure(device: Device) -> None:
    device.plug(stick_with(device, device.package(SMALL)), read_only=True)
    device.await_event("media.receipt_failed")
    device.await_event("media.done")
    assert device.version() == "1.1.0"


def test_inventory_is_written_to_a_stick_that_asks_for_it(device: Device) -> None:
    partition = Partition(Fs.VFAT, {"caisson-inventory.txt": b"\n"})
    image = make_stick(device.folder / "stick.img", partition)
    stick = device.plug(image)
    device.await_event("media.inventory")
    device.await_event("media.done")
    device.machine.yank(stick)
    inventory = json.loads(read_stick(image, f"{RECEIPTS}/inventory.json", partition) or "")
    assert [service["name"] for service in inventory["services"]] == ["web"]
