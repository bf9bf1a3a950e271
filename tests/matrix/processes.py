"""The processes of a cell: caissond, `caisson rollback` and the proxy, forked from one that has everything imported.

A fork is a real process of its own; it only saves the second that importing takes. Whoever forks has one thread.
"""

import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from caissond import daemon
from caissond.errors import CaissonError
from caissond.model.paths import Paths
from caissond.report.bus import Bus
from caissond.report.journal import StderrSink
from caissond.store.lock import hold_lock
from caissond.update.going_back import go_back
from caissond.update.recovery import settle
from caissond.wiring import open_device
from tests.matrix.points import Point
from tests.matrix.proxy import Plan, Proxy
from tests.matrix.seam import EventLog, Seam
from tests.matrix.strikes import Strike

POLL_S = 0.1


class Process:
    """A child of ours."""

    def __init__(self, work: Callable[[], int], log: Path) -> None:
        """Forks.

        Args:
            work: what the child does; what it returns is its exit status.
            log: gets its standard output and error.
        """
        sys.stdout.flush()
        log.touch()
        self.log_path = log
        self._status: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            _be_child(work, log)

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def status(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._status = os.waitstatus_to_exitcode(status) if pid else None
        return self._status

    def wait(self, deadline_s: float) -> int | None:
        """Wait for its end; None when it does not come."""
        wait_until(lambda: self.status() is not None, deadline_s)
        return self._status

    def send(self, number: signal.Signals) -> None:
        if self.status() is None:
            os.kill(self.pid, number)

    def end(self) -> None:
        """At once, if it still runs."""
        self.send(signal.SIGKILL)
        self.wait(30)


def wait_until(condition: Callable[[], bool], deadline_s: float) -> bool:
    """Whether it came to be so in time."""
    give_up_at = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > give_up_at:
            return False
        time.sleep(POLL_S)
    return True


@contextmanager
def running(process: Process) -> Iterator[Process]:
    try:
        yield process
    finally:
        process.end()


@contextmanager
def proxy(folder: Path, plan: Plan, events: Path) -> Iterator[str]:
    """A proxy in a process of its own; its address."""
    path = folder / "proxy.sock"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen(64)

        def serve() -> int:
            Proxy(listening, plan, EventLog(events)).serve_forever(poll_interval=60)
            return 0

        with running(Process(serve, folder / "proxy.log")):
            yield f"unix://{path}"


@dataclass(frozen=True, slots=True)
class Watched:
    """What the seam of a process is told."""

    environment: Mapping[str, str]
    """What it has besides ours."""
    events: Path
    point: Point | None
    strike: Strike

    def install(self, paths: Paths) -> Seam:
        """In this process."""
        os.environ.update(self.environment)
        seam = Seam(EventLog(self.events), paths.state_dir, self.point, self.strike)
        seam.install()
        return seam


def start_daemon(paths: Paths, log: Path, watched: Watched) -> Process:
    """caissond, watched by a seam."""

    def work() -> int:
        seam = watched.install(paths)
        return daemon.run(paths, adjust=lambda device: seam.watch(device.database))

    return Process(work, log)


def start_rollback(paths: Paths, log: Path, watched: Watched) -> Process:
    """What `caisson rollback web` does once it was confirmed, watched by a seam."""

    def work() -> int:
        seam = watched.install(paths)
        with hold_lock(paths.lock, who="caisson rollback"):
            device = open_device(paths, Bus([StderrSink()]))
            signal.signal(signal.SIGTERM, lambda _number, _frame: device.stop.set())
            seam.watch(device.database)
            try:
                settle(device)
                go_back(device, "web")
            except CaissonError as exc:
                print(exc.message, flush=True)
                return 1
        return 0

    return Process(work, log)


def _be_child(work: Callable[[], int], log: Path) -> None:
    """Never returns."""
    status = 70
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for standard in (1, 2):
            os.dup2(descriptor, standard)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        status = work()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)
