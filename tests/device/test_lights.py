"""What the lights show of the daemon itself; of updates see test_sticks.py."""

from fixtures.machine.device import Device

READY = "timer 50 2950"


def test_lights_go_out_with_the_daemon(device: Device) -> None:
    device.until("it says ready", lambda: device.led("capslock") == READY)
    device.run("systemctl", "kill", "--signal=KILL", "--kill-whom=main", "caissond")
    device.until("all are off", lambda: {device.led(name) for name in ("capslock", "numlock")} == {"off"}, 10)
