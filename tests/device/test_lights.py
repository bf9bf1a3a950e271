"""What the lights and the console show of an update, on LEDs and a serial line of the kernel."""

from fixtures.machine.device import Device
from fixtures.machine.ready import SMALL, SMALL_SICK
from tests.device.sticks import stick_with


def test_lights_tell_a_success_and_that_the_stick_may_go(device: Device) -> None:
    device.plug(stick_with(device, device.package(SMALL)))
    device.await_event("package.received")
    device.until("it flickers: do not remove", lambda: device.led("numlock").startswith("timer"))
    device.await_event("media.done")
    device.until("it is on: a success", lambda: device.led("capslock") == "on")
    assert device.led("scrolllock") == "off"


def test_lights_tell_that_an_update_was_undone(device: Device) -> None:
    device.plug(stick_with(device, device.package(SMALL_SICK)))
    device.await_event("update.rolled_back")
    device.until("three flashes", lambda: device.led("scrolllock").startswith("pattern"))


def test_lights_go_out_with_the_daemon(device: Device) -> None:
    device.until("it says ready", lambda: device.led("capslock").startswith(("pattern", "timer")))
    device.run("systemctl", "kill", "--signal=KILL", "--kill-whom=main", "caissond")
    device.until("all are off", lambda: {device.led(name) for name in ("capslock", "numlock")} == {"off"}, 10)


def test_console_has_a_line_for_each_event(device: Device) -> None:
    device.plug(stick_with(device, device.package(SMALL)))
    device.await_event("update.committed")
    device.until("the line", lambda: "the service runs the new release" in device.machine.console.read_text())
