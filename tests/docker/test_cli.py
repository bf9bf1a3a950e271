"""The command line on a real engine, in a process of its own: the Rust tool's words, exit codes, and Ctrl-C."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from caissond.model.ids import NEW_MARK
from fixtures.images import SICK
from fixtures.packages import PLATFORM
from fixtures.raw_package import LAYER, image, package
from tests.docker.daemon_process import caissond
from tests.docker.inventory import take_inventory
from tests.docker.rig import Rig

PROGRAM = [sys.executable, "-c", "from caissond.cli.entry import main; main()"]


@dataclass
class Command:
    """`caisson --root ROOT` on the shared engine."""

    rig: Rig

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*PROGRAM, *arguments, "--root", self.rig.root],
            env={**os.environ, "DOCKER_HOST": self.rig.host},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __call__(self, *arguments: str | Path, typed: str = "") -> tuple[int, str]:
        """Its exit code, and what it wrote to standard output."""
        with self.start(*arguments) as process:
            out, err = process.communicate(typed, timeout=300)
        assert not re.search(r"Traceback|[\x1b\r]", out + err)  # nor a progress bar: nobody watches
        return process.returncode, out

    def json(self, *arguments: str | Path) -> tuple[int, Any]:
        code, out = self(*arguments, "--json")
        return code, json.loads(out)


@pytest.fixture
def caisson(rig: Rig) -> Command:
    """The command on a service that runs 1.0.0."""
    rig.write_catalog(kind="running", stable_secs=0.3)
    rig.run_old(restart_policy={"Name": "always"})
    return Command(rig)


def hold_the_gate(rig: Rig) -> None:
    """From now on who reads the catalog watches a new release until `let_through`."""
    rig.write_catalog(kind="exec", timeout_secs=600, stable_secs=0)
    with rig.paths.services.open("a") as catalog:
        catalog.write('command = ["test", "-e", "/let-through"]\n')


def let_through(rig: Rig) -> None:
    (new,) = (name for name in rig.containers() if NEW_MARK in name)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("let-through"))
    rig.client.api.put_archive(new, "/", archive.getvalue())


def wait_until_said(process: subprocess.Popen[str], words: str) -> None:
    """Read what a command writes to standard error, until this."""
    assert process.stderr is not None
    while words not in (line := process.stderr.readline()):
        assert line, f"ended without {words!r}"


def without_times(text: str) -> list[str]:
    lines = (re.sub(r"^(Started|Finished): \d{4}-\S+$", r"\1: (time)", line) for line in text.splitlines())
    return [line.rstrip() for line in lines]


def test_good_package_is_loaded_in_the_rust_tools_words(caisson: Command) -> None:
    rig = caisson.rig
    path = rig.package("1.1.0")
    code, out = caisson("package", "load", path, "--yes")
    lines = without_times(out)
    size = next(line for line in lines if line.startswith("Image archive: "))
    assert re.fullmatch(r"Image archive: image.tar \(\d+ bytes\)", size)
    lines.remove(size)
    assert (code, lines) == (0, [
        "Validating package...",
        "Package validation",
        "Status: accepted",
        f"Source package: {path}",
        f"Target service: {rig.name}",
        "Service revision: 1",
        f"Platform: {PLATFORM}",
        "Package version: 1.1.0",
        f"Target image: {rig.reference('1.1.0')}",
        "Issues: none",
        "Applying update...",
        "Update result",
        "Status: succeeded",
        f"Service: {rig.name}",
        f"Target image: {rig.reference('1.1.0')}",
        f"Previous image: {rig.reference('1.0.0')}",
        "Started: (time)",
        "Finished: (time)",
        "Issues: none",
        "Summary: the package was loaded and the service stayed healthy",
    ])  # fmt: skip
    assert (rig.release(), path.exists()) == ("1.1.0", True)


def test_package_loaded_twice_is_nothing_to_do(caisson: Command) -> None:
    path = caisson.rig.package("1.1.0")
    assert caisson("package", "load", path, "--yes")[0] == 0
    before = caisson.rig.container().id
    code, verdict = caisson.json("package", "load", path, "--yes")
    assert (code, verdict["outcome"], verdict["code"]) == (0, "nothing_to_do", "release.already_installed")
    assert caisson.rig.container().id == before


def test_unhealthy_release_exits_4_and_says_that_the_old_one_runs(caisson: Command) -> None:
    caisson.rig.write_catalog()
    path = caisson.rig.package("2.0.0", caisson.rig.image("2.0.0", healthcheck=SICK))
    code, out = caisson("package", "load", path, "--yes")
    assert (code, caisson.rig.release()) == (4, "1.0.0")
    assert "Status: rolled back" in out
    assert "- [gate.unhealthy] cannot keep the release: its health check says unhealthy (E-614)" in out
    assert "Summary: the update failed, so the service was moved back to the previous image" in out


def test_older_release_wants_the_operators_word(caisson: Command) -> None:
    rig = caisson.rig
    older = rig.package("1.0.5")
    assert caisson("package", "load", rig.package("1.1.0"), "--yes")[0] == 0
    code, verdict = caisson.json("package", "load", older, "--yes")
    assert (code, verdict["code"]) == (2, "package.downgrade")
    assert caisson("package", "load", older, "--yes", "--allow-downgrade")[0] == 0
    assert rig.release() == "1.0.5"


def test_unsigned_package_wants_the_operators_word(caisson: Command) -> None:
    caisson.rig.paths.config.unlink()
    path = caisson.rig.package("1.1.0")
    assert caisson("package", "load", path, "--yes")[0] == 2
    assert caisson("package", "load", path, "--yes", "--allow-unsigned")[0] == 0
    assert caisson.rig.release() == "1.1.0"


def test_yes_at_the_prompt_updates(caisson: Command) -> None:
    rig = caisson.rig
    code, out = caisson("package", "load", rig.package("1.1.0"), typed="yes\n")
    assert (code, rig.release()) == (0, "1.1.0")
    assert (
        f"Ready to load package\n{rig.name} -> 1.1.0\nContinue and update the service? [y/N]: Applying" in out
    )


def test_package_with_a_faulty_layer_is_refused_and_docker_is_as_it_was(caisson: Command) -> None:
    rig = caisson.rig
    catalog = rig.paths.services.read_text().replace(f'name = "{rig.name}"', 'name = "frontend"', 1)
    rig.paths.services.write_text(catalog.replace('"1"', '"r1"').replace(PLATFORM, "linux/amd64"))
    path = rig.folder / "faulty.edgepkg"
    path.write_bytes(package(image=image(layer=LAYER + bytes(512))))
    before = take_inventory(rig.client)
    code, verdict = caisson.json("package", "load", path, "--yes")
    assert (code, verdict["outcome"], verdict["code"]) == (2, "refused", "image.layer_mismatch")
    assert (take_inventory(rig.client), list(rig.paths.work.glob("*"))) == (before, [])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_ctrl_c_and_a_lost_connection_during_the_gate_roll_back(
    caisson: Command, number: signal.Signals
) -> None:
    rig = caisson.rig
    hold_the_gate(rig)
    old = rig.container().id
    with caisson.start("package", "load", rig.package("1.1.0"), "--yes") as process:
        wait_until_said(process, "watching it")
        process.send_signal(number)
        out = process.communicate(timeout=120)[0]
    assert (process.returncode, rig.release(), rig.container().id) == (4, "1.0.0", old)
    assert ("Status: rolled back" in out, "update.interrupted" in out) == (True, True)
    assert (rig.containers(), rig.private_tags()) == ([rig.name], [])


def test_load_while_the_daemon_updates_says_who_holds_the_lock(caisson: Command) -> None:
    rig = caisson.rig
    quick = rig.paths.services.read_text()
    hold_the_gate(rig)
    rig.paths.inbox.mkdir(parents=True)
    other = rig.package("1.2.0")
    package = rig.package("1.1.0")
    package.rename(rig.paths.inbox / package.name)
    with caissond(rig.root, rig.host) as daemon:
        daemon.wait_until_logged("watching it")
        with caisson.start("package", "load", other, "--yes") as process:
            err = process.communicate(timeout=120)[1]
        assert process.returncode == 1
        assert f"held by caissond, process {daemon.process.pid} [lock.busy, E-721]" in err
        assert "State: working" in caisson("status")[1]
        let_through(rig)
        daemon.wait_until_handled()
        rig.paths.services.write_text(quick)
        assert caisson("package", "load", other, "--yes")[0] == 0
        assert daemon.stop() == 0
    assert rig.release() == "1.2.0"


def test_daemon_waits_while_the_command_updates(caisson: Command) -> None:
    rig = caisson.rig
    newer = rig.package("1.2.0")
    with caissond(rig.root, rig.host) as daemon:
        daemon.wait_until_logged("is ready")
        hold_the_gate(rig)  # for the command: the daemon has read its catalog
        with caisson.start("package", "load", rig.package("1.1.0"), "--yes") as process:
            wait_until_said(process, "watching it")
            newer.rename(rig.paths.inbox / newer.name)
            daemon.wait_until_logged(f"held by caisson package load, process {process.pid}; waiting")
            let_through(rig)
            process.communicate(timeout=120)
        assert process.returncode == 0
        daemon.wait_until_handled()
        assert daemon.stop() == 0
    assert rig.release() == "1.2.0"


def test_load_settles_first_what_was_cut_off(caisson: Command) -> None:
    rig = caisson.rig
    package = rig.package("1.1.0")
    rig.paths.inbox.mkdir(parents=True)
    package.rename(rig.paths.inbox / package.name)
    with caissond(rig.root, rig.host, kill_at=12) as daemon:
        assert daemon.wait_for_death() == -9
    assert caisson("package", "load", rig.package("1.2.0"), "--yes")[0] == 0
    assert (rig.release(), rig.containers()) == ("1.2.0", [rig.name])
    _, history = caisson.json("history", "list")
    assert [(one["version"], one["outcome"]) for one in history] == [
        ("1.2.0", "succeeded"), ("1.1.0", "rolled_back"),
    ]  # fmt: skip


def test_status_shows_daemon_version_and_health(caisson: Command) -> None:
    rig = caisson.rig
    rig.write_catalog()
    assert caisson("package", "load", rig.package("1.1.0"), "--yes")[0] == 0
    with caissond(rig.root, rig.host) as daemon:
        daemon.wait_until_logged("is ready")
        daemon.wait_for("rest", lambda: '"idle"' in rig.paths.status.read_text())
        _, document = caisson.json("status")
        lines = caisson("status")[1].splitlines()
        daemon.stop()
    assert document["daemon"] == f"caissond, process {daemon.process.pid}"
    assert document["now"]["state"] == "idle"
    assert document["services"] == [
        {"name": rig.name, "version": "1.1.0", "state": "running, healthy", "last_update": "succeeded"}
    ]
    assert re.split(r"  +", lines[-1].strip()) == [rig.name, "1.1.0", "running, healthy", "succeeded"]
    assert (caisson("status")[1].splitlines()[0]) == "Daemon: not running"


def test_stopped_and_missing_services_are_shown_as_such(caisson: Command) -> None:
    caisson.rig.container().stop(timeout=1)
    assert caisson.json("status")[1]["services"][0]["state"] == "exited"
    caisson.rig.container().remove()
    assert caisson.json("status")[1]["services"][0]["state"] == "missing"


def test_history_tells_the_whole_story(caisson: Command) -> None:
    rig = caisson.rig
    _, verdict = caisson.json("package", "load", rig.package("1.1.0"), "--yes")
    _, shown = caisson.json("history", "show", verdict["update_id"][:8])
    assert (shown["outcome"], shown["version"], shown["source"]) == ("succeeded", "1.1.0", "command")
    assert [event["kind"] for event in shown["events"]][-1] == "update_committed"
    assert caisson("history", "verify") == (0, "The audit chain is intact: 8 events.\n")


def test_two_roots_on_one_engine_leave_each_other_alone(caisson: Command, tmp_path: Path) -> None:
    rig = caisson.rig
    assert caisson("package", "load", rig.package("1.1.0"), "--yes")[0] == 0
    code, verdict = caisson.json(
        "package", "load", rig.package("1.2.0"), "--yes", "--state-dir", tmp_path / "other"
    )
    assert (code, verdict["code"]) == (2, "service.claimed_elsewhere")
    assert (rig.release(), len(rig.private_tags())) == ("1.1.0", 1)
