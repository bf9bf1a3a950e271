"""The console: one line for each event on a terminal, for whoever stands in front of the device.

It never waits for the terminal: what does not fit into it is lost. It is opened anew after an error, and never becomes
our controlling terminal.
"""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from caissond.model.events import Event, Severity
from caissond.model.settings import ConsoleSettings
from caissond.model.text import printable
from caissond.report.journal import line_for

LINE_LIMIT = 1500
_FLAGS = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

Tell = Callable[[str, str], object]
"""Told a code and a text."""


def console_line(event: Event, at: str) -> str:
    """Time, number and text; the number only where somebody may want to say it over the phone, as in the log."""
    number = event.spec.spoken if event.spec.severity <= Severity.WARNING else ""
    return printable(f"{at}  {number:5}  {line_for(event)}", limit=LINE_LIMIT)


class Console:
    """A sink of events. From any thread."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._path = ""
        self._severity = Severity.NOTICE
        self._terminal: int | None = None
        self._told = False
        self._tell: Tell = lambda _code, _text: None

    def configure(self, settings: ConsoleSettings, tell: Tell) -> None:
        """Take over settings."""
        with self._lock:
            self._close()
            self._path = settings.tty or ""
            self._severity = Severity[settings.severity.upper()]
            self._told = False
            self._tell = tell

    def __call__(self, event: Event) -> None:
        if not self._path or event.spec.severity > self._severity:
            return
        at = time.strftime("%H:%M:%S", time.localtime(self._clock()))
        problem = self._write(f"{console_line(event, at)}\r\n".encode(errors="replace"))
        if problem:
            self._tell("console.failed", f"cannot write to the console {self._path}: {problem}")

    def close(self) -> None:
        with self._lock:
            self._close()

    def _write(self, line: bytes) -> str:
        """Write, if need be to the terminal opened anew; the problem with it where that is news."""
        with self._lock:
            for _ in range(2):
                try:
                    os.write(self._open(), line)
                except BlockingIOError:  # nobody reads, or Ctrl-S: the line is lost, the update goes on
                    return ""
                except OSError as exc:
                    self._close()
                    problem = exc.strerror or str(exc)
                else:
                    self._told = False
                    return ""
            is_news, self._told = not self._told, True
            return problem if is_news else ""

    def _open(self) -> int:
        """
        Raises:
            OSError: it is not there, or is no terminal.
        """
        if self._terminal is None:
            self._terminal = os.open(self._path, _FLAGS)
            if not os.isatty(self._terminal):
                raise OSError("it is no terminal")
        return self._terminal

    def _close(self) -> None:
        if self._terminal is not None:
            with suppress(OSError):
                os.close(self._terminal)
        self._terminal = None
