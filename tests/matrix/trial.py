"""A cell as it is run: a device, an update, a fault, recovery, and what is broken then."""

import os
import re
import secrets
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from caissond.model.paths import Paths
from caissond.model.status import DaemonState
from caissond.report.status import read_status
from caissond.store.database import Database
from caissond.store.history import History
from tests.matrix.cell import Cell, Result
from tests.matrix.lab import Lab
from tests.matrix.meanwhile import happen
from tests.matrix.outlook import Outlook
from tests.matrix.points import STRUCK, Point
from tests.matrix.processes import (
    Process,
    Watched,
    proxy,
    running,
    start_daemon,
    start_rollback,
    wait_until,
)
from tests.matrix.promises import broken_promises
from tests.matrix.proxy import Plan
from tests.matrix.scenario import Scenario, Way
from tests.matrix.scenarios import SCENARIOS
from tests.matrix.strikes import Meddling, Strike

KEEP = "CAISSON_MATRIX_KEEP"
"""Names the folder that gets what a cell with a violation leaves."""
DEADLINE_S = 60.0
RECOVERY_S = 10.0
GATES_S = 4.0
"""The gate's own time and Docker's to stop and start, for each service: stable for 0.25 s, unhealthy after 1 s."""
_READY = "is ready"
_WAITS = re.compile(r"has to wait|Docker does not answer|cannot go on|is undone|cannot be removed")


def run_cell(lab: Lab, cell: Cell) -> Result:
    """Run a cell on a lab that is as it was at first, and leave it so."""
    began = time.monotonic()
    folder = lab.folder / f"cell-{secrets.token_hex(4)}"
    folder.mkdir()
    paths = lab.prepare(SCENARIOS[cell.scenario], folder / "device/root")
    run = _Run(lab, cell, folder, paths)
    try:
        run.go()
    finally:
        if run.result.broken and (keep := os.environ.get(KEEP)):
            shutil.copytree(folder, Path(keep) / secrets.token_hex(3), ignore=_only_text, dirs_exist_ok=True)
        lab.reset(paths)
        shutil.rmtree(folder, ignore_errors=True)
    run.result.seconds = round(time.monotonic() - began, 2)
    return run.result


def _only_text(_folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name.endswith((".sock", ".edgepkg")) or name == "media"]


class _Run:
    """A cell on its way."""

    def __init__(self, lab: Lab, cell: Cell, folder: Path, paths: Paths) -> None:
        self._lab = lab
        self._cell = cell
        self._scenario: Scenario = SCENARIOS[cell.scenario]
        self._folder = folder
        self._paths = paths
        self._starts = 0
        self.result = Result(str(cell))

    def go(self) -> None:
        self._lab.bring(self._scenario, self._paths)
        self.result.events = self._first_run()
        if self._cell.first is None:
            return self._check()
        self.result.struck = _is_struck(self.result.events)
        self.result.broken += happen(self._lab, self._scenario, self._paths, self.result.events)
        self.result.recovery = self._recover(self._cell.second)
        if self._cell.second is not None:
            self.result.struck &= _is_struck(self.result.recovery)
            self._recover(None)
        if self._scenario.way is Way.STICK:
            self._look_again()
        self._check()

    # the first run

    def _first_run(self) -> list[str]:
        scenario, point = self._scenario, self._cell.first
        with ExitStack() as stack:
            process = self._start(stack, point, scenario.strike, scenario.meddling, scenario.way)
            if scenario.way is Way.ROLLBACK:
                self._expect(process.wait(DEADLINE_S) is not None, "the command ends", process)
            else:
                self._await_turn(process)
            self._check_end(process)
            return self._events()

    def _await_turn(self, process: Process) -> None:
        """Wait until the package had its turn, has to wait, or the process is gone; then ask it to stop."""

        def over() -> bool:
            if process.status() is not None or self._has_had_its_turn(process):
                return True
            return _is_struck(self._events()) and _WAITS.search(process.log()) is not None

        self._expect(wait_until(over, DEADLINE_S), "the package has its turn", process)
        if (
            self._cell.first is None
            or not self._scenario.strike.ends_process
            or not _is_struck(self._events())
        ):
            process.send(signal.SIGTERM)
        self._expect(process.wait(DEADLINE_S) is not None, "caissond ends", process)

    def _check_end(self, process: Process) -> None:
        """SIGTERM ends it in order: whole, before anybody recovers."""
        status = process.status()
        self._expect(status in self._allowed(process), f"it ends in order, not with {status}", process)
        if self._scenario.strike is Strike.TERM:
            ends = frozenset({"old", "new"})
            found = broken_promises(self._lab, self._paths, Outlook(self._scenario, ends, handled=False))
            self.result.broken += [f"after SIGTERM: {sentence}" for sentence in found]

    def _allowed(self, process: Process) -> tuple[int, ...]:
        if self._scenario.strike is Strike.KILL and _is_struck(self._events()):
            return (-signal.SIGKILL,)
        if self._scenario.way is Way.ROLLBACK or self._scenario.strike.is_for_files:
            return (0, 1)  # what cannot even begin says so, and is started anew by who started it
        # at the very first SIGTERM is not listened to yet, and nothing was said
        return (0,) if process.log() else (0, -signal.SIGTERM)

    # recovery

    def _recover(self, point: Point | None) -> list[str]:
        """Start caissond without the fault, wait until it has settled and the package had its turn, and stop it."""
        began = time.monotonic()
        with ExitStack() as stack:
            process = self._start(stack, point, Strike.KILL, Meddling(), Way.INBOX)
            self._await(process, "it is ready", lambda: _READY in process.log())
            self.result.recovery_s = round(max(self.result.recovery_s, time.monotonic() - began), 2)
            at_most_s = RECOVERY_S + GATES_S * len(self._scenario.targets)
            self._expect(self.result.recovery_s <= at_most_s, "it settles in time", process)
            events = self._events()
            self._await(process, "the package has its turn", lambda: self._has_had_its_turn(process))
            if point is not None and _is_struck(self._events()):
                return self._events()
            process.send(signal.SIGTERM)
            self._expect(process.wait(DEADLINE_S) == 0, "caissond ends in order", process)
            return events

    def _look_again(self) -> None:
        """The stick is still in when caissond starts once more: nothing new happens."""
        before = self._what_happened()
        self._recover(None)
        if self._what_happened() != before:
            self.result.broken.append("the package on the stick had another turn")

    def _what_happened(self) -> tuple[list[str], int]:
        database = Database.read_only(self._paths.database)
        verdicts = len(History(database).newest())
        database.close()
        return [self._lab.inspect(name)["Id"] for name in self._scenario.names], verdicts

    def _await(self, process: Process, promise: str, condition: Callable[[], bool]) -> None:
        """Until it is so, or the process is gone."""
        self._expect(
            wait_until(lambda: process.status() is not None or condition(), DEADLINE_S), promise, process
        )

    def _has_had_its_turn(self, process: Process) -> bool:
        log = process.log()
        if self._scenario.way is Way.STICK:
            report = read_status(self._paths.status)
            rests = report is not None and report.state is DaemonState.IDLE
            return rests and log.rfind("may be removed") > log.rfind("is wanted again")
        return _READY in log and not list(self._paths.inbox.iterdir())

    def _check(self) -> None:
        """What a killed process began goes on; what one that lives was told may have ended otherwise."""
        ends = self._scenario.ends if self._cell.first else self._scenario.ends_unhindered
        self.result.broken += broken_promises(
            self._lab, self._paths, Outlook(self._scenario, ends, handled=True)
        )

    # processes

    def _start(
        self, stack: ExitStack, point: Point | None, strike: Strike, meddling: Meddling, way: Way
    ) -> Process:
        self._starts += 1
        events = self._folder / f"events-{self._starts}"
        plan = Plan(self._lab.engine.socket, point, strike, meddling, self._lab.port, self._lab.known)
        host = stack.enter_context(proxy(self._folder, plan, events))
        start = start_rollback if way is Way.ROLLBACK else start_daemon
        environment = {**self._lab.environment(self._scenario), "DOCKER_HOST": host}
        watched = Watched(environment, events, point, strike)
        log = self._folder / f"log-{self._starts}"
        return stack.enter_context(running(start(self._paths, log, watched)))

    def _events(self) -> list[str]:
        path = self._folder / f"events-{self._starts}"
        return path.read_text().splitlines() if path.exists() else []

    def _expect(self, kept: bool, promise: str, process: Process) -> None:
        if not kept:
            self.result.broken.append(f"not so: {promise}; {' | '.join(process.log().splitlines()[-4:])}")


def _is_struck(events: list[str]) -> bool:
    return any(line.startswith(STRUCK) for line in events)
