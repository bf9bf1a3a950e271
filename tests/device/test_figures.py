"""What the daemon costs and how quick it is, on the device. The figures are printed.

An emulated processor is slower, and the limit of what is waited for is for one that is not: so both do the same work
first, and the time on the device is divided by how many times longer it took there. All else is taken as it is.
"""

import subprocess
import time

from fixtures.machine.device import Device
from fixtures.machine.ready import LARGE, SMALL
from fixtures.machine.recipe import Suite
from tests.device.sticks import stick_with

IDLE_S = 60
"""Holds one rescan of the inbox (`rescan_secs`)."""
IDLE_TRIES = 3
"""Machines beside this one make its processor slower, and what it does look dearer."""
MAX_CPU_SHARE = 0.002
MAX_RESIDENT_MIB = 55
MAX_AFTER_UPDATE_MIB = {Suite.BOOKWORM: MAX_RESIDENT_MIB, Suite.TRIXIE: 60}
"""Debian 13's Python takes 2 MiB more (docs/device-tests.md)."""
MAX_NOTICE_S = 1.5
MAX_WAIT_S = 10
"""However slow the processor is: what only waits does not wait longer there."""
_WORK = (
    "import time; s = time.process_time(); [str(n) for n in range(200_000)]; print(time.process_time() - s)"
)


def test_stick_is_looked_at_soon(device: Device) -> None:
    """From the moment that udev is done with it."""
    device.plug(stick_with(device, device.package(SMALL)))
    received = device.await_event("package.received")
    told_us = int(received["__MONOTONIC_TIMESTAMP"])
    settled = device.run(
        "systemctl", "show", "--value", "--property=ActiveEnterTimestampMonotonic", "dev-sda1.device"
    )
    notice_s = (told_us - int(settled)) / 1e6
    slower = _times_slower(device)
    print(f"plug to validating: {notice_s:.2f} s on a processor {slower:.1f} times slower")
    assert notice_s / slower <= MAX_NOTICE_S
    assert notice_s <= MAX_WAIT_S


def test_idle_daemon_costs_next_to_nothing(device: Device) -> None:
    """Once all of its code was run: an emulated processor translates it before (docs/device-tests.md)."""
    device.run("sleep", str(IDLE_S), deadline_s=2 * IDLE_S)
    for _ in range(IDLE_TRIES):
        share = _idle_share(device)
        print(f"idle: {share:.3%} of the processor")
        if share <= MAX_CPU_SHARE:
            return
    raise AssertionError(f"the idle daemon takes {share:.3%} of the processor")


def _idle_share(device: Device) -> float:
    """The part of a processor that the daemon takes in a minute."""
    pid = _pid(device)
    before_s, at = _cpu_s(device, pid), time.monotonic()
    device.run("sleep", str(IDLE_S), deadline_s=2 * IDLE_S)
    return (_cpu_s(device, pid) - before_s) / (time.monotonic() - at)


def test_idle_daemon_is_small_before_and_after_an_update(device: Device) -> None:
    """A signed one: what it takes to check it is imported late, and stays."""
    before_mib = _resident_mib(device)
    device.drop(LARGE)
    device.await_event("update.committed", version="2.0.0")
    device.until("nothing goes on", device.is_settled)
    after_mib = _resident_mib(device)
    print(f"idle: {before_mib:.1f} MiB resident, {after_mib:.1f} MiB after an update")
    assert before_mib <= MAX_RESIDENT_MIB
    assert after_mib <= MAX_AFTER_UPDATE_MIB[device.ready.recipe.suite]


def _resident_mib(device: Device) -> float:
    return int(device.run("grep", "VmRSS", f"/proc/{_pid(device)}/status").split()[1]) / 1024


def _pid(device: Device) -> str:
    return device.run("systemctl", "show", "--value", "--property=MainPID", "caissond").strip()


def _times_slower(device: Device) -> float:
    """How many times longer Python works there than here; the quickest of three each."""
    program = ("/usr/bin/python3", "-I", "-c", _WORK)
    there = min(float(device.run(*program)) for _ in range(3))
    here = min(float(subprocess.check_output(program)) for _ in range(3))
    return there / here


def _cpu_s(device: Device, pid: str) -> float:
    """Of the process and of what it has started and waited for (proc(5): utime, stime, cutime, cstime, in ticks)."""
    fields = device.run("cat", f"/proc/{pid}/stat").rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / 100
