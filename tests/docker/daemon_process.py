"""A real caissond in a process of its own: started, killed, asked, with a seam at its journal.

Run as a program (`python -m tests.docker.daemon_process ROOT N SIGNAL`) it is caissond that sends itself a signal at
its Nth durable write: SIGKILL is what a power cut leaves of it.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from caissond import daemon
from caissond.model.paths import Paths
from caissond.model.records import Record
from caissond.model.status import DaemonState
from caissond.report.status import read_status
from caissond.store.journal import Journal
from caissond.update.device import Device

PATIENCE_S = 180
"""A daemon's whole story takes seconds; on a machine with much else to do, many times as long."""


class SignallingJournal(Journal):
    """Sends this process a signal right after its Nth durable write."""

    def __init__(self, device: Device, write: int, number: int) -> None:
        super().__init__(device.database)
        self._left = write
        self._number = number

    def begin(self, record: Record) -> None:
        super().begin(record)
        self._count()

    def save(self, record: Record) -> None:
        super().save(record)
        self._count()

    def _count(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), self._number)


class DaemonProcess:
    """One caissond on a root."""

    def __init__(
        self, root: Path, host: str, *, kill_at: int = 0, stop_at: int = 0, **environment: str
    ) -> None:
        number = signal.SIGKILL if kill_at else signal.SIGTERM
        seam = ["-m", "tests.docker.daemon_process", str(root), str(kill_at or stop_at), str(number.value)]
        plain = ["-c", "from caissond.daemon import main; main()", "--root", str(root)]
        self._log = root.parent / f"caissond-{time.monotonic_ns()}.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *(seam if kill_at or stop_at else plain)],
                env={**os.environ, "DOCKER_HOST": host, **environment},
                stderr=log,
            )
        self.paths = Paths.below(root)

    def log(self) -> str:
        return self._log.read_text()

    def wait_for(self, what: str, condition: Callable[[], bool], *, deadline_s: float = PATIENCE_S) -> None:
        """Wait until something is so; fails with the log when it does not come."""
        until = time.monotonic() + deadline_s
        while not condition():
            assert time.monotonic() < until, f"waited {deadline_s} s for: {what}\n{self.log()}"
            assert self.process.poll() is None or what == "its end", f"caissond ended\n{self.log()}"
            time.sleep(0.05)

    def wait_until_logged(self, text: str) -> None:
        self.wait_for(f"{text!r} in the log", lambda: text in self.log())

    def wait_until_handled(self, *, deadline_s: float = PATIENCE_S) -> None:
        """Wait until the inbox is empty."""
        self.wait_for(
            "an empty inbox", lambda: not list(self.paths.inbox.glob("*.edgepkg")), deadline_s=deadline_s
        )

    def wait_until_idle(self) -> None:
        """Wait until it waits for work."""

        def is_idle() -> bool:
            report = read_status(self.paths.status)
            return report is not None and report.state is DaemonState.IDLE

        self.wait_for("an idle daemon", is_idle)

    def wait_for_death(self) -> int:
        """Its exit status, as `subprocess` tells it: negative for a signal."""
        return self.process.wait(PATIENCE_S)

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(PATIENCE_S)


@contextmanager
def caissond(
    root: Path, host: str, *, kill_at: int = 0, stop_at: int = 0, **environment: str
) -> Iterator[DaemonProcess]:
    """
    Args:
        kill_at: it kills itself after this many durable writes of the running update.
        stop_at: the same with SIGTERM.
    """
    process = DaemonProcess(root, host, kill_at=kill_at, stop_at=stop_at, **environment)
    try:
        yield process
    finally:
        if process.process.poll() is None:
            process.process.kill()
            process.process.wait(30)


def _use_journal(write: int, number: int) -> Callable[[Device], None]:
    def adjust(device: Device) -> None:
        device.journal = SignallingJournal(device, write, number)

    return adjust


if __name__ == "__main__":
    root, write, number = sys.argv[1:]
    sys.exit(daemon.run(Paths.below(Path(root)), adjust=_use_journal(int(write), int(number))))
