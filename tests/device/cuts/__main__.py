"""`./dev power-cuts N`: N power cuts in all, resumable."""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path

from fixtures.machine.deb import find_deb
from fixtures.machine.ready import provide_ready
from fixtures.machine.recipe import CACHE, MachineError, Recipe
from tests.device.cuts.plan import plan_trial
from tests.device.cuts.table import format_line, format_table
from tests.device.cuts.trial import Bench, Result

_SEED = 1


def main(arguments: Sequence[str]) -> int:
    """The exit code: 1 with a violation, or when some could not be run."""
    options = _parse(arguments)
    recipe = Recipe.chosen()
    path = CACHE / f"power-cuts-{recipe.suite}.jsonl"
    if options.fresh:
        path.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="power-cuts-") as folder:
        bench = Bench(provide_ready(recipe, find_deb(recipe.suite)), Path(folder))
        known = _load(path, options.seed, bench.machine)
        wanted = options.only or range(1, options.count + 1)
        if numbers := [number for number in wanted if options.only or number not in known]:
            _run(bench, options, numbers, path)
        results = _load(path, options.seed, bench.machine)
    shown = [results[number] for number in wanted if number in results]
    print(format_table(shown))
    return int(len(shown) < len(wanted) or any(result.broken for result in shown))


def _run(bench: Bench, options: argparse.Namespace, numbers: Iterable[int], path: Path) -> None:
    """Each result is kept as soon as there is one; a trial whose machine fails before the cut, or
    whose harness fails, has none, and is run again the next time.
    """
    with ThreadPoolExecutor(options.lanes) as pool:
        trials = {pool.submit(bench.run, plan_trial(options.seed, number)): number for number in numbers}
        try:
            for done in as_completed(trials):
                _keep(done, trials[done], path)
        finally:
            pool.shutdown(cancel_futures=True)


def _keep(done: Future[Result], number: int, path: Path) -> None:
    try:
        result = done.result()
    except MachineError as exc:
        print(f"{number} not run: {exc}", flush=True)
        return
    with path.open("a") as file:
        print(result.to_json(), file=file)
    print(format_line(result), flush=True)


def _load(path: Path, seed: int, machine: str) -> dict[int, Result]:
    """By number, those of this build and these checks. What was broken once stays broken: the same instant hits another
    step the next time.
    """
    results: dict[int, Result] = {}
    lines = path.read_text().splitlines() if path.exists() else []
    for result in (Result.from_json(line) for line in lines if json.loads(line)["machine"] == machine):
        before = results.get(result.number)
        if result.seed == seed and not (before and before.broken):
            results[result.number] = result
    return results


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev power-cuts", description=__doc__)
    parser.add_argument(
        "count", type=int, nargs="?", default=200, help="how many in all, those of earlier runs included"
    )
    parser.add_argument("--seed", type=int, default=_SEED, help="which updates are cut, and when")
    parser.add_argument("--only", type=int, action="append", metavar="NUMBER", help="this one, once more")
    parser.add_argument("--lanes", type=int, default=2, help="so many machines side by side")
    parser.add_argument("--fresh", action="store_true", help="forget what was run before")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except MachineError as exc:
        sys.exit(str(exc))
    except KeyboardInterrupt:
        sys.exit(130)
