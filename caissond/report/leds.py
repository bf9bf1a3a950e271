"""LEDs: sets the kernel's triggers by what goes on, on the LEDs that `[leds]` names.

A LED that cannot be set is told once and is never in the way. Where the socket of `caisson-leds.socket` is there, its
program writes below /sys, which the daemon's own unit may not; it turns the LEDs off when this process ends, however it
ends.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from caissond.model.events import Event
from caissond.model.settings import LedSettings
from caissond.report.led_patterns import Role, State, choose_blink, plan_writes
from caissond.report.led_states import Resting, Situation, after_event, after_rest, state_for

ANSWER_S = 1.0
START_S = 5.0
"""For the first answer: systemd starts the program then, which takes a slow device more than a second."""
SPARED_S = 10.0
"""A program that did not answer is not asked again for so long: a LED is not worth a wait at each event."""

_ANSWER_LIMIT_BYTES = 512

Tell = Callable[[str, str], object]
"""Told a code and a text."""


class Writer(Protocol):
    """Who writes to a LED's files."""

    def put(self, name: str, file: str, value: str) -> None:
        """
        Raises:
            OSError: it was not written.
        """

    def close(self) -> None: ...


class FileWriter:
    """Writes them itself."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, file: str, value: str) -> None:
        descriptor = os.open(self._folder / name / file, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
        try:
            os.write(descriptor, value.encode())
        finally:
            os.close(descriptor)

    def close(self) -> None: ...


class UnitWriter:
    """Has `packaging/caisson-leds` write them: a line of name, file and value, and one that says ok or why not."""

    def __init__(
        self, path: Path, *, spared_s: float = SPARED_S, on_connect: Callable[[], None] = lambda: None
    ) -> None:
        """
        Args:
            on_connect: called for each new program. The one before has turned off what it had set.
        """
        self._path = str(path)
        self._spared_s = spared_s
        self._on_connect = on_connect
        self._connection: socket.socket | None = None
        self._owed = 0
        """Answers that did not come in time. They come once the program is up: on a slow device that takes a while."""
        self._spared_until = 0.0

    def put(self, name: str, file: str, value: str) -> None:
        line = f"{name}\t{file}\t{value}\n".encode()
        if time.monotonic() < self._spared_until:
            raise TimeoutError("no answer")
        try:
            try:
                answer = self._ask(line)
            except ConnectionError:  # the program was started anew
                self.close()
                answer = self._ask(line)
        except TimeoutError as exc:
            self._spared_until = time.monotonic() + self._spared_s
            raise TimeoutError("no answer") from exc
        except OSError:
            self.close()
            raise
        if answer != b"ok\n":
            raise OSError(answer.decode(errors="replace").strip() or "no answer")

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection, self._owed = None, 0

    def _ask(self, line: bytes) -> bytes:
        connection = self._connect()
        connection.sendall(line)
        self._owed += 1
        try:
            while self._owed:
                answer = self._read_line(connection)
                self._owed -= 1
        finally:
            connection.settimeout(ANSWER_S)
        return answer

    def _read_line(self, connection: socket.socket) -> bytes:
        line = b""
        while not line.endswith(b"\n") and len(line) < _ANSWER_LIMIT_BYTES:
            byte = connection.recv(1)
            if not byte:
                raise ConnectionError("the connection was closed")
            line += byte
        return line

    def _connect(self) -> socket.socket:
        if self._connection is None:
            self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._connection.settimeout(START_S)
            self._connection.connect(self._path)
            self._on_connect()
        return self._connection


@dataclass(frozen=True, slots=True)
class _Led:
    """What a LED can do."""

    triggers: frozenset[str]
    max_brightness: int


class Leds:
    """A sink of events. From any thread."""

    def __init__(
        self,
        folder: Path,
        unit_socket: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        spared_s: float = SPARED_S,
    ) -> None:
        """
        Args:
            spared_s: how long a program that did not answer is not asked again.
        """
        self._folder = folder
        self._socket = unit_socket
        self._clock = clock
        self._spared_s = spared_s
        self._lock = threading.Lock()
        self._writer: Writer = FileWriter(folder)
        self._names: Mapping[Role, str] = {}
        self._situation = Situation()
        self._lit: dict[str, State] = {}
        """By LED: what it shows; one that could not be set is tried again with the next event or rest."""
        self._went_out = False
        self._known: dict[str, _Led] = {}
        self._told: set[str] = set()
        self._late: set[str] = set()
        """No answer once: that is told when there is none the next time either."""
        self._tell: Tell = lambda _code, _text: None

    def configure(self, settings: LedSettings, tell: Tell) -> None:
        """Take over settings, and show what goes on. A LED that was named before and is no more is turned off."""
        named = {role: getattr(settings, role.value) for role in Role}
        names = {role: name for role, name in named.items() if name is not None}
        self._tell = tell
        with self._lock:
            dropped = set(self._names.values()) - set(names.values())
            self._choose_writer()
            self._told.clear()
            self._late.clear()
            self._known.clear()
            problems = self._set_all(dict.fromkeys(dropped, State.OFF))
            self._names, self._lit = names, {}
            problems += self._show()
        self._complain(problems)

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._situation = after_event(self._situation, event, self._clock())
            problems = self._show()
        self._complain(problems)

    def rest(self, resting: Resting) -> None:
        """The worker waits for work."""
        with self._lock:
            self._situation = after_rest(self._situation, resting, self._clock())
            problems = self._show()
        self._complain(problems)

    def close(self) -> None:
        """Turn them off: what a LED says is not to outlive who says it."""
        with self._lock:
            self._lit = {}
            self._set_all(dict.fromkeys(self._names.values(), State.OFF))
            self._names = {}
            self._writer.close()

    def _choose_writer(self) -> None:
        self._writer.close()
        by_unit = self._socket.is_socket()
        self._writer = (
            UnitWriter(self._socket, spared_s=self._spared_s, on_connect=self._have_gone_out)
            if by_unit
            else FileWriter(self._folder)
        )

    def _complain(self, problems: list[str]) -> None:
        """Outside the lock: what is told comes back here as an event."""
        for problem in problems:
            self._tell("led.failed", problem)

    def _show(self) -> list[str]:
        """Show the situation; the problems with it that are news."""
        return self._set_all({name: state_for(role, self._situation) for role, name in self._names.items()})

    def _set_all(self, wanted: dict[str, State]) -> list[str]:
        problems = self._set_missing(wanted)
        if self._went_out:
            self._went_out = False
            problems += self._set_missing(wanted)
        return problems

    def _set_missing(self, wanted: dict[str, State]) -> list[str]:
        todo = {name: state for name, state in wanted.items() if self._lit.get(name) is not state}
        return [problem for name, state in todo.items() if (problem := self._set(name, state))]

    def _have_gone_out(self) -> None:
        """There is a new program to write them: the one before has put out what it had set."""
        self._went_out = bool(self._lit)
        self._lit.clear()

    def _set(self, name: str, state: State) -> str:
        self._lit.pop(name, None)
        try:
            self._write(name, state)
        except TimeoutError as exc:
            if name not in self._late:
                self._late.add(name)
                return ""
            return self._news(name, f"cannot set the LED {name}: {exc}")
        except OSError as exc:
            return self._news(name, f"cannot set the LED {name}: {exc.strerror or exc}")
        except ValueError as exc:
            return self._news(name, f"cannot set the LED {name}: {exc}")
        self._lit[name] = state
        self._told.discard(name)
        self._late.discard(name)
        return ""

    def _news(self, name: str, problem: str) -> str:
        if name in self._told:
            return ""
        self._told.add(name)
        return problem

    def _write(self, name: str, state: State) -> None:
        """
        Raises:
            OSError: the LED is not there, or cannot be written to.
            ValueError: it has none of the triggers that would do.
        """
        led = self._known.get(name) or self._look_at(name)
        blink = choose_blink(state, led.triggers)
        for file, value in plan_writes(blink, led.max_brightness) if blink else ():
            self._writer.put(name, file, value)
        if blink is None:
            with suppress(OSError):
                self._writer.put(name, "trigger", "none")
            raise ValueError(f"the kernel has no trigger to show: {state.value}")

    def _look_at(self, name: str) -> _Led:
        folder = self._folder / name
        triggers = (folder / "trigger").read_text(encoding="utf-8", errors="replace").split()
        max_brightness = int((folder / "max_brightness").read_text(encoding="ascii"))
        self._known[name] = _Led(frozenset(trigger.strip("[]") for trigger in triggers), max_brightness)
        return self._known[name]
