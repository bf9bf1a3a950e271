"""A slice of the kill matrix, from all over it; `./dev matrix` runs the whole."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.matrix.cell import Cell, Result
from tests.matrix.lanes import Lanes
from tests.matrix.plan import census, pairs, singles, slice_of
from tests.matrix.scenarios import SCENARIOS
from tests.matrix.table import format_violation

TWO_FAULTS = 1
"""So many cells with two faults of each scenario."""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start Docker engines")


@pytest.fixture(scope="session")
def lanes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lanes]:
    with Lanes(3, Path(tmp_path_factory.mktemp("lanes"))) as lanes:
        yield lanes


@pytest.fixture(scope="session")
def results(request: pytest.FixtureRequest, lanes: Lanes) -> dict[str, list[Result]]:
    """Of the scenarios that this run asks for: all at once, so that no lane waits for another."""
    asked = [
        item.callspec.params.get("scenario") for item in request.session.items if hasattr(item, "callspec")
    ]
    names = sorted({name for name in asked if name in SCENARIOS}, key=list(SCENARIOS).index)
    found = by_scenario(lanes.run(census(names)))
    first = [cell for name in found for cell in _one_fault(name, found[name][0])]
    struck = by_scenario(lanes.run(first))
    second = [cell for name in struck for cell in slice_of(pairs(SCENARIOS[name], struck[name]), TWO_FAULTS)]
    struck_twice = by_scenario(lanes.run(second))
    return {name: [*found[name], *struck.get(name, []), *struck_twice.get(name, [])] for name in found}


def _one_fault(name: str, seen: Result) -> list[Cell]:
    return slice_of(singles(SCENARIOS[name], seen), SCENARIOS[name].sampled)


def by_scenario(results: Iterator[Result]) -> dict[str, list[Result]]:
    """In an order that does not depend on which lane was quicker."""
    found: dict[str, list[Result]] = {}
    for result in sorted(results, key=lambda result: result.cell):
        found.setdefault(Cell.parse(result.cell).scenario, []).append(result)
    return found


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_service_is_whole_wherever_an_update_is_struck(
    results: dict[str, list[Result]], scenario: str
) -> None:
    assert [format_violation(result) for result in results[scenario] if result.broken] == []
    assert any(result.struck for result in results[scenario][1:])
