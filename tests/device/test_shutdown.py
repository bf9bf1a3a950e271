"""The machine is switched off, or the .deb upgraded, during a rollback: what helps the daemon outlives it."""

import json

from fixtures.machine.device import Device
from fixtures.machine.ready import SMALL_SICK
from fixtures.machine.stick import Partition, list_stick, read_stick
from tests.device.sticks import RECEIPTS, stick_with

_HEARD = "/root/heard"
_HOOK = f"""\
#!/bin/sh
light=$(sed 's/.*\\[\\(.*\\)\\].*/\\1/' /sys/class/leds/input0::numlock/trigger)
echo "$CAISSON_CODE $light" >>{_HEARD}
"""


def test_rollback_at_poweroff_is_told_on_the_stick_by_the_hooks_and_by_the_lights(device: Device) -> None:
    """Not in the gate: an update that is cut off there is tried again, so the stick gets no receipt."""
    _write_hook(device)
    image = stick_with(device, device.package(SMALL_SICK))
    device.plug(image)
    device.await_event("update.rolling_back")
    device.machine.shut_down()
    names = [name for name in list_stick(image, RECEIPTS, Partition()) if name.endswith(".json")]
    receipts = [json.loads(read_stick(image, f"{RECEIPTS}/{name}", Partition()) or "") for name in names]
    assert [receipt["outcome"] for receipt in receipts] == ["rolled_back"]
    device.machine.boot()
    _assert_heard_and_lit(device)
    device.until("the old release runs", lambda: device.version() == "1.0.0")


def test_rollback_at_an_upgrade_of_the_deb_is_told_on_the_stick_by_the_hooks_and_by_the_lights(
    device: Device,
) -> None:
    _write_hook(device)
    device.plug(stick_with(device, device.package(SMALL_SICK)))
    device.await_event("update.rolling_back")
    device.run("dpkg", "--force-unsafe-io", "--install", "/root/debs/caisson-next.deb", deadline_s=180)
    codes = device.codes()
    assert "media.receipt" in codes[: codes.index("daemon.stopped")]
    _assert_heard_and_lit(device)


def _write_hook(device: Device) -> None:
    path = "/etc/caisson/hooks.d/50-heard"
    device.machine.agent.write(path, _HOOK.encode())
    device.run("chmod", "755", path)


def _assert_heard_and_lit(device: Device) -> None:
    """The hook heard everything, and saw the stick's light when it was told that the daemon has to stop."""
    heard = dict(line.split(" ") for line in device.run("cat", _HEARD).splitlines())
    assert {"daemon.stopping", "update.rolled_back", "media.receipt", "daemon.stopped"} <= heard.keys()
    assert heard["daemon.stopping"] != "none"
