"""The status file: right for whoever reads it, at any instant."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from caissond import __version__
from caissond.model.events import Event
from caissond.model.status import DaemonState, StatusReport
from caissond.report.status import StatusFile, read_status

LOADING = Event(
    "update.loading",
    "web 1.2.3: loading",
    {"service": "web", "version": "1.2.3", "package": "a.edgepkg", "update": "0"},
)
ROLLED_BACK = Event(
    "update.rolled_back",
    "web: the old release runs again",
    {"package": "a.edgepkg", "outcome": "rolled_back"},
)


def command_on(root: Path) -> list[str]:
    return [sys.executable, "-c", "from caissond.daemon import main; main()", "--root", str(root)]


@contextmanager
def daemon_without_docker(root: Path) -> Iterator[None]:
    """A caissond that waits for Docker; at the end it is asked to stop, and does."""
    environment = {**os.environ, "DOCKER_HOST": f"unix://{root}/no-docker"}
    with subprocess.Popen(command_on(root), env=environment, stderr=subprocess.DEVNULL) as daemon:
        try:
            until = time.monotonic() + 60
            while not _waits_for_docker(root):
                assert time.monotonic() < until
                time.sleep(0.05)
            yield
        finally:
            daemon.terminate()
        assert daemon.wait(60) == 0


def _waits_for_docker(root: Path) -> bool:
    report = read_status(root / "run/caisson/status.json")
    return report is not None and report.state is DaemonState.WAITING_FOR_DOCKER


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "status.json"


@pytest.fixture
def status(path: Path, clock: Clock) -> StatusFile:
    return StatusFile(path, clock=clock)


def report(path: Path) -> StatusReport:
    report = read_status(path)
    assert report is not None
    return report


def test_reader_sees_daemon_and_state(status: StatusFile, path: Path) -> None:
    status.state(DaemonState.WAITING_FOR_DOCKER)
    seen = report(path)
    assert (seen.state, seen.text) == (DaemonState.WAITING_FOR_DOCKER, "waiting for docker")
    assert (seen.pid, seen.daemon_version) == (os.getpid(), __version__)


def test_file_names_its_schema_and_anybody_may_read_it(status: StatusFile, path: Path) -> None:
    before = os.umask(0o077)
    try:
        status.state(DaemonState.IDLE)
    finally:
        os.umask(before)
    assert json.loads(path.read_text())["schema"] == 1
    assert path.stat().st_mode & 0o777 == 0o644


def test_event_shows_its_text_and_what_it_names(status: StatusFile, path: Path) -> None:
    status.state(DaemonState.WORKING)
    status(LOADING)
    seen = report(path)
    assert (seen.text, seen.package, seen.service, seen.version) == (
        LOADING.text,
        "a.edgepkg",
        "web",
        "1.2.3",
    )


@pytest.mark.parametrize(
    ("code", "state"),
    [
        ("package.received", DaemonState.WORKING),
        ("update.recovering", DaemonState.RECOVERING),
        ("daemon.waiting", DaemonState.WAITING_FOR_DOCKER),
        ("daemon.stopping", DaemonState.STOPPING),
        ("update.loading", DaemonState.IDLE),
    ],
)
def test_event_that_changes_the_state_shows_it(
    status: StatusFile, path: Path, code: str, state: DaemonState
) -> None:
    status.state(DaemonState.IDLE)
    status(Event(code, "it happened"))
    assert report(path).state is state


def test_progress_is_written_at_most_once_a_second(status: StatusFile, path: Path, clock: Clock) -> None:
    written = []
    for tenth in range(25):
        clock.now = 10 + tenth / 10
        status.progress("loading", tenth, 100)
        progress = report(path).progress
        assert progress is not None
        written.append(progress.done_bytes)
    assert sorted(set(written)) == [0, 10, 20]


def test_new_phase_and_events_are_written_at_once(status: StatusFile, path: Path) -> None:
    status.progress("staging", 1, 100)
    status.progress("loading", 2, 100)
    assert report(path).phase == "loading"
    status.progress("loading", 99, 100)
    status(LOADING)
    assert report(path).progress is not None
    assert report(path).text == LOADING.text


def test_finished_package_becomes_the_last_one(status: StatusFile, path: Path) -> None:
    status(LOADING)
    status.progress("loading", 1, 2)
    status(ROLLED_BACK)
    seen = report(path)
    assert seen.last is not None
    assert (seen.last.package, seen.last.outcome, seen.last.code) == (
        "a.edgepkg",
        "rolled_back",
        "update.rolled_back",
    )
    assert (seen.package, seen.service, seen.phase, seen.progress) == ("", "", "", None)


def test_idle_daemon_shows_no_package_but_keeps_the_last_outcome(status: StatusFile, path: Path) -> None:
    status(ROLLED_BACK)
    status(LOADING)
    status.state(DaemonState.IDLE)
    assert report(path).package == ""
    assert report(path).last is not None


def test_folder_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    status = StatusFile(tmp_path / "gone" / "status.json")
    status.state(DaemonState.IDLE)
    status.remove()
    assert read_status(tmp_path / "gone" / "status.json") is None


def test_what_is_told_after_the_end_does_not_bring_the_file_back(status: StatusFile, path: Path) -> None:
    status.state(DaemonState.IDLE)
    status.remove()
    status(Event("hook.timed_out", "a hook took too long"))
    assert not path.exists()


def test_status_of_a_daemon_that_was_asked_to_stop_goes(tmp_path: Path) -> None:
    with daemon_without_docker(tmp_path):
        pass
    assert not (tmp_path / "run/caisson/status.json").exists()


def test_replacing_leaves_nothing_beside_the_file(status: StatusFile, path: Path) -> None:
    status.state(DaemonState.IDLE)
    status(LOADING)
    assert list(path.parent.iterdir()) == [path]
    status.remove()
    assert not path.exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"schema": 2}', b"\xff\xfe", b"[" * 100_000])
def test_unreadable_file_is_no_status(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert read_status(path) is None


def test_file_whose_meaning_has_changed_is_no_status(status: StatusFile, path: Path) -> None:
    status.state(DaemonState.IDLE)
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 2}))
    assert read_status(path) is None


def test_reader_passes_over_what_a_newer_daemon_adds(status: StatusFile, path: Path) -> None:
    status.state(DaemonState.IDLE)
    path.write_text(json.dumps({**json.loads(path.read_text()), "mood": "fine"}))
    assert report(path).state is DaemonState.IDLE


def test_second_daemon_that_is_turned_away_leaves_the_status_of_the_first(tmp_path: Path) -> None:
    with daemon_without_docker(tmp_path):
        before = (tmp_path / "run/caisson/status.json").read_bytes()
        second = subprocess.run(command_on(tmp_path), capture_output=True, text=True, timeout=60, check=False)
        assert second.returncode == 1
        assert "E-722" in second.stderr
        assert (tmp_path / "run/caisson/status.json").read_bytes() == before
