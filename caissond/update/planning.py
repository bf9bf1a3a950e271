"""What would be done now with each package that is here, and why: the decisions that a turn would make, without making
it. Nothing is written down or changed; hooks are not asked.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from caissond.errors import (
    CaissonError,
    DockerError,
    HostUnavailable,
    Refusal,
    SourceGone,
)
from caissond.intake.scan import Found, Origin
from caissond.model.records import AuditKind, Outcome, Release
from caissond.package.staging import open_regular
from caissond.package.validate import read_package
from caissond.update.acceptance import Acceptance, PassedOver, Request, Taken, Turn
from caissond.update.device import Device
from caissond.update.handled import Handled, identify
from caissond.update.order import peek_all, plan_turns
from caissond.update.policy import Act, Decision
from caissond.update.timing import plan_together
from caissond.update.updater import end_without_update

_ENDS = {Outcome.POSTPONED: Act.LATER, Outcome.REFUSED: Act.REFUSE}


@dataclass(frozen=True, slots=True)
class Planned:
    """A package, what would be done with it, and what for each of the services that it has something for."""

    path: Path
    decision: Decision
    parts: tuple[tuple[Release, Decision], ...] = ()


def plan_all(device: Device, found: Iterable[Found]) -> tuple[Planned, ...]:
    """What would be done with these, in the order of their turns."""
    turns = plan_turns(peek_all(device, found))
    planned: list[Planned] = []
    for turn in turns.turns:
        place = turn.file.place
        request = Request(turn.file.path, place.origin, newest_here=turn.newest_here)
        planned.append(_after(planned, plan_package(device, request)))
    others = Decision(Act.SKIP, "package.not_for_this_device", "it is for other devices")
    too_many = Decision(Act.SKIP, "media.too_many_packages", "there are too many newer ones")
    planned += [Planned(file.path, others) for file in turns.for_others]
    planned += [Planned(file.path, too_many) for file in turns.too_many]
    return tuple(planned)


def _after(before: Iterable[Planned], one: Planned) -> Planned:
    """By its turn, what those before it bring will run."""
    if one.decision.act is not Act.APPLY:
        return one
    services = {release.service for release, _ in one.parts}
    for other in before:
        if other.decision.act is Act.APPLY and services & {release.service for release, _ in other.parts}:
            reason = f"{other.path.name} comes first"
            return Planned(one.path, Decision(Act.SKIP, "package.superseded", reason), one.parts)
    return one


def plan_package(device: Device, request: Request) -> Planned:
    """What would be done with this one, if it had its turn now."""
    turn = Turn(request, device.now())
    parts: tuple[tuple[Release, Decision], ...] = ()
    try:
        with open_regular(request.path) as source:
            acceptance, taken = _take_in(device, source, turn)
            decisions = acceptance.decide(taken)
            parts = tuple((one.release, each) for one, each in zip(taken, decisions, strict=True))
            whole = plan_together(decisions)
            if whole.act is Act.APPLY:
                acceptance.check_host(_wanted(taken, decisions))
            return Planned(request.path, whole, parts)
    except (Refusal, PassedOver, SourceGone, DockerError, HostUnavailable) as exc:
        return Planned(request.path, _decision_on(exc, request.origin), parts)


def _take_in(device: Device, source: BinaryIO, turn: Turn) -> tuple[Acceptance, tuple[Taken, ...]]:
    turn.package = package = read_package(source)
    identity = identify(source, package)
    if turn.request.origin is Origin.MEDIA and Handled(device).had_its_turn(source, identity):
        raise PassedOver("had its turn before", code="package.handled_before")
    acceptance = Acceptance(device, turn)
    return acceptance, acceptance.take_in(source, package)


def _wanted(taken: Sequence[Taken], decisions: Sequence[Decision]) -> tuple[Taken, ...]:
    return tuple(one for one, each in zip(taken, decisions, strict=True) if each.act is Act.APPLY)


def _decision_on(error: CaissonError, origin: Origin) -> Decision:
    outcome, error = end_without_update(error, origin)
    return Decision(_ENDS.get(outcome, Act.SKIP), error.code, error.message)


def approve_package(device: Device, path: Path) -> tuple[Release, ...]:
    """Let the releases of a package in before their time, once: neither soak nor window keeps them waiting.

    Returns:
        Those that are news for this device.

    Raises:
        Refusal: it would be refused, or the catalog says never.
        PassedOver: it is news for no service.
        HostUnavailable: Docker does not answer, or an earlier update is not settled.
        StoreError: it cannot be written down.
    """
    turn = Turn(Request(path, Origin.INBOX), device.now())
    with open_regular(path) as source:
        acceptance, taken = _take_in(device, source, turn)
        decisions = acceptance.decide(taken)
    whole = plan_together(decisions)
    if whole.act in (Act.REFUSE, Act.NEVER):
        raise Refusal(whole.reason, code=whole.code)
    if whole.act is Act.SKIP:
        raise PassedOver(whole.reason, code=whole.code)
    releases = tuple(_news(taken, decisions))
    for release in releases:
        device.sightings.approve(release)
        text = f"{release.service} {release.version} may be applied before its time"
        device.audit(turn.update_id, AuditKind.RELEASE_APPROVED, text)
    return releases


def _news(taken: Sequence[Taken], decisions: Sequence[Decision]) -> Iterator[Release]:
    for one, decision in zip(taken, decisions, strict=True):
        if decision.act in (Act.APPLY, Act.LATER):
            yield one.release
