"""The results of power cuts that were run before: which of them count."""

from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.machine.recipe import HarnessError
from tests.device.cuts.__main__ import _keep, _load
from tests.device.cuts.table import format_table
from tests.device.cuts.trial import Result

WHOLE = Result(
    seed=1, number=1, package="good from stick", back="nothing", instant_s=3.0, step="update.loading",
    found="1.0.0", ended="", seconds=60.0, broken=(), recovered=True, boots=1, machine="this build",
)  # fmt: skip
BROKEN = replace(WHOLE, broken=("it runs nothing",))


def load(tmp_path: Path, *results: Result) -> dict[int, Result]:
    path = tmp_path / "results.jsonl"
    path.write_text("".join(f"{result.to_json()}\n" for result in results))
    return _load(path, 1, "this build")


def test_only_those_of_this_build_and_seed_count(tmp_path: Path) -> None:
    others = [replace(WHOLE, number=2, machine="another"), replace(WHOLE, number=3, seed=2)]
    assert load(tmp_path, WHOLE, *others) == {1: WHOLE}


def test_what_was_broken_once_stays_broken(tmp_path: Path) -> None:
    assert load(tmp_path, WHOLE, BROKEN, WHOLE) == {1: BROKEN}


def test_sum_tells_how_many_hit_an_update() -> None:
    table = format_table([WHOLE, replace(BROKEN, number=2, recovered=False, boots=2)])
    assert table.endswith(
        "2 power cuts, 1 violations; 1 cut an update off; 1 needed another boot to free a port"
    )
    assert "it runs nothing" in table


def test_trial_whose_harness_fails_is_run_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done: Future[Result] = Future()
    done.set_exception(HarnessError("the machine is gone"))
    _keep(done, 7, tmp_path / "results.jsonl")
    assert capsys.readouterr().out == "7 not run: the machine is gone\n"
    assert not (tmp_path / "results.jsonl").exists()
