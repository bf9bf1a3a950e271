"""Running hooks: each a process group of its own, with the event on its standard input and in its environment, and with
an end to its time.

Nothing but the standard library and `model.text` is imported here: each event starts a process of its own
(`report.hook_unit`).
"""

import json
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from caissond.model.text import printable

OUTPUT_LIMIT_BYTES = 65_536
LINE_LIMIT = 500
CANNOT_START = 126
"""As shells have it."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_VARIABLE = re.compile(r"[A-Z0-9_]{1,50}")

Say = Callable[[str, str], None]
"""Told a hook's name and a line of its output."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the hooks are told."""

    event: Mapping[str, object]
    """`code`, `number`, `severity`, `text`, `hint`, `at`, and `fields` with more of the kind."""
    timeout_s: float
    """For each hook; for a question, for all of them together."""
    is_question: bool = False
    """The first that does not say yes ends it."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a hook ended."""

    hook: str
    code: int | None
    """Its exit status; negative for a signal; None when it took too long."""
    first_line: str = ""
    """Of its output."""


def run_hooks(hooks: Sequence[Path], asked: Asked, say: Say) -> tuple[Result, ...]:
    """Run the hooks one after the other. It takes at most `timeout_s`, for each hook or in all."""
    results: list[Result] = []
    until = time.monotonic() + asked.timeout_s
    for hook in hooks:
        if not asked.is_question:
            until = time.monotonic() + asked.timeout_s
        results.append(run_hook(hook, asked.event, until, say))
        if asked.is_question and results[-1].code != 0:
            break
    return tuple(results)


def run_hook(hook: Path, event: Mapping[str, object], until: float, say: Say) -> Result:
    """Run one hook; what it left running in its process group is killed.

    Args:
        until: on the monotonic clock.
        say: told each line of its output, once it has ended.
    """
    try:
        with _open_document(event) as document:
            process = subprocess.Popen(
                [str(hook)], stdin=document, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                env=environment_of(event), cwd="/", start_new_session=True,
            )  # fmt: skip
    except OSError as exc:
        return Result(hook.name, CANNOT_START, f"cannot be started: {exc.strerror}")
    with process:
        assert process.stdout is not None
        in_time, output = _follow(process.pid, process.stdout, until)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # not waited for yet, so the number is still its own
        output += _read_more(process.stdout, OUTPUT_LIMIT_BYTES - len(output))
    lines = list(_lines(output))
    for line in lines:
        say(hook.name, line)
    return Result(hook.name, process.returncode if in_time else None, lines[0] if lines else "")


def environment_of(event: Mapping[str, object]) -> dict[str, str]:
    """`CAISSON_CODE`, `CAISSON_TEXT` and so on, named as in the journal; and nothing of our own environment."""
    fields = event.get("fields")
    flat = {**(fields if isinstance(fields, dict) else {}), **event}
    named = {str(name).upper(): value for name, value in flat.items()}
    return {"PATH": PATH, "LANG": "C.UTF-8"} | {
        f"CAISSON_{name}": str(value)
        for name, value in named.items()
        if _VARIABLE.fullmatch(name) and isinstance(value, str | int) and "\0" not in str(value)
    }


def _open_document(event: Mapping[str, object]) -> IO[bytes]:
    """The event as a file in memory: a hook that does not read it blocks nobody."""
    file = open(os.memfd_create("event", os.MFD_CLOEXEC), "w+b")  # noqa: PTH123, SIM115 (a descriptor; closed by the caller)
    file.write(json.dumps(event).encode() + b"\n")
    file.seek(0)
    return file


def _follow(pid: int, output: IO[bytes], until: float) -> tuple[bool, bytes]:
    """Read until the process ends, which its output need not: a child of it may hold that open.

    Returns:
        Whether it ended in time, and the first part of what it wrote.
    """
    read = bytearray()
    ended = os.pidfd_open(pid)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(ended, selectors.EVENT_READ)
            selector.register(output, selectors.EVENT_READ)
            while (left_s := until - time.monotonic()) > 0:
                ready = {key.fd for key, _ in selector.select(left_s)}
                if ended in ready:
                    return True, bytes(read)
                if ready and not (chunk := os.read(output.fileno(), OUTPUT_LIMIT_BYTES)):
                    selector.unregister(output)
                elif ready:
                    read += chunk[: OUTPUT_LIMIT_BYTES - len(read)]
        return False, bytes(read)
    finally:
        os.close(ended)


def _read_more(output: IO[bytes], limit_bytes: int) -> bytes:
    """What is there now, without waiting for more."""
    os.set_blocking(output.fileno(), False)
    with suppress(BlockingIOError):
        return os.read(output.fileno(), limit_bytes) if limit_bytes > 0 else b""
    return b""


def _lines(output: bytes) -> Iterator[str]:
    for line in output.decode(errors="replace").splitlines():
        if line.strip():
            yield printable(line, limit=LINE_LIMIT)


def say_on_stderr(hook: str, line: str) -> None:
    """A line for the journal, where our standard error leads there."""
    with suppress(OSError, ValueError):
        print(f"hook {hook}: {line}", file=sys.stderr, flush=True)
