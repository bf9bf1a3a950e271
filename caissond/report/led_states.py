"""From what happens to what the LEDs say: pure. An event changes the situation; a situation has states; a LED shows the
most pressing one that its role shows.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from string import digits
from types import MappingProxyType

from caissond.model.events import Event
from caissond.model.records import Outcome
from caissond.report.led_patterns import SHOWN, Role, State

SUCCESS_SHOWN_S = 600.0
"""A success need not be shown for ever where no stick is pulled."""
SUCCESS_SEEN_S = 2.0
"""A stick that is found to be gone sooner was pulled while the gate ran: nobody has seen the success yet."""


class Shown(IntEnum):
    """The outcome of what was brought, the worst last: of several packages the worst is shown."""

    NOTHING = 0
    UNUSABLE = 1
    """A medium or a part of it; what became of a package says more."""
    SUCCESS = 2
    FAILURE = 3
    HELP = 4


_SHOWN = {
    Outcome.SUCCEEDED: Shown.SUCCESS,
    Outcome.NOTHING_TO_DO: Shown.SUCCESS,
    Outcome.REFUSED: Shown.FAILURE,
    Outcome.FAILED: Shown.FAILURE,
    Outcome.ROLLED_BACK: Shown.FAILURE,
    Outcome.ROLLBACK_FAILED: Shown.HELP,
}

_MEDIA = {
    "media.found": State.READING,
    "media.needed": State.READING,
    "media.done": State.SAFE,
    "media.empty": State.SAFE,
    "media.unsupported": State.SAFE,
    "media.not_mounted": State.SAFE,
}
_MEDIA_FAULTS = {
    "media.unreadable": Shown.UNUSABLE,
    "media.unsupported": Shown.UNUSABLE,
    "media.not_mounted": Shown.UNUSABLE,
    "media.incomplete": Shown.FAILURE,  # a package, like one that is refused
}
_BROKEN = ("store.", "daemon.failed")


@dataclass(frozen=True, slots=True)
class Resting:
    """What is so while the worker waits for work."""

    provisioned: bool = True
    config_problem: bool = False
    unsettled: bool = False
    """An earlier update could not be undone as yet."""


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything that the LEDs go by."""

    working: bool = True
    """At first: starting up."""
    new: bool = True
    """Nothing was brought since the worker rested last."""
    media: Mapping[str, State] = field(default_factory=lambda: MappingProxyType({}))
    """READING or SAFE, by the medium's name."""
    shown: Shown = Shown.NOTHING
    shown_since: float = 0.0
    waiting_for_docker: bool = False
    broken: bool = False
    """The daemon could not do its work; over with the next package that it handled."""
    resting: Resting = Resting()


def after_event(situation: Situation, event: Event, now: float) -> Situation:
    """The situation once this has happened.

    Args:
        now: on any clock that does not jump.
    """
    code = event.code
    if code in _MEDIA or code in _MEDIA_FAULTS or code == "media.gone":
        return _after_media(situation, event, now)
    if "outcome" in event.fields:
        return _after_outcome(situation, Outcome(event.fields["outcome"]), now)
    if code in ("package.received", "update.recovering"):
        shown = Shown.NOTHING if situation.new else situation.shown
        return replace(situation, working=True, new=False, shown=shown)
    if code == "daemon.waiting":
        return replace(situation, working=False, waiting_for_docker=True)
    if code in ("docker.answered", "daemon.started"):
        return replace(situation, waiting_for_docker=False)
    return replace(situation, broken=True) if code.startswith(_BROKEN) else situation


def _after_media(situation: Situation, event: Event, now: float) -> Situation:
    name = event.fields.get("medium", "")
    media = {other: state for other, state in situation.media.items() if other != name}
    shown = situation.shown
    if event.code in _MEDIA:
        media[name] = _MEDIA[event.code]
    elif event.code in _MEDIA_FAULTS and name in situation.media:
        media[name] = situation.media[name]  # there may be a good package on it, too
    if event.code == "media.found" or (shown is Shown.SUCCESS and _ends_success(situation, event, now)):
        shown = Shown.NOTHING
    shown = max(shown, _MEDIA_FAULTS.get(event.code, Shown.NOTHING))
    since = situation.shown_since if shown is situation.shown else now
    return replace(situation, media=MappingProxyType(media), shown=shown, shown_since=since)


def _ends_success(situation: Situation, event: Event, now: float) -> bool:
    """Its stick was pulled, or another one was brought that is of no use."""
    name = event.fields.get("medium", "")
    if event.code in _MEDIA_FAULTS:
        return not any(name in (medium, medium.rstrip(digits)) for medium in situation.media)
    return event.code == "media.gone" and now - situation.shown_since >= SUCCESS_SEEN_S


def _after_outcome(situation: Situation, outcome: Outcome, now: float) -> Situation:
    shown = max(situation.shown, _SHOWN.get(outcome, Shown.NOTHING))
    return replace(situation, shown=shown, shown_since=now, broken=False)


def after_rest(situation: Situation, resting: Resting, now: float) -> Situation:
    """The situation once the worker waits for work. A success that was shown long enough is forgotten."""
    is_old = situation.shown is Shown.SUCCESS and now - situation.shown_since >= SUCCESS_SHOWN_S
    return replace(
        situation,
        working=False,
        new=True,
        shown=Shown.NOTHING if is_old else situation.shown,
        resting=resting,
    )


def states(situation: Situation) -> Iterator[State]:
    """All that is so, the most pressing first."""
    resting, media = situation.resting, situation.media.values()
    if State.READING in media:
        yield State.READING
    if situation.working:
        yield from (State.SAFE, State.WORKING) if State.SAFE in media else (State.WORKING,)
    if resting.config_problem or resting.unsettled or _needs_help(situation):
        yield State.ATTENTION
    if situation.shown in (Shown.FAILURE, Shown.UNUSABLE):
        yield State.FAILURE
    if situation.shown is Shown.SUCCESS:
        yield State.SUCCESS
    if not resting.provisioned:
        yield State.NOT_PROVISIONED
    if State.SAFE in media:
        yield State.SAFE
    yield State.IDLE


def _needs_help(situation: Situation) -> bool:
    return situation.waiting_for_docker or situation.broken or situation.shown is Shown.HELP


def state_for(role: Role, situation: Situation) -> State:
    """What a LED of this role shows."""
    return next((state for state in states(situation) if state in SHOWN[role]), State.OFF)
