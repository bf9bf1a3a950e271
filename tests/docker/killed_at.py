"""dockerd, killed at a given system call by strace. What it leaves behind there differs now and then from one start to
the next, so who needs a certain remainder goes through several.
"""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fixtures.engine import PrivateEngine

WRITES = "fdatasync"
RENAMES = "rename,renameat,renameat2"


@contextmanager
def killed_at(engine: PrivateEngine, calls: str, number: int) -> Iterator[None]:
    """dockerd gets SIGKILL in its n-th call of these from now on."""
    inject = f"inject={calls}:signal=KILL:when={number}"
    strace = subprocess.Popen(
        [
            "strace",
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            f"trace={calls}",
            "-e",
            inject,
            "-p",
            str(engine.pid),
        ]
    )
    status = Path(f"/proc/{engine.pid}/status")
    while "TracerPid:\t0\n" in status.read_text():
        assert strace.poll() is None
        time.sleep(0.01)
    time.sleep(0.3)  # all of its threads
    try:
        yield
    finally:
        strace.kill()  # told to end, it would wait for what dockerd has started
        strace.wait()
