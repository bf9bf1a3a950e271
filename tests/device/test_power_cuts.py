"""The power goes at some instant of an update, and comes back. `./dev power-cuts 200` is the long run."""

import os
from dataclasses import replace

import pytest

from fixtures.machine.ready import Ready
from tests.device.cuts.plan import plan_trial
from tests.device.cuts.table import format_line
from tests.device.cuts.trial import Bench

SEED = int(os.environ.get("CAISSON_SEED") or 1)


@pytest.fixture(scope="module")
def bench(ready: Ready, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Shared, since it measures the uncut updates."""
    return Bench(ready, tmp_path_factory.mktemp("cuts"))


@pytest.mark.parametrize("number", range(1, 5))
def test_service_is_whole_after_a_power_cut(bench: Bench, number: int) -> None:
    result = bench.run(plan_trial(SEED, number))
    print(format_line(result))
    assert not result.broken, f"again: CAISSON_SEED={SEED} ./dev device -k 'power_cut and {number}'"


def test_update_that_is_cut_off_is_recovered(bench: Bench) -> None:
    """The other cuts may all miss an update; this one cannot: the new release has just been started."""
    result = bench.run(replace(plan_trial(SEED, 5), from_gate=True, fraction=0))
    print(format_line(result))
    assert not result.broken, f"again: CAISSON_SEED={SEED} ./dev device -k cut_off_is_recovered"
    assert result.recovered
