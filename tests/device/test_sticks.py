"""Sticks with packages on them, plugged into the running device, or in when it starts."""

import pytest

from fixtures.machine.device import Device
from fixtures.machine.ready import LARGE, SMALL, SMALL_SICK, UNSIGNED
from fixtures.machine.stick import Fs, Partition, make_stick
from tests.device.sticks import stick_with


@pytest.mark.parametrize("fs", list(Fs))
def test_good_release_on_a_stick_runs(device: Device, fs: Fs) -> None:
    if fs is Fs.EXFAT:
        image = make_stick(device.folder / "stick.img", Partition(fs))
        device.fill(image, SMALL)
    else:
        image = stick_with(device, device.package(SMALL), fs=fs)
    stick = device.plug(image)
    device.await_event("update.committed", service="web", version="1.1.0")
    assert device.version() == "1.1.0"
    assert device.containers() == ["web example/web:1.1.0 running"]
    device.await_event("media.done")
    device.machine.yank(stick)
    device.await_event("media.gone")
    assert device.run("ls", "/run/caisson/media") == ""


def test_sick_release_on_a_stick_is_rolled_back(device: Device) -> None:
    device.plug(stick_with(device, device.package(SMALL_SICK)))
    device.await_event("update.rolled_back", version="1.2.0")
    assert device.version() == "1.0.0"
    assert device.containers() == ["web example/web:1.0.0 running"]


def test_unsigned_package_changes_nothing(device: Device) -> None:
    before = device.docker_state()
    device.plug(stick_with(device, device.package(UNSIGNED)))
    refused = device.await_event("trust.unsigned")
    assert refused["PRIORITY"] == "3"
    device.await_event("media.done")
    assert device.docker_state() == before


def test_newest_of_two_sticks_runs_in_the_end(device: Device) -> None:
    device.plug(stick_with(device, device.package(SMALL), name="one.img"))
    device.plug(stick_with(device, device.package(LARGE), name="two.img"))
    device.await_event("update.committed", version="2.0.0")
    device.until("nothing goes on", device.is_settled)
    assert device.version() == "2.0.0"
    assert device.containers() == ["web example/web:2.0.0 running"]


def test_stick_that_is_in_at_boot_is_served_once(off: Device) -> None:
    image = stick_with(off, off.package(SMALL))
    off.machine.boot(sticks=(image,))
    off.await_event("update.committed", version="1.1.0")
    off.await_event("media.done")
    off.machine.shut_down()
    off.machine.boot(sticks=(image,))
    off.until("nothing goes on", off.is_settled)
    off.until("it was looked at", lambda: "media.found" in off.codes())
    assert "update.started" not in off.codes()
    assert off.version() == "1.1.0"
