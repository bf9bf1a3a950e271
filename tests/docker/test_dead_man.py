"""The power goes at every instant from stop-old on, and caissond does not come back: Docker alone keeps the service up.

Then caissond is back, and settles. What Docker's restart policies do stands in docs/restart-policies.md.
"""

import os
from collections.abc import Callable, Sequence
from functools import cache

import pytest

from fixtures.engine import Version
from tests.docker.dead_man import (
    BACK,
    CELLS,
    COMMITTED,
    GOING_BACK,
    IN_COMMIT,
    UNTIL_VERDICT,
    Aftermath,
    Cell,
    aftermath_of,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a Docker engine")
OLD, NEW = "1.0.0", "1.1.0"
After = Callable[[Version], Aftermath]


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory) -> After:
    """One power cut for all cells, on each engine."""
    return cache(lambda version: aftermath_of(tmp_path_factory.mktemp("site"), version, CELLS[version]))


def cells(*instants: str, stories: Sequence[str] = ("good", "bad")) -> pytest.MarkDecorator:
    """On each engine the cells of these stories, at these instants or at all of them."""
    chosen = [
        pytest.param(version, cell, id=f"{version}-{cell}")
        for version in Version
        for cell in CELLS[version]
        if cell.story in stories and (cell.instant in instants or not instants)
    ]
    return pytest.mark.parametrize(("version", "cell"), chosen)


@cells(*UNTIL_VERDICT)
def test_docker_alone_brings_the_old_release_back_before_the_verdict(
    after: After, version: Version, cell: Cell
) -> None:
    seen = after(version).docker_alone[cell]
    assert (seen.running, seen.on_port, seen.by_name) == (("web",), OLD, OLD)


@cells(*GOING_BACK)
def test_docker_alone_brings_the_old_release_back_in_the_middle_of_a_rollback(
    after: After, version: Version, cell: Cell
) -> None:
    seen = after(version).docker_alone[cell]
    assert (seen.running, seen.on_port, seen.by_name) == (("web",), OLD, OLD)


@cells(*IN_COMMIT, stories=["good"])
def test_one_whole_release_is_up_inside_the_commit(after: After, version: Version, cell: Cell) -> None:
    seen = after(version).docker_alone[cell]
    assert seen.on_port in (OLD, NEW)
    assert seen.by_name in (OLD, NEW)


@cells(*COMMITTED, stories=["good"])
def test_new_release_comes_back_as_its_own_policy_says(after: After, version: Version, cell: Cell) -> None:
    seen = after(version).docker_alone[cell]
    release = "" if cell.policy == "no" else NEW
    assert (seen.on_port, seen.by_name, seen.policy) == (release, release, cell.policy)


@cells(*BACK)
def test_old_release_comes_back_as_its_own_policy_says(after: After, version: Version, cell: Cell) -> None:
    seen = after(version).docker_alone[cell]
    release = "" if cell.policy == "no" else OLD
    assert (seen.on_port, seen.by_name, seen.policy) == (release, release, cell.policy)


@cells(stories=["stopped"])
def test_stopped_service_stays_stopped(after: After, version: Version, cell: Cell) -> None:
    for seen in (after(version).docker_alone[cell], after(version).settled[cell]):
        assert (seen.running, seen.on_port, seen.by_name) == ((), "", "")


@cells(stories=["good", "bad", "stopped"])
def test_settling_leaves_one_whole_release_with_its_own_policy(
    after: After, version: Version, cell: Cell
) -> None:
    seen = after(version).settled[cell]
    new = cell.story == "good" and cell.instant in IN_COMMIT + COMMITTED
    release = "" if cell.story == "stopped" else NEW if new else OLD
    assert (seen.on_port, seen.by_name, seen.policy) == (release, release, cell.policy)
    assert seen.containers == ("web",)
