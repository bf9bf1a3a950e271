"""One bounded GET to a service that may answer anything, or nothing.

However the other side behaves, it ends by its deadline and holds no more than `MAX_ANSWER_BYTES`: the socket is read
through a gate that counts both. No proxy, no redirect, no cookie, no name is looked up. (RFC 9110, 9112.)
"""

import http.client
import io
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

MAX_BODY_BYTES = 64 * 1024
MAX_ANSWER_BYTES = 4 * MAX_BODY_BYTES
"""Headers and the wrapping of chunks included."""

Clock = Callable[[], float]


class TooLong(OSError):
    """The answer has more bytes than are read."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask for, and of whom."""

    addresses: Sequence[str]
    """IP addresses, tried in this order."""
    port: int
    path: str
    host: str
    """For the Host header."""
    tls: ssl.SSLContext | None = None
    server_name: str = ""
    wants_body: bool = False


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    body: bytes
    """Empty unless it was wanted; at most `MAX_BODY_BYTES`."""


class _Bounded(io.RawIOBase):
    """A socket's bytes until the deadline, and not too many of them."""

    def __init__(self, connection: socket.socket, deadline_s: float, clock: Clock) -> None:
        self._connection, self._deadline_s, self._clock = connection, deadline_s, clock
        self._left = MAX_ANSWER_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        if self._left <= 0:
            raise TooLong("its answer is too long")
        self._connection.settimeout(remaining_s(self._deadline_s, self._clock))
        with memoryview(buffer) as whole:
            got = self._connection.recv_into(whole[: self._left])
        self._left -= got
        return got


class _Answering:
    """What http.client takes for a socket."""

    def __init__(self, stream: _Bounded) -> None:
        self._stream = stream

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self._stream)


def remaining_s(deadline_s: float, clock: Clock) -> float:
    """The time that is left.

    Raises:
        TimeoutError: none.
    """
    left_s = deadline_s - clock()
    if left_s <= 0:
        raise TimeoutError("timed out")
    return left_s


def connect(addresses: Sequence[str], port: int, deadline_s: float, clock: Clock) -> socket.socket:
    """A connection to the first of the addresses that takes one.

    Raises:
        OSError: what the first of them said.
    """
    problems = []
    for address in addresses:
        try:
            return _connect(address, port, deadline_s, clock)
        except OSError as exc:
            problems.append(exc)
    raise problems[0]


def _connect(address: str, port: int, deadline_s: float, clock: Clock) -> socket.socket:
    connection = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        connection.settimeout(remaining_s(deadline_s, clock))
        connection.connect((address, port))
    except BaseException:
        connection.close()
        raise
    return connection


def get(request: Request, *, timeout_s: float, clock: Clock = time.monotonic) -> Response:
    """Ask once.

    Raises:
        OSError: no connection, no answer in time (TimeoutError), a certificate that is not trusted, or TooLong.
        http.client.HTTPException: what came is no HTTP.
        ValueError: the same.
    """
    deadline_s = clock() + timeout_s
    with closing(_open(request, deadline_s, clock)) as connection:
        connection.settimeout(remaining_s(deadline_s, clock))
        connection.sendall(_lines(request))
        answer = http.client.HTTPResponse(
            _Answering(_Bounded(connection, deadline_s, clock)),  # type: ignore[arg-type]
            method="GET",
        )
        with closing(answer):
            answer.begin()
            return Response(answer.status, answer.read(MAX_BODY_BYTES) if request.wants_body else b"")


def _open(request: Request, deadline_s: float, clock: Clock) -> socket.socket:
    connection = connect(request.addresses, request.port, deadline_s, clock)
    if request.tls is None:
        return connection
    try:
        connection.settimeout(remaining_s(deadline_s, clock))
        return request.tls.wrap_socket(connection, server_hostname=request.server_name)
    except BaseException:
        connection.close()
        raise


def _lines(request: Request) -> bytes:
    return (
        f"GET {request.path} HTTP/1.1\r\nHost: {request.host}\r\nUser-Agent: caissond\r\nAccept: */*\r\n"
        "Connection: close\r\n\r\n"
    ).encode("ascii")
