"""Which packages get a turn, and in what order: the newest for this device first, so that an older one need not be
applied. On a medium only so many: the next medium waits behind it, and each turn is written down.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from semver import Version

from caissond.errors import Refusal, SourceGone
from caissond.intake.scan import Found, Origin
from caissond.model.manifest import Manifest
from caissond.package.staging import open_regular
from caissond.package.validate import read_package
from caissond.update.device import READ_STALL_S, Device
from caissond.update.policy import NOT_FOR_THIS_DEVICE, select_targets_on

MOST_TURNS = 100
"""Packages of one medium that may be this device's."""
MOST_OTHERS = 10
"""Packages of one medium for other devices that are told one by one."""
_OLDEST = Version(0)


@dataclass(frozen=True, slots=True)
class Peeked:
    """A package that says what it is for, before anything of it is checked."""

    file: Found
    services: tuple[str, ...] = ()
    version: Version = _OLDEST
    """Where it cannot be read it has none, which its turn will tell."""
    is_for_others: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """A package and the newest version of each service that came with it."""

    file: Found
    newest_here: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Turns:
    """Who gets a turn, and who gets none."""

    turns: tuple[Turn, ...]
    for_others: tuple[Found, ...] = ()
    """More packages for other devices than need be told one by one."""
    too_many: tuple[Found, ...] = ()
    """The oldest, where there are too many."""


def peek_all(device: Device, found: Iterable[Found]) -> tuple[Peeked, ...]:
    """Look into each package. This is **not** a verification.

    Raises:
        Stopping: we were asked to stop.
    """

    def is_for_others(manifest: Manifest) -> bool:
        problems = select_targets_on(device.settings, device.catalog, manifest).problems
        return bool(problems) and problems[0].code in NOT_FOR_THIS_DEVICE

    return tuple(_peek(file, is_for_others, device) for file in found)


def _peek(file: Found, is_for_others: Callable[[Manifest], bool], device: Device) -> Peeked:
    device.check_stop()
    device.beat(READ_STALL_S)
    try:
        with open_regular(file.path) as source:
            manifest = read_package(source).manifest
    except (Refusal, SourceGone):
        return Peeked(file)
    return Peeked(file, manifest.services, Version.parse(manifest.version), is_for_others(manifest))


def plan_turns(peeked: Iterable[Peeked]) -> Turns:
    """The newest first, those for other devices last. What lies on several media counts as one."""
    ours: list[Peeked] = []
    others: list[Peeked] = []
    for one in sorted(peeked, key=lambda one: one.version, reverse=True):
        (others if one.is_for_others else ours).append(one)
    newest = _newest(ours)
    ours, too_many = _cut(ours, MOST_TURNS)
    others, for_others = _cut(others, MOST_OTHERS)
    turns = tuple(Turn(one.file, newest.get(one.file.place.origin, {})) for one in (*ours, *others))
    return Turns(turns, tuple(for_others), tuple(too_many))


def _newest(ours: Iterable[Peeked]) -> Mapping[Origin, Mapping[str, str]]:
    """By where they come from and by service; the newest comes first."""
    newest: dict[Origin, dict[str, str]] = {}
    for one in ours:
        here = newest.setdefault(one.file.place.origin, {})
        for service in one.services:
            here.setdefault(service, str(one.version))
    return newest


def _cut(peeked: list[Peeked], most: int) -> tuple[list[Peeked], list[Found]]:
    """The first of each medium, and the others. What is in the inbox leaves it by having its turn."""
    seen: dict[Path, int] = {}
    kept, rest = [], []
    for one in peeked:
        place = one.file.place
        seen[place.path] = seen.get(place.path, 0) + 1
        if place.origin is Origin.MEDIA and seen[place.path] > most:
            rest.append(one.file)
        else:
            kept.append(one)
    return kept, rest


def by_place(found: Iterable[Found]) -> dict[Path, list[Found]]:
    """The files of each medium."""
    ordered = sorted(found, key=lambda file: file.place.path)
    return {path: list(files) for path, files in groupby(ordered, key=lambda file: file.place.path)}
