"""The seam inside a process: commits to its database and changes of its files are written to a log, and struck.

Nothing of the product is replaced. SQLite tells of each statement before it runs it (`set_trace_callback`); Python
tells of each `open`, `rename`, `unlink`, `mkdir` before it does it (`sys.addaudithook`), and what a hook raises is what
the call fails with. Not seen: `write` and `fsync` of a file that is open, and SQLite's own files.
"""

import errno
import os
import signal
import sys
from collections import Counter
from pathlib import Path

from caissond.store.database import Database
from tests.matrix.points import STRUCK, Moment, Point, name_commit, name_file
from tests.matrix.strikes import Strike

_CHANGES = frozenset({"os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.link", "os.truncate"})
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_SIGNALS = {Strike.KILL: signal.SIGKILL, Strike.TERM: signal.SIGTERM}
_ERRNOS = {
    Strike.NO_SPACE: errno.ENOSPC,
    Strike.IO_ERROR: errno.EIO,
    Strike.READ_ONLY: errno.EROFS,
}


class EventLog:
    """A file that several processes append to, a line for each event, in the order in which they happen."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def add(self, line: str) -> None:
        os.write(self._descriptor, f"{line}\n".encode())


class Trigger:
    """Counts events by name, and says when it is the point's turn."""

    def __init__(self, log: EventLog, point: Point | None) -> None:
        self._log = log
        self._point = point
        self._counts: Counter[str] = Counter()

    def count(self, name: str) -> Moment | None:
        """Note an event; the moment at which it is to be struck."""
        self._counts[name] += 1
        point = self._point
        struck = point is not None and (point.name, point.number) == (name, self._counts[name])
        self._log.add(f"{STRUCK if struck else ''}{name}")
        return point.moment if struck and point else None


class Seam:
    """Watches the process that it is installed in."""

    def __init__(self, log: EventLog, state_dir: Path, point: Point | None, strike: Strike) -> None:
        self._trigger = Trigger(log, point)
        self._state_dir = str(state_dir)
        self._strike = strike
        self._changing = ""

    def install(self) -> None:
        """Cannot be undone: for a process that ends afterwards."""
        sys.addaudithook(self._on_audit)

    def watch(self, database: Database) -> None:
        with database.read() as connection:
            connection.set_trace_callback(self._on_statement)

    def _on_statement(self, statement: str) -> None:
        if statement.startswith("COMMIT"):
            self._pass(name_commit(self._changing))
        elif statement.startswith(("INSERT", "UPDATE", "DELETE", "CREATE", "DROP")):
            self._changing = statement

    def _on_audit(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES:
            self._on_file("open", arguments[0])
        elif event in _CHANGES:
            self._on_file(event, arguments[0])

    def _on_file(self, event: str, path: object) -> None:
        """Those of the state folder; what is deleted below an open folder has but a name."""
        if not isinstance(path, (str, bytes, os.PathLike)):
            return
        text = os.fsdecode(path)
        if text.startswith(self._state_dir):
            self._pass(name_file(event, text.removeprefix(self._state_dir).lstrip("/")))
        elif not text.startswith("/"):
            self._pass(name_file(event, text))

    def _pass(self, name: str) -> None:
        if self._trigger.count(name) is None:
            return
        if self._strike in _SIGNALS:
            os.kill(os.getpid(), _SIGNALS[self._strike])
        elif self._strike in _ERRNOS:
            number = _ERRNOS[self._strike]
            raise OSError(number, os.strerror(number))
