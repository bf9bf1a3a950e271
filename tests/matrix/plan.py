"""Which cells there are, given what was seen so far; the order they are run in; and a slice of them. Pure."""

import zlib
from collections.abc import Iterable, Mapping, Sequence

from tests.matrix.cell import Cell, Result
from tests.matrix.points import Moment, Point, number_events, points_of
from tests.matrix.scenario import Scenario
from tests.matrix.scenarios import SCENARIOS


def census(names: Iterable[str]) -> list[Cell]:
    """The cells without a fault: what they see are the points of the others."""
    return [Cell(name) for name in names]


def singles(scenario: Scenario, seen: Result) -> list[Cell]:
    """One fault each, at every point that the scenario asks for.

    Args:
        seen: the cell of this scenario without a fault.
    """
    return [Cell(scenario.name, point) for point in scenario.struck_at(points_of(seen.events))]


def pairs(scenario: Scenario, struck: Sequence[Result]) -> list[Cell]:
    """A second kill, at every so manieth point of the recovery. Of kills after which recovery did the very same, the
    first one stands for all.

    Args:
        struck: the cells of this scenario with one fault.
    """
    cells: list[Cell] = []
    known: set[tuple[str, ...]] = set()
    for number, result in enumerate(struck):
        if result.struck and _shape(result) not in known:
            known.add(_shape(result))
            first, every = Cell.parse(result.cell).first, scenario.pairs_every
            cells += [
                Cell(scenario.name, first, point)
                for point in _recovery_points(result)[number % every :: every]
            ]
    return cells


def _shape(result: Result) -> tuple[str, ...]:
    """What a recovery did, but for how often it looked."""
    return tuple(name for name in result.recovery if not Point(Moment.BEFORE, name, 1).is_read)


def _recovery_points(result: Result) -> list[Point]:
    """Before each event that changes something: each state that there is once."""
    points = [Point(Moment.BEFORE, name, number) for name, number in number_events(result.recovery)]
    return [point for point in points if not point.is_read]


def cells_of(names: Iterable[str], results: Mapping[str, Result]) -> list[Cell]:
    """All that are known of by now, in the order in which they are best run: first one fault, then two."""
    first: list[Cell] = []
    second: list[Cell] = []
    for name in names:
        scenario, seen = SCENARIOS[name], results.get(str(Cell(name)))
        if seen is None:
            continue
        found = singles(scenario, seen)
        first += found
        done = [results[str(cell)] for cell in found if str(cell) in results]
        second += pairs(scenario, done)
    return [*first, *second]


def shuffled(cells: Iterable[Cell]) -> list[Cell]:
    """In an order that is always the same and mixes everything, so that the part that was run says something of all;
    those with one fault first. Scenarios that need an engine of their own come in one go.
    """

    def key(cell: Cell) -> tuple[bool, bool, int]:
        special = SCENARIOS[cell.scenario].live_restore
        return cell.second is not None, special, zlib.crc32(str(cell).encode())

    return sorted(cells, key=key)


def slice_of(cells: Sequence[Cell], count: int) -> list[Cell]:
    """So many of them, always the same, from all over a run."""
    step = max(1, len(cells) // count)
    return list(cells[step // 2 :: step][:count])
