"""When a service may be updated: now, later, or never by itself, and why. Pure decisions over what is known.

The length of a soak is counted by the time for which the device has been on, so that a clock that jumps neither ends
it nor begins it anew. A window is a time of day, so it is closed while the clock cannot be believed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cronsim import CronSim

from caissond.model.service_policy import Policy, Window, find_zone
from caissond.update.policy import Act, Decision

LATER_CODES = frozenset({"policy.soak", "policy.window", "policy.clock", "policy.hold"})
"""Why a package has to wait for its time: nothing is wrong, and nothing needs to be read meanwhile."""
_NOW = Decision(Act.APPLY)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the time to update a service depends on, besides its policy."""

    now: datetime
    is_clock_believable: bool
    known_for_s: float = 0.0
    """How long the device has been on since it first saw the release."""
    is_approved: bool = False
    """Somebody let this release in before its time."""
    hold: str | None = None
    """The file by which somebody asks for "not now"."""
    by_hand: bool = False
    """Somebody typed the command, and sees what is going on."""


def plan_timing(service: str, version: str, policy: Policy, given: Circumstances) -> Decision:
    """Whether a release that is news for the service may be applied now."""
    if policy.mode == "monitor":
        text = f"cannot apply {version}: {service} is only watched (mode = monitor)"
        return Decision(Act.NEVER, "policy.monitor", text)
    if policy.pinned:
        return Decision(Act.NEVER, "policy.pinned", f"cannot apply {version}: {service} is pinned")
    waits = [] if given.by_hand or given.is_approved else [*_soak(policy, given), *_window(policy, given)]
    if given.hold is not None:
        waits.append(Decision(Act.LATER, "policy.hold", f"{given.hold} says not now"))
    return next((_about(service, version, wait) for wait in waits), _NOW)


def _about(service: str, version: str, wait: Decision) -> Decision:
    return Decision(wait.act, wait.code, f"{service} {version}: {wait.reason}", wait.wait_s)


def _soak(policy: Policy, given: Circumstances) -> Iterable[Decision]:
    if policy.soak is None or given.known_for_s >= policy.soak.total_seconds():
        return
    left_s = policy.soak.total_seconds() - given.known_for_s
    text = f"it soaks; {_words(left_s)} of {_words(policy.soak.total_seconds())} with the device on are left"
    yield Decision(Act.LATER, "policy.soak", text, left_s)


def _window(policy: Policy, given: Circumstances) -> Iterable[Decision]:
    if not policy.windows:
        return
    if not given.is_clock_believable:
        text = f"the clock says {given.now:%Y-%m-%d %H:%M} UTC, which cannot be, so no window is open"
        yield Decision(Act.LATER, "policy.clock", text)
    elif not any(is_open(window, given.now) for window in policy.windows):
        yield _closed(policy.windows, given.now)


def _closed(windows: Sequence[Window], now: datetime) -> Decision:
    opens = [(start, window) for window in windows if (start := next_start(window, now)) is not None]
    if not opens:
        return Decision(Act.LATER, "policy.window", "no window ever opens")
    start, window = min(opens, key=lambda one: one[0])
    there = f"{start.astimezone(find_zone(window.timezone)):%Y-%m-%d %H:%M} {window.timezone}"
    return Decision(
        Act.LATER, "policy.window", f"its window opens {there}", (start - now).total_seconds()
    )  # fmt: skip


def is_open(window: Window, now: datetime) -> bool:
    """Whether an update may begin. The window lasts its time on a steady clock, over a change to summer time too."""
    just_after = now.replace(microsecond=0) + timedelta(seconds=1)
    start = _first(window, just_after, reverse=True)
    return start is not None and now < start + window.duration


def next_start(window: Window, now: datetime) -> datetime | None:
    """When it opens next, in UTC."""
    return _first(window, now, reverse=False)


def _first(window: Window, than: datetime, *, reverse: bool) -> datetime | None:
    local = than.astimezone(find_zone(window.timezone))
    start = next(CronSim(window.start, local, reverse=reverse), None)
    return start.astimezone(UTC) if start is not None else None


def plan_together(decisions: Sequence[Decision]) -> Decision:
    """What is to be done with a package of these services: nothing when one must not be, and nothing yet when one has
    to wait; when it is news for none of them, the reason of the first. Only a service that has the very release is left
    out: what else is said to be there, a newer package say, has not been verified yet.
    """
    for act in (Act.REFUSE, Act.NEVER, Act.SKIP):
        if found := next((one for one in decisions if one.act is act and not _has_it(one)), None):
            return found
    waits = [one for one in decisions if one.act is Act.LATER]
    if waits:
        return max(waits, key=lambda one: one.wait_s or 0.0)
    return next((one for one in decisions if one.act is Act.APPLY), decisions[0])


def _has_it(decision: Decision) -> bool:
    return decision.code == "release.already_installed"


def _words(seconds: float) -> str:
    """`1d 2h`, `3h 20m`, `40s`: two units are enough to plan by."""
    left, words = round(seconds), []
    for unit, size_s in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size_s)
        if count:
            words.append(f"{count}{unit}")
    return " ".join(words[:2]) or "0s"
