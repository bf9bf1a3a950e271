"""The .deb leaves the device: removed, installed again, purged. What Docker holds stays in any case."""

from fixtures.machine.device import Device
from fixtures.machine.ready import SMALL
from fixtures.machine.stick import Partition, make_stick
from tests.device.sticks import MEDIA, stick_with

DEB = "/root/debs/caisson.deb"
NEXT_DEB = "/root/debs/caisson-next.deb"
_HOOK = "/etc/caisson/hooks.d/50-door"


def test_removed_package_leaves_services_state_and_settings(device: Device) -> None:
    """Installed again, it goes on where it was."""
    device.drop(SMALL)
    device.await_event("update.committed", version="1.1.0")
    device.until("nothing goes on", device.is_settled)
    before, kept, history = device.docker_state(), _kept(device), device.run("caisson", "history", "list")
    assert "1.1.0" in history
    _dpkg(device, "--remove", "caisson")
    assert _unit(device) == "not-found inactive"
    assert _kept(device) == kept
    assert device.docker_state() == before
    device.mark()
    _dpkg(device, "--install", DEB)
    device.until("it is ready", device.is_settled)
    assert _unit(device) == "loaded active"
    assert device.run("caisson", "history", "list") == history
    assert "update.started" not in device.codes()
    assert device.docker_state() == before


def test_upgrade_with_nothing_going_on_leaves_docker_alone(device: Device) -> None:
    before = device.docker_state()
    device.mark()
    _dpkg(device, "--install", NEXT_DEB)
    device.await_event("daemon.started")
    device.until("it is ready", device.is_settled)
    assert device.run("dpkg-query", "--show", "--showformat=${Version}", "caisson").endswith("+next")
    assert _unit(device) == "loaded active"
    assert device.docker_state() == before
    assert device.version() == "1.0.0"


def test_stick_that_is_in_when_the_package_is_installed_has_its_turn(device: Device) -> None:
    """It was plugged in when nobody was there to mount it."""
    _dpkg(device, "--remove", "caisson")
    device.plug(stick_with(device, device.package(SMALL)))
    device.until("it is there", lambda: "vfat" in device.machine.try_("blkid", "/dev/sda1").out)
    device.run("udevadm", "settle")
    assert MEDIA not in _mounts(device)
    device.mark()
    _dpkg(device, "--install", DEB)
    device.await_event("media.found", 20)
    device.await_event("update.committed", version="1.1.0")
    device.await_event("media.done")
    assert f" {MEDIA}/sda1 " in _mounts(device)
    assert device.version() == "1.1.0"


def test_purged_package_leaves_services_and_hooks_only(device: Device) -> None:
    """With a stick in."""
    before = device.docker_state()
    device.run("touch", _HOOK)  # not executable, so nobody runs it
    device.plug(make_stick(device.folder / "stick.img", Partition(files={"holiday.jpg": b"sun"})))
    device.await_event("media.empty")
    assert f" {MEDIA}/sda1 " in _mounts(device)
    _dpkg(device, "--purge", "caisson")
    assert _unit(device) == "not-found inactive"
    assert MEDIA not in _mounts(device)
    assert _there(device, "/var/lib/caisson", "/run/caisson", "/usr/lib/caisson", "/usr/bin/caissond") == ""
    assert device.run("find", "/etc/caisson", "-type", "f").split() == [_HOOK]
    assert device.docker_state() == before
    assert device.version() == "1.0.0"


def _dpkg(device: Device, what: str, package: str) -> None:
    device.run("dpkg", "--force-unsafe-io", what, package, deadline_s=180)


def _unit(device: Device) -> str:
    """Whether there is such a unit, and how it is."""
    return " ".join(
        device.run("systemctl", "show", "--value", f"--property={name}", "caissond").strip()
        for name in ("LoadState", "ActiveState")
    )


def _kept(device: Device) -> str:
    """The settings, byte for byte, and what is in the folder of the state, while no database is open in it."""
    look = "sha256sum /etc/caisson/*.toml /etc/caisson/allowed_signers; find /var/lib/caisson ! -name 'state.db-*'"
    return device.run("sh", "-c", look)


def _mounts(device: Device) -> str:
    """Of the whole machine, as its first process sees them."""
    return device.run("cat", "/proc/1/mountinfo")


def _there(device: Device, *paths: str) -> str:
    """Those of them that are there."""
    return device.machine.try_("ls", "-d", *paths).out
