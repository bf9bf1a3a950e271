"""The log: systemd's journal with its structured fields, or else plain lines on standard error.

One event is one line that can be read by itself; warnings and errors carry their number and what to do about them.
"""

import errno
import os
import re
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TextIO

from caissond.model.events import Event, Severity
from caissond.report.bus import Sink

JOURNAL_SOCKET = Path("/run/systemd/journal/socket")
IDENTIFIER = "caissond"
SEND_TIMEOUT_S = 1.0
BACKLOG = 100
"""Lines kept while journald is away. Where systemd holds the socket it is never away for us."""

_VALUE_LIMITS_BYTES = (16_384, 512)
_FIELD_NAME = re.compile(r"[A-Z0-9_]{1,50}")


def line_for(event: Event) -> str:
    """The message, with what to do behind it where somebody has to do something."""
    spec = event.spec
    return f"{event.text} ({spec.hint})" if spec.hint and _matters(event) else event.text


def numbered_line_for(event: Event) -> str:
    """`line_for` behind the number to say over the phone; good news has no number, it would look like an error."""
    return f"{event.spec.spoken} {line_for(event)}" if _matters(event) else line_for(event)


def _matters(event: Event) -> bool:
    return event.spec.severity <= Severity.WARNING


class JournalSink:
    """Sends each event to journald's datagram socket.

    The native protocol, systemd.io/JOURNAL_NATIVE_PROTOCOL: `NAME=value` lines, or for a value with a line break the
    name, a 64-bit length and the bytes. The socket is not connected, so that each datagram finds the journald of
    its moment; what finds none waits, bounded, for the next event.
    """

    def __init__(self, path: Path = JOURNAL_SOCKET) -> None:
        self._path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._waiting: deque[list[tuple[str, str]]] = deque(maxlen=BACKLOG)
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        with self._lock:
            # a journald that hangs costs one wait, not one for each line
            self._socket.settimeout(0 if self._waiting else SEND_TIMEOUT_S)
            self._waiting.append(list(journal_fields(event)))
            self._send_waiting()

    def close(self) -> None:
        self._socket.close()

    def _send_waiting(self) -> None:
        while self._waiting:
            try:
                self._send(self._waiting[0])
            except OSError:  # journald is away or overwhelmed: neither is a reason to stop an update
                return
            self._waiting.popleft()

    def _send(self, fields: list[tuple[str, str]]) -> None:
        for limit in _VALUE_LIMITS_BYTES:
            try:
                self._socket.sendto(encode_fields(fields, limit_bytes=limit), self._path)
                return
            except OSError as exc:
                if exc.errno != errno.EMSGSIZE:
                    raise


def journal_fields(event: Event) -> Iterable[tuple[str, str]]:
    """The fields of an event's journal entry."""
    spec = event.spec
    yield "MESSAGE", numbered_line_for(event)
    yield "PRIORITY", str(int(spec.severity))
    yield "MESSAGE_ID", spec.message_id
    yield "SYSLOG_IDENTIFIER", IDENTIFIER
    yield "CAISSON_CODE", spec.code
    yield "CAISSON_NUMBER", spec.spoken
    if spec.hint:
        yield "CAISSON_HINT", spec.hint
    for name, value in event.fields.items():
        if _FIELD_NAME.fullmatch(name.upper()):
            yield f"CAISSON_{name.upper()}", value


def encode_fields(fields: Iterable[tuple[str, str]], *, limit_bytes: int) -> bytes:
    """One datagram of the native protocol; values longer than the limit are cut."""
    return b"".join(_encode(name.encode(), _cut(value, limit_bytes)) for name, value in fields)


def _encode(name: bytes, value: bytes) -> bytes:
    if b"\n" in value:
        return name + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
    return name + b"=" + value + b"\n"


def _cut(value: str, limit_bytes: int) -> bytes:
    data = value.encode(errors="replace")
    if len(data) <= limit_bytes:
        return data
    return data[:limit_bytes].decode(errors="ignore").encode() + "…".encode()


class StderrSink:
    """One line for each event: for a terminal, or with the priority in front where systemd reads our standard error."""

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        for_journal: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._stream = stream or sys.stderr
        self._for_journal = for_journal
        self._clock = clock

    def __call__(self, event: Event) -> None:
        self._stream.write(f"{self._prefixed(event) if self._for_journal else self._timed(event)}\n")
        self._stream.flush()

    def _prefixed(self, event: Event) -> str:
        return f"<{int(event.spec.severity)}>{numbered_line_for(event)}"

    def _timed(self, event: Event) -> str:
        at = time.strftime("%H:%M:%S", time.localtime(self._clock()))
        number = event.spec.spoken if _matters(event) else ""
        return f"{at}  {number:5}  {line_for(event)}"


def choose_log_sink(path: Path = JOURNAL_SOCKET) -> Sink:
    """The journal where it reads our standard error anyway and its socket can be reached, else standard error."""
    if not stderr_is_journal():
        return StderrSink()
    return JournalSink(path) if path.is_socket() else StderrSink(for_journal=True)


def stderr_is_journal() -> bool:
    """Whether standard error is the stream that `$JOURNAL_STREAM` names (systemd.exec(5)), not redirected since."""
    try:
        device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
        stream = os.fstat(sys.stderr.fileno())
        return (stream.st_dev, stream.st_ino) == (int(device), int(inode))
    except (OSError, ValueError):
        return False
