"""Hooks in a unit of their own: what caissond asks over a socket, and the program that answers.

systemd starts the program for each connection (`caisson-hooks.socket`, Accept=yes), so that hooks do not inherit the
sandbox of caissond.service. A request and an answer are one JSON document each, ended by closing that direction. Which
hooks there are is the program's business alone: a request names none.
"""

import json
import os
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

from caissond.report.hook_files import find_hooks
from caissond.report.hook_run import Asked, Result, run_hooks, say_on_stderr

MESSAGE_LIMIT_BYTES = 1 << 20
HOOKS = Path("/etc/caisson/hooks.d")
MARGIN_S = 10.0
"""For starting the unit, on top of what the hooks may take."""


def ask_unit(path: Path, asked: Asked, *, hooks: int) -> tuple[Result, ...]:
    """Have the hooks run by their unit, and wait for them.

    Args:
        hooks: how many there are, to know how long to wait.

    Raises:
        OSError: the socket cannot be reached, or there is no answer in time.
        ValueError: the answer cannot be understood.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        until = time.monotonic() + asked.timeout_s * (1 if asked.is_question else hooks) + MARGIN_S
        connection.settimeout(MARGIN_S)
        connection.connect(str(path))
        connection.sendall(_encode_request(asked))
        connection.shutdown(socket.SHUT_WR)
        return _parse_results(receive(connection, until))


def _encode_request(asked: Asked) -> bytes:
    document = {
        "event": asked.event,
        "timeout_s": asked.timeout_s,
        "is_question": asked.is_question,
    }
    return json.dumps(document).encode()


def receive(connection: socket.socket, until: float) -> bytes:
    """Everything that comes until the other side has said all.

    Raises:
        OSError: it has not by then, on the monotonic clock.
        ValueError: it says too much.
    """
    received = bytearray()
    while len(received) <= MESSAGE_LIMIT_BYTES:
        connection.settimeout(max(0.001, until - time.monotonic()))
        chunk = connection.recv(65_536)
        if not chunk:
            return bytes(received)
        received += chunk
    raise ValueError(f"expected at most {MESSAGE_LIMIT_BYTES} bytes")


def _parse_results(answer: bytes) -> tuple[Result, ...]:
    """
    Raises:
        ValueError: it is not as `answer_for` makes it.
    """
    document = json.loads(answer)
    if not isinstance(document, list):
        raise ValueError("expected a list of results")
    return tuple(_parse_result(row) for row in document)


def _parse_result(row: object) -> Result:
    match row:
        case [str(hook), int() | None as code, str(first_line)]:
            return Result(hook, code, first_line)
    raise ValueError("expected a hook's name, its exit status and its first line")


def parse_request(request: bytes) -> Asked:
    """
    Raises:
        ValueError: it is not as caissond makes it.
    """
    match json.loads(request):
        case {
            "event": dict(event),
            "timeout_s": int() | float() as timeout_s,
            "is_question": bool(is_question),
        }:
            return Asked(event, float(timeout_s), is_question)
    raise ValueError("expected an event, a time and whether it is a question")


def answer_for(asked: Asked, folder: Path) -> bytes:
    """Run the hooks; what caissond is told of it."""
    results = run_hooks(find_hooks(folder).hooks, asked, say_on_stderr)
    return json.dumps([[result.hook, result.code, result.first_line] for result in results]).encode()


def serve(connection: socket.socket, folder: Path) -> None:
    """Answer one request."""
    request = receive(connection, time.monotonic() + MARGIN_S)
    answer = answer_for(parse_request(request), folder)
    connection.settimeout(MARGIN_S)
    with suppress(OSError):  # whoever asked may have gone
        connection.sendall(answer)


def main() -> None:
    """The entry point `caisson-hooks`: standard input is the connection."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HOOKS
    with socket.socket(fileno=os.dup(0)) as connection:
        serve(connection, folder)


if __name__ == "__main__":
    main()
