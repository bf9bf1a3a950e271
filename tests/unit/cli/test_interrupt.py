"""Ctrl-C while a command waits for an answer."""

import signal
import subprocess
import sys
from pathlib import Path

from tests.unit.cli.command import Command

AT_A_TERMINAL = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # who starts the tests in the background ignores it
from caissond.cli.entry import main
main()
"""


def test_ctrl_c_at_the_prompt_ends_as_cancelled(caisson: Command) -> None:
    arguments: list[str | Path] = [
        "package",
        "load",
        caisson.package(),
        "--allow-unsigned",
        "--root",
        caisson.root,
    ]
    with subprocess.Popen(
        [sys.executable, "-c", AT_A_TERMINAL, *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert any(line.startswith(b"Ready to load package") for line in process.stdout)
        process.send_signal(signal.SIGINT)
        process.wait(60)  # with its input open: the end of that would be an answer, too
        _, err = process.communicate()
    assert (process.returncode, err) == (3, b"Cancelled.\n")
