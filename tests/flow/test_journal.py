"""Our events in a real journal: journald in a mount namespace of its own, read back with journalctl.

It runs as `systemd-journald caisson`: such a second instance reads neither /dev/kmsg nor the kernel's audit, so the
machine's own journal, where there is one, is left alone. Its /run and /var/log are private and go with the namespace.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from caissond.model.events import EVENTS
from caissond.report.bus import Bus
from caissond.report.journal import JournalSink
from caissond.report.tables import CATALOG, ROOT

JOURNALD = Path("/lib/systemd/systemd-journald")
NAMESPACE = "caisson"
DEADLINE_S = 60.0
_MOUNTS = "mount -t tmpfs none /run && mount -t tmpfs none /var/log && mkdir -p /run/systemd /var/log/journal"


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline, "journald did not do its part in time"
        time.sleep(0.02)


class Journald:
    """A journald that can be stopped and started again on the same journal."""

    def __init__(self, holder: subprocess.Popen[bytes]) -> None:
        self._holder = holder
        self._root = Path(f"/proc/{holder.pid}/root")
        self._daemon: subprocess.Popen[bytes] | None = None
        self.socket = self._root / f"run/systemd/journal.{NAMESPACE}/socket"

    def start(self) -> None:
        self.socket.unlink(missing_ok=True)
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        enter = ["nsenter", f"--target={self._holder.pid}", "--mount", *user]
        self._daemon = subprocess.Popen([*enter, str(JOURNALD), NAMESPACE], stderr=subprocess.DEVNULL)
        wait_until(lambda: self.socket.is_socket() and self._folder() is not None)

    def kill(self) -> None:
        if self._daemon is not None:
            self._daemon.send_signal(signal.SIGKILL)
            self._daemon.wait()
            self._daemon = None

    def read(self, *arguments: str) -> str:
        """What journalctl prints of caissond's lines."""
        return journalctl("--directory", str(self._folder()), "-t", "caissond", *arguments)

    def _folder(self) -> Path | None:
        return next((self._root / "var/log/journal").glob(f"*.{NAMESPACE}"), None)

    def entries(self, count: int) -> list[dict[str, str]]:
        """Caissond's entries, once there are that many."""
        wait_until(lambda: len(self.read("-o", "json").splitlines()) >= count)
        return [json.loads(line) for line in self.read("-o", "json").splitlines()]


def journalctl(*arguments: str) -> str:
    command = ["journalctl", "--no-pager", "--quiet", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def journald() -> Iterator[Journald]:
    if not JOURNALD.exists():
        pytest.skip("systemd-journald is not installed")
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    command = ["unshare", "--mount", *user, "sh", "-c", f"{_MOUNTS} && echo && exec cat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"\n", "cannot make a mount namespace"
        journald = Journald(holder)
        try:
            journald.start()
            yield journald
        finally:
            journald.kill()
            holder.kill()


@pytest.fixture
def bus(journald: Journald) -> Iterator[Bus]:
    sink = JournalSink(journald.socket)
    yield Bus([sink])
    sink.close()


def test_event_can_be_found_in_the_journal_by_its_fields(journald: Journald, bus: Bus) -> None:
    bus.tell("package.updater_too_old", package="x.edgepkg", update="0a1b")
    (entry,) = journald.entries(1)
    spec = EVENTS["package.updater_too_old"]
    assert entry["MESSAGE"] == f"E-214 x.edgepkg: the package needs a newer Caisson ({spec.hint})"
    assert (entry["PRIORITY"], entry["MESSAGE_ID"], entry["_PID"]) == ("3", spec.message_id, str(os.getpid()))
    assert journald.read("CAISSON_NUMBER=E-214", "CAISSON_PACKAGE=x.edgepkg", "CAISSON_UPDATE=0a1b")
    assert not journald.read("-p", "crit")


def test_journal_of_an_update_reads_like_a_story(journald: Journald, bus: Bus) -> None:
    bus.tell("package.received", package="web-1.2.3.edgepkg")
    bus.tell("update.started", service="web", version="1.2.3")
    bus.tell("update.rolled_back", service="web", version="1.2.3")
    journald.entries(3)
    assert journald.read("-o", "cat").splitlines() == [
        "web-1.2.3.edgepkg: a package came in",
        "web 1.2.3: an update begins",
        "E-628 web 1.2.3: the service runs its old release again (nothing needs to be done at the device)",
    ]


def test_nothing_told_while_journald_was_down_is_lost(journald: Journald, bus: Bus) -> None:
    bus.tell("package.received", "first")
    journald.entries(1)
    journald.kill()
    bus.tell("package.received", "second")
    journald.start()
    bus.tell("package.received", "third")
    assert [entry["MESSAGE"] for entry in journald.entries(3)] == ["first", "second", "third"]


def test_long_text_arrives_cut(journald: Journald, bus: Bus) -> None:
    bus.tell("daemon.failed", "z" * 1_000_000, detail="y" * 1_000_000)
    (entry,) = journald.entries(1)
    assert 500 < len(entry["MESSAGE"]) < 2_000
    assert entry["CAISSON_DETAIL"].endswith("y…")


@pytest.fixture
def catalog_root(tmp_path: Path) -> Path:
    """A root into which the catalog was installed, compiled by systemd's own parser."""
    folder = tmp_path / "usr/lib/systemd/catalog"
    folder.mkdir(parents=True)
    (folder / CATALOG.name).write_bytes((ROOT / CATALOG).read_bytes())
    journalctl(f"--root={tmp_path}", "--update-catalog")
    return tmp_path


def test_systemd_lists_every_event_of_our_catalog(catalog_root: Path) -> None:
    listed = journalctl(f"--root={catalog_root}", "--list-catalog").splitlines()
    wanted = {f"{spec.message_id} Caisson: {spec.sentence.removesuffix('.')}" for spec in EVENTS.values()}
    assert set(listed) == wanted


def test_catalog_entry_says_number_and_hint(catalog_root: Path) -> None:
    spec = EVENTS["trust.unsigned"]
    shown = journalctl(f"--root={catalog_root}", "--dump-catalog", spec.message_id)
    assert f"{spec.sentence} This is E-401, trust.unsigned." in shown
    assert f"What to do: {spec.hint}." in shown
