"""What every command has: the paths it was given, where it writes, and whether for people or for scripts."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from caissond.errors import CaissonError
from caissond.model.events import EVENTS, hint_for
from caissond.model.paths import Paths
from caissond.model.records import Outcome, Verdict
from caissond.model.text import printable

MAX_LINE = 5000
"""Longer than any path, so that what is piped is never folded."""


class ExitCode(IntEnum):
    """The Rust tool's, and 6 for what has to wait."""

    DONE = 0
    ERROR = 1
    REFUSED = 2
    CANCELLED = 3
    FAILED = 4
    ROLLBACK_FAILED = 5
    POSTPONED = 6
    USAGE = 64


_EXITS = {
    Outcome.SUCCEEDED: ExitCode.DONE,
    Outcome.NOTHING_TO_DO: ExitCode.DONE,
    Outcome.SKIPPED: ExitCode.DONE,
    Outcome.REFUSED: ExitCode.REFUSED,
    Outcome.FAILED: ExitCode.FAILED,
    Outcome.ROLLED_BACK: ExitCode.FAILED,
    Outcome.ROLLBACK_FAILED: ExitCode.ROLLBACK_FAILED,
    Outcome.POSTPONED: ExitCode.POSTPONED,
}
_ERRORS = frozenset({"docker.unavailable", "lock.busy"})


def exit_for(verdict: Verdict) -> ExitCode:
    """The exit code that a verdict asks for: Docker being down is an error, not a wait."""
    if verdict.outcome is Outcome.POSTPONED and verdict.code in _ERRORS:
        return ExitCode.ERROR
    return _EXITS[verdict.outcome]


@dataclass
class Session:
    """One run of the command line."""

    paths: Paths
    as_json: bool = False
    out: Console = field(default_factory=lambda: _console(stderr=False))
    err: Console = field(default_factory=lambda: _console(stderr=True))

    def say(self, text: str = "") -> None:
        """A line for people; nothing with --json."""
        if not self.as_json:
            _print_line(self.out, text)

    def show_json(self, value: object) -> None:
        """The answer for scripts, with --json: ASCII, so that a file name of any bytes is neither raw nor lost."""
        if self.as_json:
            sys.stdout.write(json.dumps(value, indent=2) + "\n")

    def show_table(self, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]], *, empty: str) -> None:
        """A table for people; nothing with --json."""
        if self.as_json:
            return
        if not rows:
            self.say(empty)
            return
        table = Table(*columns, box=None, pad_edge=False, header_style="bold")
        for row in rows:
            table.add_row(*(_coloured(cell) for cell in row))
        self.out.print(table)

    def complain(self, error: CaissonError, *, word: str = "error", hint: str | None = None) -> None:
        """An error, its number and what to do about it, on standard error.

        Args:
            word: what stands in front: `error`, `warning`.
            hint: what to do, where it is not what the table says.
        """
        spec = EVENTS.get(error.code)
        number = f" [{error.code}, {spec.spoken}]" if spec else f" [{error.code}]"
        _print_line(self.err, f"{word}: {error.message}{number}")
        if hint := hint or hint_for(error.code):
            _print_line(self.err, f"{'hint:':{len(word) + 1}} {hint}")

    @contextmanager
    def progress_bar(self) -> Iterator["Bar"]:
        """A bar on standard error while bytes are moved, on a terminal only."""
        columns = (TextColumn("{task.description:9}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        shown = self.err.is_terminal and not self.as_json
        with Progress(*columns, console=self.err, transient=True, disable=not shown) as progress:
            yield Bar(progress)


class Bar:
    """Receives progress from the bus."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, phase: str, done_bytes: int, total_bytes: int) -> None:
        if phase not in self._tasks:
            self._tasks[phase] = self._progress.add_task(phase, total=total_bytes or None)
        self._progress.update(self._tasks[phase], completed=done_bytes)


_COLOURS = {
    "succeeded": "green",
    "accepted": "green",
    "rolled back": "yellow",
    "refused": "yellow",
    "failed": "red",
    "rollback failed": "bold red",
}


def _coloured(cell: str) -> str:
    colour = _COLOURS.get(cell)
    return f"[{colour}]{cell}[/]" if colour else escape(printable(cell))


def _print_line(console: Console, text: str) -> None:
    console.print(printable(text, limit=MAX_LINE), markup=False, highlight=False, soft_wrap=True)


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, emoji=False)
    return console if console.is_terminal else Console(stderr=stderr, emoji=False, width=MAX_LINE)
