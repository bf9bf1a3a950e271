"""caissond and caisson with LEDs, a console and hooks, on a real engine."""

import os
import pty
import select
import tty
from pathlib import Path

from tests.docker.daemon_process import caissond
from tests.docker.rig import Rig
from tests.docker.test_cli import Command


def prepare(rig: Rig, settings: str = "") -> None:
    """A service with a gate of a moment, that runs 1.0.0."""
    rig.write_settings(f"[trust]\nallow_unsigned = true\n{settings}")
    rig.write_catalog(kind="running", stable_secs=0.3)
    rig.run_old(restart_policy={"Name": "always"})


def drop(rig: Rig, version: str) -> None:
    package = rig.package(version)
    rig.paths.inbox.mkdir(parents=True, exist_ok=True)
    package.rename(rig.paths.inbox / package.name)


def add_hook(rig: Rig, script: str) -> None:
    rig.paths.hooks.mkdir(mode=0o755, exist_ok=True)
    hook = rig.paths.hooks / "10-hook"
    hook.write_text(f"#!/bin/sh\n{script}\n")
    hook.chmod(0o755)


def add_led(rig: Rig) -> Path:
    led = rig.paths.leds / "status"
    led.mkdir(parents=True)
    files = {"trigger": "[none] timer heartbeat pattern", "max_brightness": "1", "brightness": "1"}
    for name, content in {**files, "delay_on": "", "delay_off": "", "pattern": ""}.items():
        (led / name).write_text(content)
    return led


def test_led_tells_idle_success_and_that_the_daemon_ended(rig: Rig) -> None:
    led = add_led(rig)
    prepare(rig, '[leds]\nstatus = "status"\n')
    rig.write_catalog(kind="running", stable_secs=3)  # at work for long enough to be seen

    def shows(trigger: str, file: str = "", value: str = "") -> bool:
        wanted = {"trigger": trigger} | ({file: value} if file else {})
        return all((led / name).read_text() == content for name, content in wanted.items())

    with caissond(rig.root, rig.host) as daemon:
        daemon.wait_for("idle", lambda: shows("timer", "delay_off", "2950"))
        drop(rig, "1.1.0")
        daemon.wait_for("working", lambda: shows("heartbeat"))
        daemon.wait_for("success", lambda: shows("none", "brightness", "1"))
        assert daemon.stop() == 0
    assert shows("none", "brightness", "0")


def test_settings_read_again_move_the_led(rig: Rig) -> None:
    led = add_led(rig)
    prepare(rig)
    with caissond(rig.root, rig.host) as daemon:
        daemon.wait_until_logged("is ready")
        rig.write_settings('[trust]\nallow_unsigned = true\n[leds]\nstatus = "status"\n')
        daemon.process.send_signal(1)
        daemon.wait_for("idle", lambda: (led / "delay_on").read_text() == "50")


def test_device_that_was_told_nothing_says_so_on_its_led_and_in_the_log(rig: Rig) -> None:
    led = add_led(rig)
    prepare(rig)
    rig.write_settings('[leds]\nstatus = "status"\n')
    with caissond(rig.root, rig.host) as daemon:
        daemon.wait_until_logged("E-850")
        daemon.wait_for("two flashes", lambda: "2600" in (led / "pattern").read_text())


def test_console_shows_the_update_and_its_end(rig: Rig) -> None:
    master, slave = pty.openpty()
    tty.setraw(slave)
    prepare(rig, f'[console]\ntty = "{os.ttyname(slave)}"\n')
    with caissond(rig.root, rig.host) as daemon:
        drop(rig, "1.1.0")
        daemon.wait_until_handled()
        daemon.stop()
    shown = b""
    while b"stopped" not in shown:
        assert select.select([master], [], [], 60)[0]  # what was written there may be on its way yet
        shown += os.read(master, 65_536)
    lines = [line[10:].strip() for line in shown.decode().splitlines()]
    os.close(slave)
    os.close(master)
    assert f"{rig.name} 1.1.0: the service runs the new release" in lines


def test_daemon_tells_hooks_everything_from_start_to_end_and_obeys_their_no(rig: Rig) -> None:
    log = rig.folder / "hook.log"
    prepare(rig)
    add_hook(rig, f'echo "$CAISSON_CODE" >>{log}; [ "$CAISSON_CODE" != update.before ] || exit 1')
    with caissond(rig.root, rig.host) as daemon:
        drop(rig, "1.1.0")
        daemon.wait_until_handled()
        assert "E-831" in daemon.log()
        assert daemon.stop() == 0
    told = log.read_text().split()
    assert {"package.received", "package.accepted", "update.before", "daemon.started"} <= set(told)
    assert told[-1] == "daemon.stopped"
    assert rig.release() == "1.0.0"


def test_command_line_asks_the_hooks_too(rig: Rig) -> None:
    prepare(rig)
    caisson = Command(rig)
    package = rig.package("1.1.0")
    add_hook(rig, '[ "$CAISSON_CODE" != update.before ] || { echo production runs; exit 75; }')
    code, verdict = caisson.json("package", "load", package, "--yes")
    assert (code, verdict["code"]) == (6, "hook.later")
    assert "production runs" in verdict["message"]
    add_hook(rig, '[ "$CAISSON_CODE" != update.before ] || exit 1')
    code, verdict = caisson.json("package", "load", package, "--yes")
    assert (code, verdict["code"]) == (2, "hook.refused")
    add_hook(rig, "exit 0")
    assert caisson("package", "load", package, "--yes")[0] == 0


def test_device_without_a_catalog_says_so_on_the_led_that_its_settings_name(rig: Rig) -> None:
    led = add_led(rig)
    rig.write_settings('[trust]\nallow_unsigned = true\n[leds]\nstatus = "status"\n')
    rig.paths.services.unlink()
    with caissond(rig.root, rig.host) as daemon:
        daemon.wait_for("two flashes", lambda: "2600" in (led / "pattern").read_text())
        assert "E-703" in daemon.log()
