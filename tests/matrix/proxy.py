"""The chaos proxy: between caissond and a real Docker engine, on Unix sockets.

It names and logs each request, and at one of them it kills the process that asks (found by SO_PEERCRED) or plays an
engine that misbehaves. Each request has a connection of its own to Docker, so an answer ends where that does.
"""

import contextlib
import json
import os
import re
import signal
import socket
import socketserver
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.matrix.points import Moment, Point, name_request
from tests.matrix.seam import EventLog, Trigger
from tests.matrix.strikes import Meddling, Strike

LATE_S = 1.0
_HANG_S = 60.0
_PIECE_BYTES = 64 * 1024
_PRUNES = ("containers", "networks", "images")
_CONTAINER = re.compile(r"/containers/([0-9a-f]{64})\b")
_ERROR = b'{"message":"the proxy says no"}'


@dataclass(frozen=True, slots=True)
class Plan:
    """What a proxy is to do."""

    engine: Path
    """The socket of the engine."""
    point: Point | None = None
    strike: Strike = Strike.KILL
    meddling: Meddling = field(default_factory=Meddling)
    port: int = 0
    """That of the service."""
    known: dict[str, str] = field(default_factory=dict)
    """Words for ids in the names of requests."""


class _Struck(Exception):
    """The connection ends here."""


class Proxy(socketserver.ThreadingUnixStreamServer):
    """Serves until its process ends."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, listening: socket.socket, plan: Plan, log: EventLog) -> None:
        super().__init__("", _Exchange, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.plan = plan
        self._trigger = Trigger(log, plan.point)
        self._held: socket.socket | None = None
        self._names: dict[str, str] = {}

    def get_request(self) -> tuple[socket.socket, str]:
        connection, _ = self.socket.accept()
        return connection, "caissond"

    def count(self, method: str, path: str) -> tuple[str, Moment | None]:
        name = name_request(method, self._named(path), self.plan.known)
        return name, self._trigger.count(name)

    def _named(self, path: str) -> str:
        """With the name that a container had when it was first asked for, instead of its id."""
        match = _CONTAINER.search(path)
        if match is None or match[1] in self.plan.known:
            return path
        container = match[1]
        if container not in self._names and (name := _ask_name(self.plan.engine, container)):
            self._names[container] = name
        return path.replace(container, self._names.get(container, container))

    def meddle(self, name: str) -> None:
        """What others do when this request has been answered."""
        meddling, start = self.plan.meddling, name == "docker POST containers/new/start"
        if meddling.takes_port and name == "docker POST containers/old/stop" and self._held is None:
            self._held = _take_port(self.plan.port)
        elif start and self._held is not None:
            self._held.close()
        elif start and meddling.prune_at_start:
            prune(self.plan.engine)


class _Exchange(socketserver.StreamRequestHandler):
    """One request and its answer."""

    server: Proxy

    def handle(self) -> None:
        line = self.rfile.readline()
        if not line:
            return
        method, path, _ = line.decode("latin-1").split(" ", 2)
        self._name, self._moment = self.server.count(method, path)
        with contextlib.suppress(_Struck, OSError):
            self._relay(line)

    def _relay(self, line: bytes) -> None:
        self._head = self._read_head()
        self._strike_at(Moment.BEFORE)
        with _connect(self.server.plan.engine) as engine:
            engine.sendall(line + _closing(self._head))
            self._send_body(engine)
            self._strike_at(Moment.DURING)
            self._answer(engine)
        self.server.meddle(self._name)

    def _read_head(self) -> list[bytes]:
        return list(iter(self.rfile.readline, b"\r\n"))

    def _send_body(self, engine: socket.socket) -> None:
        """An engine that has heard enough closes early; the rest is read all the same, and its answer counts."""
        taken = True
        for number, piece in enumerate(self._body(self._head)):
            try:
                if taken:
                    engine.sendall(piece)
            except OSError:
                taken = False
            if number == 1:
                self._strike_at(Moment.MIDWAY)

    def _body(self, head: list[bytes]) -> Iterator[bytes]:
        fields = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in head)
        }
        if fields.get(b"transfer-encoding") == b"chunked":
            yield from self._chunks()
        left_bytes = int(fields.get(b"content-length", b"0"))
        while left_bytes and (piece := self.rfile.read(min(left_bytes, _PIECE_BYTES))):
            left_bytes -= len(piece)
            yield piece

    def _chunks(self) -> Iterator[bytes]:
        """RFC 9112, section 7.1, as they came."""
        while size_line := self.rfile.readline():
            size_bytes = int(size_line.split(b";")[0], 16)
            yield size_line + self.rfile.read(size_bytes + 2)
            if size_bytes == 0:
                return

    def _answer(self, engine: socket.socket) -> None:
        if self._moment is not Moment.UNANSWERED:
            for piece in _pieces(engine):
                self.wfile.write(piece)
            self._strike_at(Moment.AFTER)
            return
        answer = b"".join(_pieces(engine))
        self.server.meddle(self._name)
        self._strike_at(Moment.UNANSWERED, answer)
        self.wfile.write(answer)

    def _strike_at(self, moment: Moment, answer: bytes = b"") -> None:
        """
        Raises:
            _Struck: nothing follows.
        """
        if moment is not self._moment:
            return
        match self.server.plan.strike:
            case Strike.KILL:
                os.kill(_peer(self.connection), signal.SIGKILL)
            case Strike.TERM:
                return os.kill(_peer(self.connection), signal.SIGTERM)
            case Strike.ERROR:
                for _ in self._body(self._head if moment is Moment.BEFORE else []):
                    pass  # who still sends hears nothing
                self.wfile.write(_response(b"500 Internal Server Error", _ERROR))
            case Strike.HANG:
                time.sleep(_HANG_S)
            case Strike.LATE:
                return time.sleep(LATE_S)
            case Strike.CUT:
                self.wfile.write(answer[: len(answer) // 2])
            case Strike.PRUNE:
                return prune(self.server.plan.engine)
            case _:
                pass
        raise _Struck


def prune(engine: Path) -> None:
    """What `docker system prune -f` asks the engine for."""
    for what in _PRUNES:
        with _connect(engine) as connection:
            connection.sendall(
                f"POST /{what}/prune HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n".encode()
            )
            for _ in _pieces(connection):
                pass


def _ask_name(engine: Path, container: str) -> str:
    """Empty where there is no such container, or no engine."""
    with contextlib.suppress(OSError, ValueError), _connect(engine) as connection:
        connection.sendall(
            f"GET /containers/{container}/json HTTP/1.0\r\nHost: d\r\nConnection: close\r\n\r\n".encode()
        )
        body = b"".join(_pieces(connection)).partition(b"\r\n\r\n")[2]
        return str(json.loads(body).get("Name", "")).lstrip("/")
    return ""


def _connect(engine: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(engine))
    return connection


def _pieces(connection: socket.socket) -> Iterator[bytes]:
    while piece := connection.recv(_PIECE_BYTES):
        yield piece


def _closing(head: list[bytes]) -> bytes:
    kept = [line for line in head if not line.lower().startswith(b"connection:")]
    return b"".join([*kept, b"Connection: close\r\n\r\n"])


def _response(status: bytes, body: bytes) -> bytes:
    head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
    return head % (status, len(body)) + body


def _peer(connection: socket.socket) -> int:
    """unix(7): the process that connected."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[0])


def _take_port(port: int) -> socket.socket:
    taken = socket.socket()
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    taken.bind(("0.0.0.0", port))
    taken.listen()
    return taken
