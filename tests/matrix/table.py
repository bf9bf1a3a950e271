"""The table: scenario, points, cells, run, passed; and the violations in words."""

from collections.abc import Iterable, Mapping, Sequence

from tests.matrix.cell import Cell, Result
from tests.matrix.plan import cells_of, singles
from tests.matrix.scenarios import SCENARIOS

_HEAD = ("scenario", "points", "cells", "run", "passed", "not struck", "slowest recovery, s")


def format_table(names: Iterable[str], results: Mapping[str, Result]) -> str:
    """One row for each scenario, and their sum. Cells with two faults are counted as soon as those with one are run."""
    rows = [_row(name, results) for name in names]
    total = (
        "all",
        *(sum(int(row[column]) for row in rows) for column in range(1, 6)),
        max((float(row[6]) for row in rows), default=0),
    )
    lines = [_HEAD, *rows, total]
    widths = [max(len(str(line[column])) for line in lines) for column in range(len(_HEAD))]
    return "\n".join(_format_line(line, widths) for line in lines)


def _row(name: str, results: Mapping[str, Result]) -> tuple[str | int | float, ...]:
    seen = results.get(str(Cell(name)))
    points = len(singles(SCENARIOS[name], seen)) if seen else 0
    cells = [Cell(name), *cells_of([name], results)]
    done = [results[str(cell)] for cell in cells if str(cell) in results]
    passed = sum(not result.broken for result in done)
    missed = sum(not result.struck for result in done)
    slowest = max((result.recovery_s for result in done), default=0.0)
    return name, points, len(cells), len(done), passed, missed, slowest


def _format_line(line: Sequence[object], widths: Sequence[int]) -> str:
    first, *others = (str(value) for value in line)
    return "  ".join(
        [
            first.ljust(widths[0]),
            *(value.rjust(width) for value, width in zip(others, widths[1:], strict=True)),
        ]
    )


def format_violation(result: Result) -> str:
    """What is broken, and how to see it again."""
    sentences = "".join(f"\n    {sentence}" for sentence in result.broken)
    return f"VIOLATION in {result.cell}{sentences}\n    again: ./dev matrix --cell {result.cell!r}"
