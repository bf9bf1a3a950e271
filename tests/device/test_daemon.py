"""The daemon under the real systemd: dropped packages, a daemon that hangs, an upgrade in the middle of an update."""

from fixtures.machine.device import INBOX, Device
from fixtures.machine.ready import LARGE, PACKAGES_INSIDE, SMALL

_LONG_S = 40
"""For a gate that is still open when the daemon is stopped: a program takes seconds on an emulated processor."""


def test_package_that_was_copied_by_scp_runs(device: Device) -> None:
    """By a member of the group; nobody else may read the file."""
    device.run("systemctl", "start", "ssh")
    device.run(
        "install",
        "-o",
        "technician",
        "-m",
        "600",
        f"{PACKAGES_INSIDE}/{SMALL.file_name}",
        "/home/technician/",
    )
    copy = f"scp -p -q ~/{SMALL.file_name} 127.0.0.1:{INBOX}/"
    device.run("runuser", "-l", "technician", "-c", copy)
    device.await_event("update.committed", version="1.1.0")
    assert device.version() == "1.1.0"
    device.until("the inbox is empty", lambda: device.run("ls", INBOX) == "")


def test_hung_daemon_is_started_again_and_recovers(device: Device) -> None:
    """WatchdogSec is shortened, so that nobody waits for minutes."""
    dropin = "/run/systemd/system/caissond.service.d"
    shorter = f"mkdir -p {dropin}; printf '[Service]\\nWatchdogSec=45s\\nTimeoutAbortSec=5s\\n' > {dropin}/test.conf"
    device.run("sh", "-c", f"{shorter}; systemctl daemon-reload; systemctl restart caissond")
    device.until("it is ready", device.is_settled)
    device.watch_for(_LONG_S)
    device.mark()
    device.drop(LARGE)
    device.await_event("update.checking")
    device.run("systemctl", "kill", "--kill-whom=main", "--signal=STOP", "caissond")
    device.until("systemd starts it again", lambda: _property(device, "NRestarts") == "1", 120)
    device.await_event("update.committed", version="2.0.0")
    device.until("nothing goes on", device.is_settled)
    codes = device.codes()
    assert codes.index("update.checking") < codes.index("update.recovering") < codes.index("update.committed")
    assert device.containers() == ["web example/web:2.0.0 running"]


def test_upgrade_of_the_deb_in_an_update_loses_nothing(device: Device) -> None:
    """The update is undone before a file is replaced, and has another turn afterwards."""
    device.watch_for(_LONG_S)
    device.mark()
    device.drop(LARGE)
    device.await_event("update.checking")
    device.run("dpkg", "--force-unsafe-io", "--install", "/root/debs/caisson-next.deb", deadline_s=180)
    assert device.run("dpkg-query", "--show", "--showformat=${Version}", "caisson").endswith("+next")
    device.await_event("update.committed", version="2.0.0")
    device.until("nothing goes on", device.is_settled)
    turns = ("update.checking", "update.interrupted", "daemon.stopped", "daemon.started", "update.checking")
    told = [code for code in device.codes() if code in {*turns, "update.committed"}]
    assert told == [*turns, "update.committed"]
    assert device.containers() == ["web example/web:2.0.0 running"]
    assert _property(device, "ActiveState") == "active"


def test_docker_can_be_started_again_from_the_sandbox(device: Device) -> None:
    """While caissond itself is being started, as when it settles what was cut off, and while it is being stopped."""
    dropin = "/run/systemd/system/caissond.service.d"
    python = "/usr/lib/caisson/bin/python3 -I -c"
    restart = f'{python} "from caissond.host.held_port import restart_docker as again; again()"'
    lines = f"[Service]\nExecStartPre={restart}\nExecStop={restart}\n"
    device.run("sh", "-c", f"mkdir -p {dropin}; echo '{lines}' > {dropin}/test.conf; systemctl daemon-reload")
    starts = [_docker_started(device)]
    for verb in ("stop", "start"):
        device.run("systemctl", verb, "caissond")
        starts.append(_docker_started(device))
    assert starts == sorted(set(starts))
    assert _property(device, "ActiveState") == "active"
    device.until("the service runs again", lambda: device.version() == "1.0.0")


def _docker_started(device: Device) -> int:
    return int(_property(device, "ActiveEnterTimestampMonotonic", "docker"))


def _property(device: Device, name: str, unit: str = "caissond") -> str:
    return device.run("systemctl", "show", "--value", f"--property={name}", unit).strip()


def test_sandbox_is_as_tight_as_promised(device: Device) -> None:
    """By the systemd that runs it; the threshold is in tenths. Nothing is wrong with any unit of the package."""
    scored = ("systemd-analyze", "security", "--threshold=25", "--no-pager", "caissond.service")
    print(device.run(*scored, deadline_s=120).splitlines()[-1])
    units = [path for path in device.run("dpkg", "-L", "caisson").splitlines() if "/systemd/system/" in path]
    assert "/usr/lib/systemd/system/caissond.service" in units
    verified = device.machine.try_("systemd-analyze", "verify", "--man=no", *units, deadline_s=120)
    assert (verified.status, verified.out, verified.err) == (0, "", "")
