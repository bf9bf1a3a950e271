"""How a measurement is printed, and the command line that some of them run."""

import subprocess
import sys
import tempfile
from pathlib import Path

_PROGRAM = (sys.executable, "-c", "from caissond.cli.entry import main; main()")


def say(what: str, value: str, note: str) -> None:
    print(f"{what:45} {value:>18}   {note}", flush=True)


def run_caisson(*arguments: str | Path, root: Path | None = None) -> None:
    """`caisson`, below a root that is not there.

    Raises:
        subprocess.CalledProcessError: it did not end well.
    """
    with tempfile.TemporaryDirectory() as empty:
        command = [*_PROGRAM, *arguments, "--root", root or Path(empty)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
