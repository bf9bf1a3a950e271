"""A lane: a process with a lab of its own that runs cells one after the other. Cells come in, results go out, as lines.

It has one thread, since it forks.
"""

import gc
import sys
from contextlib import ExitStack

from tests.matrix.cell import Cell, Result
from tests.matrix.code import code_stamp
from tests.matrix.lab import Lab, lab
from tests.matrix.scenarios import SCENARIOS
from tests.matrix.trial import run_cell


def main() -> int:
    """Until there are no more lines."""
    code_stamp()  # of what was imported just now
    gc.freeze()  # children share what was imported
    with ExitStack() as stack:
        open_lab: Lab | None = None
        flavour: bool | None = None
        for line in sys.stdin:
            cell = Cell.parse(line.rstrip("\n"))
            wanted = SCENARIOS[cell.scenario].live_restore
            if open_lab is None or wanted is not flavour:
                stack.close()
                open_lab, flavour = stack.enter_context(lab(live_restore=wanted)), wanted
            result = _try(open_lab, cell)
            result.code = code_stamp()
            print(result.to_json(), flush=True)
    return 0


def _try(open_lab: Lab, cell: Cell) -> Result:
    """What goes wrong in the harness is a result too."""
    try:
        return run_cell(open_lab, cell)
    except Exception as exc:
        return Result(str(cell), broken=[f"the harness failed: {type(exc).__name__}: {str(exc)[:300]}"])


if __name__ == "__main__":
    sys.exit(main())
