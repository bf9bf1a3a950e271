"""What the commands that change a service have in common: asking, telling what goes on, Ctrl-C, and the verdict."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from caissond.cli.history import issue_lines
from caissond.cli.session import Session
from caissond.model.events import Event
from caissond.model.records import GOING_BACK, Outcome, Verdict
from caissond.report.bus import Bus
from caissond.report.hooks import Hooks
from caissond.update.device import Device
from caissond.wiring import open_device

_UNGATED = "the package was loaded; the service was stopped before and stays stopped, so it was not tried"
_WENT_BACK = "the service runs its earlier release again, and it stayed healthy"
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""SIGHUP too: the connection over which somebody types may break."""

_SUMMARIES = {
    Outcome.SUCCEEDED: "the package was loaded and the service stayed healthy",
    Outcome.NOTHING_TO_DO: "the service runs this release already",
    Outcome.SKIPPED: "the package was passed over",
    Outcome.ROLLED_BACK: "the update failed, so the service was moved back to the previous image",
    Outcome.ROLLBACK_FAILED: "the update failed and the automatic rollback did not finish cleanly",
    Outcome.FAILED: "the update did not finish cleanly",
    Outcome.REFUSED: "the package was refused and nothing was changed",
    Outcome.POSTPONED: "the package has to wait and nothing was changed",
}


def confirm(session: Session, *lines: str, question: str) -> bool:
    """Ask. The end of the input means no, and so do bytes that are no text."""
    out = session.err if session.as_json else session.out
    for line in lines:
        out.print(line, markup=False, highlight=False)
    out.print(f"{question} [y/N]: ", end="", markup=False, highlight=False)
    answer = sys.stdin.buffer.readline() if sys.stdin else b""
    return answer.strip().lower() in (b"y", b"yes")


@contextmanager
def narrating_device(session: Session) -> Iterator[Device]:
    """A device that tells what it does on standard error and to the hooks, and stops when somebody asks it to."""
    hooks = Hooks(session.paths.hooks, session.paths.hooks_socket)
    with session.progress_bar() as bar:

        def narrate(event: Event) -> None:
            if not session.as_json:
                session.err.print(f"  {event.text}", markup=False, highlight=False, soft_wrap=True)

        device = open_device(session.paths, Bus([narrate, hooks], progress=[bar]))
        hooks.configure(device.settings.hooks, device.bus.tell)
        device.veto = hooks.ask
        try:
            with _stopping_on_signals(device):
                yield device
        finally:
            hooks.close()
            device.database.close()


@contextmanager
def _stopping_on_signals(device: Device) -> Iterator[None]:
    """Ctrl-C and SIGTERM undo what runs, or let it finish, instead of leaving it half done."""

    def stop(_number: int, _frame: object) -> None:
        device.stop.set()

    before = {number: signal.signal(number, stop) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def show_verdict(session: Session, verdict: Verdict) -> None:
    """How it ended, in the Rust tool's words."""
    session.say("Update result")
    session.say(f"Status: {verdict.outcome.words}")
    for part in verdict.parts:
        session.say(f"Service: {part.service}")
        session.say(f"Target image: {part.reference}")
        if part.previous_reference:
            session.say(f"Previous image: {part.previous_reference}")
        if part.forgiven:
            session.say(f"Not asked: it failed before the update already: {part.forgiven}")
    session.say(f"Started: {verdict.started_at.isoformat(timespec='seconds')}")
    session.say(f"Finished: {verdict.finished_at.isoformat(timespec='seconds')}")
    for line in issue_lines(verdict):
        session.say(line)
    ungated = any(part.ungated for part in verdict.parts)
    went_back = verdict.source == GOING_BACK and verdict.outcome is Outcome.SUCCEEDED
    summary = _WENT_BACK if went_back else _SUMMARIES[verdict.outcome]
    session.say(f"Summary: {_UNGATED if ungated else summary}")
