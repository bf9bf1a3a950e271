"""Sticks with packages on them, plugged into the running device, or in when it starts."""

import json
from pathlib import Path

import pytest

from fixtures.machine.device import Device
from fixtures.machine.ready import LARGE, SMALL, SMALL_SICK
from fixtures.machine.stick import Fs, Partition, list_stick, make_stick, read_stick
from tests.device.sticks import MEDIA, RECEIPTS, stick_with

THREE_FLASHES = "pattern 1 200 1 0 0 200 0 0 1 200 1 0 0 200 0 0 1 200 1 0 0 1500 0 0"


@pytest.mark.parametrize("fs", list(Fs))
def test_good_release_on_a_stick_runs(device: Device, fs: Fs) -> None:
    """The journal, the lights, the console and a receipt on the stick tell it."""
    image = _stick_with_small(device, fs)
    stick = device.plug(image)
    device.await_event("package.received")
    device.until("it flickers: do not remove", lambda: device.led("numlock") == "timer 80 80")
    device.await_event("update.committed", service="web", version="1.1.0")
    device.await_event("media.done")
    assert device.codes().index("media.receipt") < device.codes().index("media.done")
    device.until("slowly on and off: may be removed", lambda: device.led("numlock") == "timer 1000 1000")
    device.until("it is on: a success", lambda: device.led("capslock") == "on")
    assert device.led("scrolllock") == "off"
    assert "the service runs the new release" in device.machine.console.read_text()
    assert device.version() == "1.1.0"
    assert device.containers() == ["web example/web:1.1.0 running"]
    assert {"ro", "nosuid", "nodev", "noexec"} <= _mount_options(device)
    receipts = device.run("ls", f"{MEDIA}/sda1/{RECEIPTS}").split()
    assert sorted(Path(name).suffix for name in receipts) == [".json", ".txt"]
    device.machine.yank(stick)
    device.await_event("media.gone")
    device.until("its folder is gone", lambda: not device.run("ls", MEDIA))
    if fs is not Fs.EXFAT:  # nothing but a kernel reads it
        _assert_receipt(image, Partition(fs))


def _stick_with_small(device: Device, fs: Fs) -> Path:
    if fs is not Fs.EXFAT:
        return stick_with(device, device.package(SMALL), fs=fs)
    image = make_stick(device.folder / "stick.img", Partition(fs))
    device.fill(image, SMALL)
    return image


def _mount_options(device: Device) -> set[str]:
    (mount,) = [line for line in device.run("cat", "/proc/mounts").splitlines() if MEDIA in line]
    return set(mount.split()[3].split(","))


def _assert_receipt(image: Path, partition: Partition) -> None:
    """From the bytes of the stick that is out: it was written, and not only promised."""
    data, text = (
        read_stick(image, f"{RECEIPTS}/{name}", partition) or "" for name in _names(image, partition)
    )
    assert json.loads(data)["outcome"] == "succeeded"
    assert "1.1.0" in text


def _names(image: Path, partition: Partition) -> list[str]:
    return sorted(list_stick(image, RECEIPTS, partition), key=lambda name: Path(name).suffix)


def test_sick_release_on_a_stick_is_rolled_back(device: Device) -> None:
    device.plug(stick_with(device, device.package(SMALL_SICK)))
    device.await_event("update.rolled_back", version="1.2.0")
    device.until("three flashes", lambda: device.led("scrolllock") == THREE_FLASHES)
    assert device.version() == "1.0.0"
    assert device.containers() == ["web example/web:1.0.0 running"]


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
    off.await_event("media.done")
    off.until("nothing goes on", off.is_settled)
    assert "update.started" not in off.codes()
    assert off.version() == "1.1.0"


def test_restart_of_the_daemon_leaves_the_stick_mounted_and_served(device: Device) -> None:
    device.plug(stick_with(device, device.package(SMALL)))
    device.await_event("media.done")
    mount = _mount(device)
    device.mark()
    device.run("systemctl", "restart", "caissond")
    device.await_event("media.done")
    device.until("nothing goes on", device.is_settled)
    assert "update.started" not in device.codes()
    assert _mount(device) == mount
    assert device.version() == "1.1.0"


def _mount(device: Device) -> str:
    """The stick's line in the mount table of the whole machine, which begins with the number of the mount (proc(5))."""
    table = device.run("cat", "/proc/1/mountinfo")
    (mount,) = [line for line in table.splitlines() if f" {MEDIA}/" in line]
    return mount


def test_package_on_the_second_partition_of_a_stick_in_a_hub_runs(device: Device) -> None:
    """The other one has nothing for anybody, and gets no receipt."""
    package = device.package(SMALL)
    partitions = (Partition(files={"holiday.jpg": b"sun"}), Partition(Fs.EXT4, {package.name: package}))
    image = make_stick(device.folder / "stick.img", *partitions)
    stick = device.plug(image, hub=True)
    device.await_event("update.committed", version="1.1.0")
    device.await_event("media.done", 20, medium="sda2")
    device.await_event("media.empty", 10, medium="sda1")
    assert device.codes().index("media.receipt") < device.codes().index("media.done")
    assert device.version() == "1.1.0"
    device.machine.yank(stick)
    device.until("nothing is mounted", lambda: not device.run("ls", MEDIA))
    receipts = [list_stick(image, RECEIPTS, *partitions, number=number) for number in (1, 2)]
    assert [len(names) for names in receipts] == [0, 2]


def test_stick_may_go_only_after_the_packages_on_all_its_partitions(device: Device) -> None:
    """The first one is mounted later than the second, in the middle of its update, which is made to last."""
    device.watch_for(20)
    dropin, sign = "/run/systemd/system/caisson-media@sda1.service.d", "/run/not-so-late"
    late = f"[Service]\nTimeoutStartSec=infinity\nExecStartPre=sh -c 'until test -e {sign}; do sleep 0.1; done'\n"
    device.run("mkdir", dropin)
    device.machine.agent.write(f"{dropin}/test.conf", late.encode())
    device.run("systemctl", "daemon-reload")
    large, small = device.package(LARGE), device.package(SMALL)
    partitions = (Partition(files={large.name: large}), Partition(Fs.EXT4, {small.name: small}))
    device.plug(make_stick(device.folder / "stick.img", *partitions))
    device.await_event("update.stopping_old", 20)
    device.run("touch", sign)
    device.until("both are mounted", lambda: f"{MEDIA}/sda1 " in device.run("cat", "/proc/1/mountinfo"), 10)
    assert "update.committed" not in device.codes()
    device.await_event("update.committed", version="2.0.0")
    device.await_event("media.done", medium="sda1")
    codes = device.codes()
    assert codes.index("media.done") > codes.index("package.received", codes.index("update.committed"))
