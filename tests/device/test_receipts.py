"""What the device leaves on a stick, read from the stick's own bytes once it is out."""

import json

import pytest

from fixtures.machine.device import Device
from fixtures.machine.ready import SMALL
from fixtures.machine.stick import Fs, Partition, list_stick, make_stick, read_stick
from tests.device.sticks import stick_with

_FOLDER = "caisson-receipts/device-1"


@pytest.mark.parametrize("fs", [Fs.VFAT, Fs.EXT4])
def test_receipts_are_on_the_stick(device: Device, fs: Fs) -> None:
    image = stick_with(device, device.package(SMALL), fs=fs)
    stick = device.plug(image)
    device.await_event("media.receipt")
    device.await_event("media.done")
    device.machine.yank(stick)
    receipts = list_stick(image, _FOLDER, Partition(fs))
    assert sorted(name.rpartition(".")[2] for name in receipts) == ["json", "txt"]
    receipt = json.loads(read_stick(image, f"{_FOLDER}/{receipts[0]}", Partition(fs)) or "")
    assert receipt["outcome"] == "succeeded"
    assert "1.1.0" in (read_stick(image, f"{_FOLDER}/{receipts[1]}", Partition(fs)) or "")


def test_stick_is_read_only_again_after_its_receipt(device: Device) -> None:
    device.plug(stick_with(device, device.package(SMALL)))
    device.await_event("media.done")
    (mount,) = [
        line for line in device.run("cat", "/proc/mounts").splitlines() if "/run/caisson/media" in line
    ]
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(mount.split()[3].split(","))


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
    inventory = json.loads(read_stick(image, f"{_FOLDER}/inventory.json", partition) or "")
    assert [service["name"] for service in inventory["services"]] == ["web"]
