"""Running another program to its end: bounded in time, with whatever it started, and with both of its streams."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended."""

    code: int | None
    """Its exit status; negative for a signal; None when it took too long."""
    output: str
    errors: str


def run_program(
    command: Sequence[str], *, environment: Mapping[str, str], timeout_s: float, folder: Path | None = None
) -> Ended:
    """Run it without standard input. When the time is up, it is killed, and so are the processes that it started.

    Args:
        environment: all of it; nothing of our own is added.
        folder: where it runs; `/` when left out.

    Raises:
        OSError: it cannot be started.
    """
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(environment),
        cwd=folder or "/", start_new_session=True,
    )  # fmt: skip
    with process:
        try:
            output, errors = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            _end_group(process)
            return Ended(None, "", "")
        except BaseException:
            _end_group(process)
            raise
    return Ended(process.returncode, _text(output), _text(errors))


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """It was not waited for yet, so the number is still its own."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _text(content: bytes) -> str:
    return content.decode(errors="replace")
