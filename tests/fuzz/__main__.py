"""`python -m tests.fuzz SECONDS`: every target for its share of that time, with atheris; ends with 1 where one crashed.

What was found stays below .cache/fuzz: the corpus of each target, so that the next run goes on from there, and what
crashed it. `python -m tests.fuzz TARGET FILE` hands such a file to its target once more.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

from tests.fuzz.targets import Target, targets, try_target

CACHE = Path(".cache/fuzz")
SLOWEST_S = 10
MOST_MEMORY_MB = 512


def plant_seeds(name: str, target: Target) -> Path:
    """The folder of the target's corpus, with its seeds in it."""
    folder = CACHE / name / "corpus"
    folder.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds():
        (folder / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    return folder


def fuzz(name: str, target: Target, seconds: int) -> list[Path]:
    """Run one target in a process of its own.

    Returns:
        What crashed it, made it slow or too large.
    """
    corpus, crashes = plant_seeds(name, target), CACHE / name / "crashes"
    crashes.mkdir(exist_ok=True)
    before = set(crashes.iterdir())
    command = [
        sys.executable, "-m", "tests.fuzz.one", name, f"-max_total_time={seconds}", f"-timeout={SLOWEST_S}",
        f"-rss_limit_mb={MOST_MEMORY_MB}", f"-max_len={target.most_bytes}", f"-artifact_prefix={crashes}/",
        "-print_final_stats=1", "-verbosity=0", str(corpus),
    ]  # fmt: skip
    log = CACHE / name / "log"
    with log.open("wb") as output:
        status = subprocess.run(command, stdout=output, stderr=output).returncode
    found = sorted(set(crashes.iterdir()) - before)
    print(f"{name:10} {_runs(log):>8} runs, {'crashed' if status else 'nothing found'}", flush=True)
    if status and not found:
        print(log.read_text(errors="replace")[-3000:])
        return [log]
    return found


def _runs(log: Path) -> str:
    lines = [
        line for line in log.read_text(errors="replace").splitlines() if "number_of_executed_units" in line
    ]
    return lines[-1].split()[-1] if lines else "?"


def main(arguments: list[str]) -> int:
    everything = targets()
    if len(arguments) == 2 and arguments[0] in everything:
        try_target(everything[arguments[0]], Path(arguments[1]).read_bytes())
        print("accepted or refused, as it should be")
        return 0
    if len(arguments) != 1 or not arguments[0].isdigit():
        print(f"expected SECONDS, or TARGET FILE with one of {', '.join(everything)}", file=sys.stderr)
        return 64
    share = max(1, int(arguments[0]) // len(everything))
    found = {name: fuzz(name, target, share) for name, target in everything.items()}
    for name, crashes in found.items():
        for crash in crashes:
            print(f"see it again: {sys.executable} -m tests.fuzz {name} {crash}")
    return int(any(found.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
