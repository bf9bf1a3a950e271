"""Hooks: every executable in `/etc/caisson/hooks.d` is told each event, and is asked before an update begins.

Telling never makes anybody wait: a thread of its own hands the events on. Asking does, for `[hooks] timeout_secs` at
most. Where the socket of their unit is there the hooks run in that unit, else as children of this process.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from caissond.errors import CaissonError, HostUnavailable, Refusal
from caissond.model.events import EVENTS, Event
from caissond.model.settings import HookSettings
from caissond.model.text import printable
from caissond.report.bus import default_text
from caissond.report.hook_files import find_hooks
from caissond.report.hook_run import Asked, Result, Say, run_hooks, say_on_stderr
from caissond.report.hook_unit import ask_unit

SCHEMA = 1
BACKLOG = 200
LATER = 75
"""EX_TEMPFAIL of sysexits.h."""

WAIT_S = 1.0
"""How often whoever waits for the end gives a sign of life."""

QUESTION = "update.before"
_OWN = "hook."

Tell = Callable[[str, str], object]
"""Told a code and a text."""


class Hooks:
    """A sink of events, and who is asked before an update."""

    def __init__(self, folder: Path, unit_socket: Path, *, say: Say = say_on_stderr) -> None:
        self._folder = folder
        self._socket = unit_socket
        self._say = say
        self._timeout_s = HookSettings().timeout_secs
        self._tell: Tell = lambda _code, _text: None
        self._told: dict[str, str] = {}
        self._waiting: deque[Event] = deque()
        self._changed = threading.Condition()
        self._busy = self._closed = False
        self._thread: threading.Thread | None = None

    def configure(self, settings: HookSettings, tell: Tell) -> None:
        """Take over settings, and who is told about hooks that fail."""
        self._timeout_s = settings.timeout_secs
        self._tell = tell

    def __call__(self, event: Event) -> None:
        """Have the event told to the hooks. Those about hooks are not: one that fails would never hear the end. How
        they had a package end is not about them.
        """
        is_about_hooks = event.code.startswith(_OWN) and "outcome" not in event.fields
        if is_about_hooks or not self._folder.is_dir():
            return
        with self._changed:
            is_full = len(self._waiting) >= BACKLOG
            if not is_full and not self._closed:
                self._waiting.append(event)
                self._start()
            self._changed.notify_all()
        if is_full:
            self._complain(
                "", "hook.dropped", f"{BACKLOG} events wait for the hooks; more are not told to them"
            )

    def ask(self, fields: Mapping[str, str]) -> None:
        """Ask every hook whether an update may begin now. One that fails says no; one that hangs, or that cannot be
        asked, says later.

        Args:
            fields: `service`, `version` and the like.

        Raises:
            Refusal: `hook.refused`.
            HostUnavailable: `hook.later`, `hook.timed_out`, `hook.unavailable`: ask again some time.
        """
        shown = {name: printable(value) for name, value in fields.items() if value}
        event = Event(QUESTION, default_text(EVENTS[QUESTION], shown), shown)
        for result in self._run(event, is_question=True):
            if problem := objection(result, self._timeout_s):
                raise problem

    def close(self, on_wait: Callable[[], None] = lambda: None) -> None:
        """Wait until the hooks have heard everything, for the time of one hook at most, and end.

        Args:
            on_wait: called again and again meanwhile.
        """
        until = time.monotonic() + self._timeout_s
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            while (self._waiting or self._busy) and (left_s := until - time.monotonic()) > 0:
                on_wait()
                self._changed.wait(min(left_s, WAIT_S))
            self._waiting.clear()

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._hand_on, name="hooks", daemon=True)
            self._thread.start()

    def _hand_on(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                event = self._waiting.popleft()
                self._busy = True
            self._hand_to_hooks(event)

    def _hand_to_hooks(self, event: Event) -> None:
        try:
            for result in self._run(event, is_question=False):
                self._judge(result)
            self._told.pop("", None)
        except CaissonError as exc:
            self._complain("", exc.code, exc.message)

    def _judge(self, result: Result) -> None:
        """A hook's failure is told once, until it works again."""
        if result.code == 0:
            self._told.pop(result.hook, None)
        elif result.code is None:
            self._complain(result.hook, "hook.timed_out", _overtime(result, self._timeout_s))
        else:
            self._complain(result.hook, "hook.failed", f"the hook {result.hook} failed: {_how(result)}")

    def _run(self, event: Event, *, is_question: bool) -> tuple[Result, ...]:
        """
        Raises:
            HostUnavailable: `hook.unavailable`.
        """
        files = find_hooks(self._folder)
        for path, why in files.ignored:
            self._complain(path, "hook.ignored", f"{path} is not run: {why}")
        if not files.hooks:
            return ()
        asked = Asked(document_of(event), self._timeout_s, is_question)
        if not self._socket.is_socket():
            return run_hooks(files.hooks, asked, self._say)
        try:
            return ask_unit(self._socket, asked, hooks=len(files.hooks))
        except (OSError, ValueError) as exc:
            text = f"cannot run the hooks: {self._socket}: {exc}"
            raise HostUnavailable(text, code="hook.unavailable") from exc

    def _complain(self, about: str, code: str, text: str) -> None:
        if self._told.get(about) != code:
            self._told[about] = code
            self._tell(code, text)


def objection(result: Result, timeout_s: float) -> CaissonError | None:
    """What a hook that was asked has against the update."""
    reason = f": {result.first_line}" if result.first_line else ""
    if result.code == 0:
        return None
    if result.code is None:
        return HostUnavailable(f"cannot begin: {_overtime(result, timeout_s)}", code="hook.timed_out")
    if result.code == LATER:
        return HostUnavailable(f"cannot begin yet, says the hook {result.hook}{reason}", code="hook.later")
    return Refusal(
        f"cannot begin, says the hook {result.hook}{reason or f': {_how(result)}'}", code="hook.refused"
    )


def _how(result: Result) -> str:
    ended = f"killed by signal {-result.code}" if result.code and result.code < 0 else f"exit {result.code}"
    return f"{ended}: {result.first_line}" if result.first_line else ended


def _overtime(result: Result, timeout_s: float) -> str:
    return f"the hook {result.hook} took more than {timeout_s:g} s"


def document_of(event: Event) -> dict[str, object]:
    """The event as hooks get it on their standard input."""
    spec = event.spec
    return {
        "schema": SCHEMA,
        "code": event.code,
        "number": spec.spoken,
        "severity": spec.severity.name.lower(),
        "text": event.text,
        "hint": spec.hint,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "fields": event.fields,
    }
