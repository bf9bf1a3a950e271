"""Reads a hostile corpus in a process of its own, as `caisson package validate` does: `... CORPUS ROOTS` (see `run`).

For each fault a line of JSON on standard output: what was said of it, how much of a processor's time it took, and the
most memory that the process had meanwhile.
"""

import json
import re
import subprocess
import sys
import time
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path

from caissond.model.paths import Paths
from caissond.report.bus import Bus
from caissond.update.device import Device
from caissond.update.examine import examine
from caissond.wiring import look_at_device
from fixtures.invalid import EXPECTED, entry_in, write_root

DEADLINE_S = 900


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of one fault; `raised` is an exception that is no refusal."""

    fault: str
    expected: str
    codes: list[str]
    messages: list[str]
    raised: str
    seconds: float
    peak_bytes: int


def open_roots(roots: Path) -> dict[int, Device]:
    """Devices of the corpus, by the signatures that they ask for."""
    devices = {}
    for required in (1, 2):
        write_root(roots / str(required), required_signatures=required)
        devices[required] = look_at_device(Paths.below(roots / str(required)), Bus())
    return devices


def read_fault(folder: Path, devices: dict[int, Device]) -> Reading:
    """Look at what lies in a fault's folder."""
    expected = tomllib.loads((folder / EXPECTED).read_text())
    device = devices[expected["required_signatures"]]
    _forget_peak()
    began, raised, problems = time.process_time(), "", []
    try:
        allow_unsigned: bool = expected["allow_unsigned"]
        found = examine(device, entry_in(folder), allow_unsigned=allow_unsigned, every_byte=True)
        problems = found.problems
    except Exception as exc:
        raised = repr(exc)
    return Reading(
        folder.name,
        expected["code"],
        [problem.code for problem in problems],
        [problem.message for problem in problems],
        raised,
        time.process_time() - began,
        _peak_bytes(),
    )


def _forget_peak() -> None:
    """proc(5): the peak is counted anew. That of `getrusage` would be our parent's, who had the corpus in memory."""
    Path("/proc/self/clear_refs").write_text("5")


def _peak_bytes() -> int:
    found = re.search(r"^VmHWM:\s*(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def run(corpus: Path, roots: Path) -> dict[str, Reading]:
    """Read every fault of the corpus in one other process."""
    command = [sys.executable, "-m", "tests.unit.package.corpus_reader", str(corpus), str(roots)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=True)
    readings = [Reading(**json.loads(line)) for line in done.stdout.splitlines()]
    return {reading.fault: reading for reading in readings}


def main() -> None:
    corpus, roots = map(Path, sys.argv[1:])
    devices = open_roots(roots)
    for folder in sorted(corpus.iterdir()):
        print(json.dumps(asdict(read_fault(folder, devices))), flush=True)


if __name__ == "__main__":
    main()
