"""The status file: what goes on right now, for `caisson status` and for other programs.

It is a courtesy on a tmpfs: replaced atomically, so that a reader never sees half of it, never synced, and a failure to
write it is passed over.
"""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from caissond import __version__
from caissond.model.events import Event
from caissond.model.records import Outcome
from caissond.model.status import DaemonState, LastPackage, PhaseProgress, StatusReport
from caissond.model.text import printable

PROGRESS_INTERVAL_S = 1.0
MAX_BYTES = 65_536

_NAMED = frozenset({"package", "service", "version"})
_NO_PACKAGE = {"package": "", "service": "", "version": "", "phase": "", "progress": None}

_STATES = {
    "package.received": DaemonState.WORKING,
    "update.recovering": DaemonState.RECOVERING,
    "daemon.waiting": DaemonState.WAITING_FOR_DOCKER,
    "daemon.stopping": DaemonState.STOPPING,
}


class StatusFile:
    """Keeps the file up to date. A sink of events (`status`), and of progress (`status.progress`)."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._written_at = -PROGRESS_INTERVAL_S
        self._is_over = False
        self._report = StatusReport(
            pid=os.getpid(),
            daemon_version=__version__,
            state=DaemonState.STARTING,
            updated_at=datetime.now(UTC),
        )

    def state(self, state: DaemonState, text: str = "") -> None:
        """The daemon's state has changed; one in which no package is handled forgets the package."""
        working = state in (DaemonState.WORKING, DaemonState.RECOVERING)
        changes: dict[str, object] = {"state": state, "text": printable(text or state.words)}
        self._change(changes if working else {**_NO_PACKAGE, **changes})

    def __call__(self, event: Event) -> None:
        """Show an event, the state it means, the package, service and version it names, and how it ended for it."""
        changes: dict[str, object] = {"text": event.text}
        changes |= {name: value for name, value in event.fields.items() if name in _NAMED}
        if event.code in _STATES:
            changes["state"] = _STATES[event.code]
        if outcome := event.fields.get("outcome"):
            changes |= {**_NO_PACKAGE, "last": _last(event, Outcome(outcome))}
        self._change(changes)

    def progress(self, phase: str, done_bytes: int, total_bytes: int) -> None:
        """Show how far a phase is: at once when the phase is new, else at most once a second."""
        progress = PhaseProgress(done_bytes=done_bytes, total_bytes=total_bytes)
        self._change({"phase": phase, "progress": progress}, throttled=phase == self._report.phase)

    def remove(self) -> None:
        """The daemon ends: nobody is to read what was. What is told after that does not bring it back."""
        with self._lock, suppress(OSError):
            self._is_over = True
            self._path.unlink()

    def _change(self, changes: dict[str, object], *, throttled: bool = False) -> None:
        with self._lock:
            self._report = self._report.model_copy(update={**changes, "updated_at": datetime.now(UTC)})
            now = self._clock()
            if self._is_over or (throttled and now - self._written_at < PROGRESS_INTERVAL_S):
                return
            self._written_at = now
            with suppress(OSError):
                _replace(self._path, self._report.model_dump_json(by_alias=True, indent=1) + "\n")


def _last(event: Event, outcome: Outcome) -> LastPackage:
    package = event.fields.get("package", "")
    return LastPackage(package=package, outcome=outcome, code=event.code, at=datetime.now(UTC))


def _replace(path: Path, text: str) -> None:
    new = path.with_name(f".{path.name}.new")
    with new.open("w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(text)
    new.replace(path)


def read_status(path: Path) -> StatusReport | None:
    """What the daemon said last; None where there is nothing that can be understood.

    This does **not** say that the daemon runs: one that was killed leaves its file behind.
    """
    try:
        with path.open("rb") as file:
            return StatusReport.model_validate_json(file.read(MAX_BYTES))
    except (OSError, ValidationError):
        return None
