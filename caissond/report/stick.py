"""Receipts and inventories on a medium: what caissond asks `caisson-stick` to write there, and what that answers.

A delivery is one JSON document, ended by closing that direction; the answer is a line, `ok` or what is wrong. Where the
socket of `caisson-stick.socket` is not there the program is a plain child of whoever delivers.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from caissond.errors import CaissonError
from caissond.report.stick_files import is_ours

MAX_FILES = 16
MAX_FILE_BYTES = 1 << 20
MESSAGE_LIMIT_BYTES = 4 << 20
ANSWER_S = 45.0
"""The program ends itself before."""

OK = "ok"
PROGRAM = "caissond.intake.stick_unit"
_ANSWER_LIMIT_BYTES = 1024
_END_S = 5.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """Files for a medium."""

    place: Path
    """Where it is mounted."""
    host: str
    files: Mapping[str, str]
    """By name: receipts, or an inventory."""
    device: str = ""
    """The filesystem that is meant, by `device_at`. Empty: whichever is there."""
    sequence: str = ""
    """Its disk, by the kernel's count of what was plugged in. Empty where that is not known."""


@dataclass(frozen=True, slots=True)
class Outside:
    """How the program that writes is reached."""

    socket: Path
    media: Path
    config: Path


def encode_delivery(delivery: Delivery) -> bytes:
    document = {
        "place": str(delivery.place),
        "device": delivery.device,
        "sequence": delivery.sequence,
        "host": delivery.host,
        "files": dict(delivery.files),
    }
    return json.dumps(document).encode()


def device_at(place: Path | int) -> str:
    """The filesystem of a folder, major:minor as stat(2) says.

    Raises:
        OSError: it cannot be asked.
    """
    number = os.stat(place).st_dev  # noqa: PTH116 (or a descriptor)
    return f"{os.major(number)}:{os.minor(number)}"


def parse_delivery(document: bytes) -> Delivery:
    """
    Raises:
        ValueError: it is not as caissond makes it.
    """
    match json.loads(document):
        case {
            "place": str(place),
            "device": str(device),
            "sequence": str(sequence),
            "host": str(host),
            "files": dict(files),
        }:
            checked = {_checked_name(name): _checked_text(text) for name, text in files.items()}
            if not 0 < len(checked) <= MAX_FILES or not place.startswith("/") or "\0" in place:
                raise ValueError(f"expected an absolute path and 1 to {MAX_FILES} files")
            return Delivery(Path(place), host, checked, device, sequence)
    raise ValueError("expected a place, its device, a host and files")


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not is_ours(name):
        raise ValueError("expected the names of receipts or of an inventory")
    return name


def _checked_text(text: object) -> str:
    if not isinstance(text, str) or len(text) > MAX_FILE_BYTES:
        raise ValueError(f"expected at most {MAX_FILE_BYTES} bytes in a file")
    return text


def deliver(delivery: Delivery, outside: Outside) -> None:
    """Have the files written, and wait for it: at most ANSWER_S and what starting takes.

    Raises:
        CaissonError: `media.receipt_failed`, with what is wrong; never why the medium should not be used further.
    """
    try:
        with _connected(outside) as connection:
            answer = _ask(connection, encode_delivery(delivery))
    except TimeoutError:
        answer = f"no answer within {ANSWER_S:g} s"
    except OSError as exc:
        answer = f"caisson-stick cannot be reached: {exc.strerror or exc}"
    if answer != OK:
        raise CaissonError(answer, code="media.receipt_failed")


def _ask(connection: socket.socket, document: bytes) -> str:
    until = time.monotonic() + ANSWER_S
    connection.settimeout(ANSWER_S)
    connection.sendall(document)
    connection.shutdown(socket.SHUT_WR)
    answer = bytearray()
    while len(answer) < _ANSWER_LIMIT_BYTES:
        connection.settimeout(max(0.001, until - time.monotonic()))
        chunk = connection.recv(_ANSWER_LIMIT_BYTES)
        if not chunk:
            break
        answer += chunk
    return answer.decode(errors="replace").strip() or "caisson-stick ended without an answer"


@contextmanager
def _connected(outside: Outside) -> Iterator[socket.socket]:
    if not outside.socket.is_socket():
        with _child(outside) as connection:
            yield connection
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ANSWER_S)
        connection.connect(str(outside.socket))
        yield connection


@contextmanager
def _child(outside: Outside) -> Iterator[socket.socket]:
    """The same program, as a child of ours; what it left writable is made read-only again."""
    where = ["--media", str(outside.media), "--config", str(outside.config)]
    program = [sys.executable, "-m", PROGRAM, *where]
    ours, its = socket.socketpair()
    with ours:
        with its:
            process = subprocess.Popen(
                program, stdin=its.fileno(), cwd="/", env=_environment(), start_new_session=True
            )
        try:
            yield ours
        finally:
            if _end(process) != 0:
                with suppress(OSError, subprocess.TimeoutExpired):
                    subprocess.run([*program, "tidy"], check=False, env=_environment(), timeout=_END_S)


def _environment() -> dict[str, str]:
    """Ours, and where this very package is."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def _end(process: subprocess.Popen[bytes]) -> int:
    """End the program, if need be by force; it puts the medium back before it ends."""
    for hurry in (_leave, subprocess.Popen.terminate, subprocess.Popen.kill):
        hurry(process)
        with suppress(subprocess.TimeoutExpired):
            return process.wait(_END_S)
    return 1


def _leave(_process: subprocess.Popen[bytes]) -> None: ...
