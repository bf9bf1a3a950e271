"""What the daemon costs and how quick it is, on the device. The figures are printed.

An emulated processor is some 10 times slower: there the limits of time are ten times higher, and say little.
"""

import time

from fixtures.machine.device import Device
from fixtures.machine.ready import SMALL
from tests.device.sticks import stick_with

IDLE_S = 60
MAX_CPU_SHARE = 0.002
MAX_RESIDENT_MIB = 55
MAX_NOTICE_S = 1.5


def test_stick_is_looked_at_soon(device: Device) -> None:
    """From the moment that udev is done with it."""
    device.plug(stick_with(device, device.package(SMALL)))
    received = device.await_event("package.received")
    told_us = int(received["__MONOTONIC_TIMESTAMP"])
    settled = device.run(
        "systemctl", "show", "--value", "--property=ActiveEnterTimestampMonotonic", "dev-sda1.device"
    )
    notice_s = (told_us - int(settled)) / 1e6
    print(f"plug to validating: {notice_s:.2f} s")
    assert notice_s <= MAX_NOTICE_S * device.machine.patience


def test_idle_daemon_costs_next_to_nothing(device: Device) -> None:
    pid = device.run("systemctl", "show", "--value", "--property=MainPID", "caissond").strip()
    device.run("sleep", "10")
    before_s, at = _cpu_s(device, pid), time.monotonic()
    device.run("sleep", str(IDLE_S))
    share = (_cpu_s(device, pid) - before_s) / (time.monotonic() - at)
    resident_mib = int(device.run("sh", "-c", f"grep VmRSS /proc/{pid}/status").split()[1]) / 1024
    print(f"idle: {share:.3%} of a processor, {resident_mib:.1f} MiB resident")
    assert share <= MAX_CPU_SHARE * device.machine.patience
    assert resident_mib <= MAX_RESIDENT_MIB


def _cpu_s(device: Device, pid: str) -> float:
    """Of the process and of what it has started and waited for (proc(5): utime, stime, cutime, cstime, in ticks)."""
    fields = device.run("cat", f"/proc/{pid}/stat").rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / 100
