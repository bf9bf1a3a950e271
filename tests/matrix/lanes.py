"""Several lanes side by side, each with an engine of its own; a lane that dies or grows old is replaced."""

import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tests.matrix.cell import Cell, Result

CELLS_PER_LANE = 150
_MEMORY = Path("/dev/shm")
_START_S, _END_S = 120, 60


class Lane:
    """A lane process, started when it is first needed."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._process: subprocess.Popen[str] | None = None
        self._cells = 0

    def run(self, cell: Cell) -> Result:
        """Run a cell, and once more in a new lane when this one dies of it."""
        for _ in range(2):
            if (result := self._ask(cell)) is not None:
                if result.broken or self._cells >= CELLS_PER_LANE:
                    self.close()  # nobody knows what is left on it
                return result
            self.close()
        return Result(str(cell), broken=[f"the harness failed: the lane died, see {self._log}"])

    def close(self) -> None:
        """It clears its engine away itself."""
        if self._process is not None:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.close()
            self._process.stdout.close()
            try:
                self._process.wait(_END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process, self._cells = None, 0

    def _ask(self, cell: Cell) -> Result | None:
        if self._process is None:
            self._process = _start(self._log)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(cell, file=self._process.stdin, flush=True)
        except BrokenPipeError:
            return None
        self._cells += 1
        line = self._process.stdout.readline()
        return Result.from_json(line) if line else None


def run_cells(cells: Iterable[Cell], lanes: int, logs: Path) -> Iterator[Result]:
    """Run cells on so many lanes; the results as they come."""
    with Lanes(lanes, logs) as pool:
        yield from pool.run(cells)


class Lanes:
    """A number of lanes that outlive one list of cells."""

    def __init__(self, count: int, logs: Path) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self._lanes = [Lane(logs / f"lane-{number}.log") for number in range(count)]

    def __enter__(self) -> "Lanes":
        return self

    def __exit__(self, *_: object) -> None:
        _at_once([lane.close for lane in self._lanes])

    def run(self, cells: Iterable[Cell]) -> Iterator[Result]:
        """The results as they come."""
        todo: queue.SimpleQueue[Cell] = queue.SimpleQueue()
        for cell in cells:
            todo.put(cell)
        results: queue.SimpleQueue[Result | None] = queue.SimpleQueue()
        threads = [threading.Thread(target=_work, args=(lane, todo, results)) for lane in self._lanes]
        for thread in threads:
            thread.start()
        try:
            for _ in threads:
                yield from iter(results.get, None)
        finally:
            while not todo.empty():
                todo.get()
            for thread in threads:
                thread.join()


def _work(lane: Lane, todo: "queue.SimpleQueue[Cell]", results: "queue.SimpleQueue[Result | None]") -> None:
    try:
        while not todo.empty():
            results.put(lane.run(todo.get_nowait()))
    except queue.Empty:
        pass
    finally:
        results.put(None)


def _start(log: Path) -> "subprocess.Popen[str]":
    """Where there is memory for it, its engine's disk is in memory: nothing here needs a real one."""
    folder = str(_MEMORY) if os.access(_MEMORY, os.W_OK) else tempfile.gettempdir()
    ours = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    with log.open("ab") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.matrix.lane"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            # GOGC: Docker's programs, most of them short-lived, need not collect as often
            env={"GOGC": "400", **ours, "TMPDIR": folder},
            start_new_session=True,  # Ctrl-C is for us: a lane ends when it hears no more, and clears its engine away
        )


def _at_once(works: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
