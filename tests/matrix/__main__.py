"""`./dev matrix`: the whole kill matrix, resumable, or a part of it."""

import argparse
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from tests.matrix.cell import Cell, Result
from tests.matrix.code import code_stamp
from tests.matrix.lanes import run_cells
from tests.matrix.plan import cells_of, census, shuffled
from tests.matrix.scenarios import SCENARIOS
from tests.matrix.table import format_table, format_violation
from tests.matrix.trial import KEEP

FOLDER = Path(".cache/matrix")


class Results:
    """A file with a line for each cell that was run; the last one of a cell counts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text().splitlines() if path.exists() else []
        self.by_cell = {result.cell: result for result in map(Result.from_json, lines)}

    def add(self, result: Result) -> None:
        self.by_cell[result.cell] = result
        with self._path.open("a") as file:
            print(result.to_json(), file=file)


def main() -> int:
    """The exit code: 1 with a violation."""
    options = _parse(sys.argv[1:])
    path = FOLDER / "results.jsonl"
    if options.keep:
        os.environ[KEEP] = str(options.keep.absolute())
    if options.fresh:
        path.unlink(missing_ok=True)
    results = Results(path)
    names = options.scenario or list(SCENARIOS)
    give_up_at = time.monotonic() + options.minutes * 60
    if options.cell:
        return _run([Cell.parse(text) for text in options.cell], results, options.lanes, give_up_at)
    _run(_todo(census(names), results, again=options.again), results, options.lanes, give_up_at)
    while time.monotonic() < give_up_at and (
        todo := _todo(cells_of(names, results.by_cell), results, again=options.again)
    ):
        options.again = False
        one_fault = [cell for cell in todo if cell.second is None]
        _run(shuffled(one_fault or todo), results, options.lanes, give_up_at)
    return _report(names, results)


def _todo(cells: list[Cell], results: Results, *, again: bool) -> list[Cell]:
    """Those that were not run yet, or whose result was bad, or all but the good ones of this very code."""

    def is_open(cell: Cell) -> bool:
        known = results.by_cell.get(str(cell))
        return known is None or (again and bool(known.broken))

    return [cell for cell in cells if is_open(cell)]


def _run(cells: Iterable[Cell], results: Results, lanes: int, give_up_at: float) -> int:
    """Run them, as far as the time goes; 1 with a violation."""
    cells = list(cells)
    failed = 0
    running = run_cells(cells, min(lanes, len(cells)), FOLDER) if cells else iter(())
    for number, result in enumerate(running, 1):
        results.add(result)
        failed |= bool(result.broken)
        print(
            format_violation(result)
            if result.broken
            else f"{number}/{len(cells)}  {result.seconds:5} s  {result.cell}",
            flush=True,
        )
        if time.monotonic() > give_up_at:
            break
    return failed


def _report(names: list[str], results: Results) -> int:
    print(format_table(names, results.by_cell))
    known = [
        results.by_cell[str(cell)]
        for cell in [*census(names), *cells_of(names, results.by_cell)]
        if str(cell) in results.by_cell
    ]
    if other := sum(result.code != code_stamp() for result in known):
        print(f"{other} of these were run on other code: ./dev matrix --fresh begins anew")
    broken = [result for result in known if result.broken]
    for result in broken:
        print(format_violation(result))
    print(f"{len(known)} cells run, {len(broken)} violations")
    return 1 if broken else 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev matrix", description=__doc__)
    parser.add_argument("--fresh", action="store_true", help="forget what was run before")
    parser.add_argument("--again", action="store_true", help="run once more what was violated")
    parser.add_argument(
        "--scenario",
        action="append",
        choices=list(SCENARIOS),
        metavar="NAME",
        help="only this; may be repeated",
    )
    parser.add_argument("--cell", action="append", metavar="CELL", help="only this, as it was printed")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep what cells with violations leave")
    parser.add_argument("--lanes", type=int, default=os.cpu_count() or 2, help="engines side by side")
    parser.add_argument("--minutes", type=float, default=1e6, help="stop after so long; the next run goes on")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
