"""The bus: what happened is said once and reaches everybody who is told.

An event is made from the table `model.events` here and nowhere else, its words made fit to be shown. Whoever is told
never gets in the way of the update: a full disk or a closed terminal costs that one listener its line.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Protocol

from caissond.errors import CaissonError
from caissond.model.events import EVENTS, Event, EventSpec
from caissond.model.text import printable

TEXT_LIMIT = 1000
_FAILS_ALONE = (OSError, ValueError, CaissonError)
_NAMES = ("Docker", "Compose", "Caisson")


class Sink(Protocol):
    """Somebody who is told what happened, from any thread."""

    def __call__(self, event: Event) -> None: ...


class Progress(Protocol):
    """Somebody who is told how far a phase is; called often, so it limits its own rate.

    `total_bytes` is 0 while it is not known.
    """

    def __call__(self, phase: str, done_bytes: int, total_bytes: int) -> None: ...


class Bus:
    """Hands events and progress to those who want them, in the order given."""

    def __init__(self, sinks: Iterable[Sink] = (), *, progress: Iterable[Progress] = ()) -> None:
        self._sinks = tuple(sinks)
        self._progress = tuple(progress)

    def tell(self, code: str, text: str = "", /, **fields: str) -> Event:
        """Tell everybody that this happened.

        Args:
            code: a code of the event table.
            text: one line that names its update or package; by default the table's sentence behind the service and
                version, or else the package, of `fields`.
            fields: facts for machines: `update`, `service`, `version`, `package` and the like.

        Raises:
            KeyError: no such code: a mistake in the program.
        """
        spec = EVENTS[code]
        shown = {name: printable(value) for name, value in fields.items() if value}
        event = Event(code, printable(text, limit=TEXT_LIMIT) or default_text(spec, shown), shown)
        for sink in self._sinks:
            _undisturbed(partial(sink, event))
        return event

    def progress(self, phase: str, done_bytes: int, total_bytes: int) -> None:
        """Tell how far a phase is."""
        for progress in self._progress:
            _undisturbed(partial(progress, phase, done_bytes, total_bytes))


def _undisturbed(call: Callable[[], None]) -> None:
    with suppress(*_FAILS_ALONE):
        call()


def default_text(spec: EventSpec, fields: dict[str, str]) -> str:
    """`frontend 1.2.3: the service runs the new release`, or the bare sentence where nothing is named."""
    sentence = spec.sentence.removesuffix(".")
    subject = " ".join(_subject(fields))
    return f"{subject}: {_inside_a_line(sentence)}" if subject else sentence


def _subject(fields: dict[str, str]) -> Iterator[str]:
    names = ("service", "version") if "service" in fields else ("package",)
    return (fields[name] for name in names if name in fields)


def _inside_a_line(sentence: str) -> str:
    return sentence if sentence.startswith(_NAMES) else sentence[0].lower() + sentence[1:]
