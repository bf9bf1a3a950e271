"""What a command inside a container says, read from the engine's stream: framed, bounded, and for no longer than asked.

Engine API, ContainerAttach: each frame has a head of 8 bytes, the stream's number first and its size at the end.
"""

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

MAX_OUTPUT_BYTES = 4096
_HEAD = struct.Struct(">BxxxL")


@dataclass(frozen=True, slots=True)
class Execution:
    """A command that was run."""

    id: str
    exit_code: int | None
    """None while it runs."""
    output: bytes
    """The beginning of what it wrote to either stream."""


class Stream(Protocol):
    def settimeout(self, timeout_s: float | None, /) -> None: ...

    def recv(self, size: int, /) -> bytes: ...


def read_output(stream: Stream, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> bytes:
    """The first `MAX_OUTPUT_BYTES` or so, frames taken off; the rest is read and dropped, so that it cannot block.

    Ends when the stream does, or when the time is up: which of the two, the engine has to be asked.

    Raises:
        OSError: the connection was lost.
    """
    deadline_s, raw = clock() + timeout_s, b""
    while (left_s := deadline_s - clock()) > 0:
        stream.settimeout(left_s)
        try:
            more = stream.recv(65536)
        except TimeoutError:
            break
        if not more:
            break
        raw += more[: 2 * MAX_OUTPUT_BYTES - len(raw)]
    return unframed(raw)[:MAX_OUTPUT_BYTES]


def unframed(raw: bytes) -> bytes:
    """The content of the frames; the last one may be cut short."""
    content = b""
    while len(raw) >= _HEAD.size:
        _, size = _HEAD.unpack_from(raw)
        content += raw[_HEAD.size : _HEAD.size + size]
        raw = raw[_HEAD.size + size :]
    return content
