"""Packages on media of a running caissond: real mounts, read-only for us, that come and go."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from caissond.model.records import Outcome
from caissond.update.order import MOST_OTHERS
from fixtures.packages import PLATFORM
from tests.docker.daemon_process import DaemonProcess, caissond
from tests.docker.rig import CRASHES, PATIENT_S, Rig

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


class Stick:
    """A filesystem in memory, at a place where media are mounted."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def plug(self, *packages: Path, read_only: bool = False) -> None:
        """Filled elsewhere, then moved to its place at once, as a stick appears."""
        outside = self.place.parent.parent / "stick-elsewhere"
        for folder in (outside, self.place):
            folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "stick", outside], check=True)
        for package in packages:
            (outside / package.name).write_bytes(package.read_bytes())
        if read_only:
            subprocess.run(["mount", "-o", "remount,ro", outside], check=True)
        subprocess.run(["mount", "--move", outside, self.place], check=True)
        outside.rmdir()

    def pull(self) -> None:
        """The mount is gone, whoever has a file open on it."""
        subprocess.run(["umount", "--lazy", self.place], check=True)

    def content(self) -> dict[str, tuple[bytes, int, int]]:
        """Every file, with the times that a write would change."""
        return {
            str(path): (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ctime_ns)
            for path in self.place.rglob("*")
        }


@pytest.fixture
def quick(rig: Rig) -> Rig:
    rig.write_catalog(kind="running", stable_secs=0.3)
    rig.run_old(restart_policy={"Name": "always"})
    return rig


@pytest.fixture
def stick(quick: Rig) -> Iterator[Stick]:
    stick = Stick(quick.paths.media / "stick")
    yield stick
    while os.path.ismount(stick.place):
        stick.pull()


def wait_until_done(daemon: DaemonProcess) -> None:
    """Said while the gate of the last package runs yet."""
    daemon.wait_until_logged("stick: may be removed")
    daemon.wait_until_idle()


@pytest.mark.parametrize(
    ("early", "read_only"), [(False, False), (True, True)], ids=["plugged in", "there at start"]
)
def test_package_on_a_medium_is_applied_and_nothing_on_it_is_touched(
    quick: Rig, stick: Stick, early: bool, read_only: bool
) -> None:
    package = quick.package("1.1.0")
    if early:
        stick.plug(package, read_only=read_only)
    with caissond(quick.root, quick.host) as daemon:
        if not early:
            daemon.wait_until_logged("is ready")
            stick.plug(package, read_only=read_only)
        before = stick.content()
        wait_until_done(daemon)
        assert "stick: plugged in, looking at it" in daemon.log()
        assert daemon.stop() == 0
    assert (quick.release(), stick.content()) == ("1.1.0", before)


def test_medium_left_in_does_nothing_new_after_a_restart(quick: Rig, stick: Stick) -> None:
    stick.plug(quick.package("1.1.0"), quick.package("1.0.5"))
    with caissond(quick.root, quick.host) as daemon:
        wait_until_done(daemon)
        daemon.stop()
    before, known = quick.container().id, len(quick.device().history.newest())
    with caissond(quick.root, quick.host) as daemon:
        wait_until_done(daemon)
        assert daemon.log().count("had its turn before") == 2
        daemon.stop()
    assert (quick.container().id, len(quick.device().history.newest())) == (before, known)


def test_medium_that_is_put_in_again_does_nothing_new(quick: Rig, stick: Stick) -> None:
    quick.write_catalog(kind="running", stable_secs=PATIENT_S)
    package = quick.package("2.0.0", quick.image("2.0.0", cmd=CRASHES))
    stick.plug(package)
    with caissond(quick.root, quick.host) as daemon:
        wait_until_done(daemon)
        stick.pull()
        daemon.wait_until_logged("stick: removed")
        stick.plug(package)
        daemon.wait_until_logged("had its turn before")
        daemon.stop()
    (verdict,) = quick.device().history.newest()
    assert (verdict.outcome, quick.release()) == (Outcome.ROLLED_BACK, "1.0.0")


def test_refused_package_gets_another_turn_when_the_settings_change(quick: Rig, stick: Stick) -> None:
    settings = quick.paths.config.read_text()
    quick.write_settings("")
    stick.plug(quick.package("1.1.0"))
    with caissond(quick.root, quick.host) as daemon:
        wait_until_done(daemon)
        daemon.stop()
    quick.write_settings(settings)
    with caissond(quick.root, quick.host) as daemon:
        wait_until_done(daemon)
        daemon.stop()
    assert quick.release() == "1.1.0"
    codes = [verdict.code for verdict in quick.device().history.newest()]
    assert codes == ["", "trust.no_signers"]


def test_packages_for_other_devices_are_passed_over_and_not_refused(quick: Rig, stick: Stick) -> None:
    image = quick.image("1.1.0")
    stick.plug(
        quick.package("1.1.0", image),
        quick.package("3.0.0", image, name="a.edgepkg", service="other"),
        quick.package("3.0.0", image, name="b.edgepkg", revision="2"),
        quick.package("3.0.0", image, name="c.edgepkg", platform="linux/s390x"),
    )
    with caissond(quick.root, quick.host) as daemon:
        wait_until_done(daemon)
        assert quick.release() == "1.1.0"
        assert [f"{name}.edgepkg: passed over" in daemon.log() for name in "abc"] == [True] * 3
        assert "refused" not in daemon.log()
        daemon.stop()
    assert [verdict.outcome for verdict in quick.device().history.newest()] == [Outcome.SUCCEEDED]
    assert len(list(quick.paths.receipts.glob("*.txt"))) == 1


def test_stick_full_of_packages_for_other_devices_is_told_in_few_lines(quick: Rig, stick: Stick) -> None:
    image = quick.image("1.1.0")
    others = [
        quick.package("3.0.0", image, name=f"{number}.edgepkg", service="other")
        for number in range(MOST_OTHERS + 5)
    ]
    stick.plug(quick.package("1.1.0", image), *others)
    with caissond(quick.root, quick.host) as daemon:
        wait_until_done(daemon)
        assert "stick: 5 more packages are for other devices" in daemon.log()
        assert daemon.log().count("passed over") + daemon.log().count("had its turn") == MOST_OTHERS
        daemon.stop()
    assert quick.release() == "1.1.0"


def test_older_package_on_another_stick_is_passed_over_and_not_refused(quick: Rig, stick: Stick) -> None:
    second = Stick(quick.paths.media / "second")
    stick.plug(quick.package("1.2.0"))
    second.plug(quick.package("1.1.0"))
    try:
        with caissond(quick.root, quick.host) as daemon:
            wait_until_done(daemon)
            daemon.wait_until_logged("second: may be removed")
            assert "1.2.0 was there too" in daemon.log()
            assert "refused" not in daemon.log()
            daemon.stop()
    finally:
        second.pull()
    assert quick.release() == "1.2.0"


@pytest.mark.parametrize("moment", ["looking at it", "watching it"])
def test_medium_pulled_out_in_the_middle_is_an_ordinary_event(quick: Rig, stick: Stick, moment: str) -> None:
    stick.plug(quick.package("1.1.0"))
    with caissond(quick.root, quick.host) as daemon:
        daemon.wait_until_logged(moment)
        stick.pull()
        daemon.wait_until_logged("stick: removed")
        package = quick.package("1.2.0")
        package.rename(quick.paths.inbox / package.name)
        daemon.wait_until_handled()
        assert "Traceback" not in daemon.log()
        assert daemon.stop() == 0
    assert (quick.release(), quick.containers()) == ("1.2.0", [quick.name])


def test_file_that_is_copied_to_a_medium_is_waited_for(quick: Rig, stick: Stick) -> None:
    content = quick.package("1.1.0").read_bytes()
    stick.plug()
    with caissond(quick.root, quick.host) as daemon:
        daemon.wait_until_logged("stick: plugged in")
        path = stick.place / "late.edgepkg"
        path.write_bytes(content[: len(content) // 2])
        time.sleep(1.5)
        path.write_bytes(content)
        assert "refused" not in daemon.log()
        daemon.process.send_signal(signal.SIGHUP)  # nobody tells of files on a medium; looking again does
        wait_until_done(daemon)
        daemon.stop()
    assert quick.release() == "1.1.0"


def test_short_file_on_a_read_only_medium_is_told_at_once_and_once(
    quick: Rig, stick: Stick, tmp_path: Path
) -> None:
    quick.write_settings("[trust]\nallow_unsigned = true\n[inbox]\nincomplete_secs = 3600\n")
    short = tmp_path / "short.edgepkg"
    content = quick.package("1.1.0").read_bytes()
    short.write_bytes(content[: len(content) // 2])
    stick.plug(short, read_only=True)
    with caissond(quick.root, quick.host) as daemon:
        daemon.wait_until_logged("short.edgepkg: stays incomplete")
        time.sleep(2)
        assert daemon.log().count("stays incomplete") == 1
        daemon.stop()
    assert quick.release() == "1.0.0"


def test_media_roots_are_served_too(quick: Rig, tmp_path: Path) -> None:
    roots = tmp_path / "udisks"
    quick.write_settings(f'[trust]\nallow_unsigned = true\n[media]\nroots = ["{roots}"]\n')
    other = Stick(roots / "engineer" / "stick")
    with caissond(quick.root, quick.host) as daemon:
        daemon.wait_until_logged("is ready")
        try:
            other.plug(quick.package("1.1.0"))
            wait_until_done(daemon)
        finally:
            other.pull()
        daemon.stop()
    assert quick.release() == "1.1.0"


def test_mounts_elsewhere_are_none_of_our_business(quick: Rig, tmp_path: Path) -> None:
    other = Stick(tmp_path / "elsewhere/stick")
    with caissond(quick.root, quick.host) as daemon:
        daemon.wait_until_logged("is ready")
        try:
            other.plug(quick.package("1.1.0"))
            time.sleep(2.5)
        finally:
            other.pull()
        assert "stick" not in daemon.log()
        daemon.stop()
    assert quick.release() == "1.0.0"


def test_stick_may_be_pulled_while_the_gate_runs(quick: Rig, stick: Stick) -> None:
    quick.write_catalog(kind="running", stable_secs=4)
    stick.plug(quick.package("1.1.0"), read_only=True)
    with caissond(quick.root, quick.host) as daemon:
        daemon.wait_until_logged("stick: may be removed")
        assert "the service runs the new release" not in daemon.log()
        stick.pull()
        daemon.wait_until_logged("the service runs the new release")
        daemon.wait_until_logged("stick: removed")
        assert "is wanted again" not in daemon.log()
        assert daemon.stop() == 0
    assert (quick.release(), quick.containers()) == ("1.1.0", [quick.name])


def test_receipt_and_inventory_are_on_the_stick_before_it_may_be_removed(quick: Rig, stick: Stick) -> None:
    quick.write_settings("[trust]\nallow_unsigned = true\n[media]\nreceipts = true\n")
    request = quick.folder / "caisson-inventory"
    request.touch()
    stick.plug(quick.package("1.1.0"), request)
    with caissond(quick.root, quick.host) as daemon:
        daemon.wait_until_logged("stick: may be removed")
        (folder,) = (stick.place / "caisson-receipts").iterdir()
        (text,) = (path.read_text() for path in folder.glob("2*-1.1.0.txt"))
        inventory = json.loads((folder / "inventory.json").read_text())
        assert daemon.stop() == 0
    assert text.startswith(f"UPDATED: {quick.name} now runs version 1.1.0")
    (service,) = inventory["services"]
    layers = quick.client.images.get(quick.reference("1.1.0")).attrs["RootFS"]["Layers"]
    assert (service["version"], service["layers"]) == ("1.1.0", layers)
    assert inventory["engine"]["platform"] == PLATFORM
