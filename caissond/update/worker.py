"""The one worker: looks at every place, and gives each package that is there its turn.

A hint only says that looking is worth it. What was handled is remembered by the scanner while the file stays as it is,
and by digest when it lies on a medium.
"""

import os
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from semver import Version

from caissond.errors import CaissonError, LockBusy, Refusal, SourceGone
from caissond.intake.scan import Found, Origin, Place, Scan, Scanner, Signature
from caissond.package.staging import open_regular
from caissond.package.validate import read_package
from caissond.store.lock import hold_lock
from caissond.update.device import READ_STALL_S, Device
from caissond.update.recovery import settle
from caissond.update.updater import Request, Updater


@dataclass(frozen=True, slots=True)
class Again:
    """When somebody should look again; None: at the next hint or rescan."""

    after_s: float | None


SOON = Again(1)
LATER = Again(10)
NEVER = Again(None)
FIRST_WAIT_S, LONGEST_WAIT_S = 5.0, 600.0


class Worker:
    """Scans and handles. All of it runs in one thread."""

    def __init__(
        self,
        device: Device,
        scanner: Scanner,
        media: Callable[[], tuple[Place, ...]],
        on_scanned: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Args:
            media: the places that are mounted now.
            on_scanned: told after each scan, before anything is handled.
        """
        self._device = device
        self._scanner = scanner
        self._media = media
        self._on_scanned = on_scanned
        self._patience = Patience()
        self._told: dict[Path, tuple[str | None, bool]] = {}
        self._known_media: dict[Path, Place] = {}
        self._busy_told = False
        self._settle_s = FIRST_WAIT_S

    def settle(self) -> Again:
        """Bring what was cut off to an end.

        Raises:
            HostUnavailable: the engine does not answer.
        """
        try:
            with self._lock():
                settle(self._device)
        except LockBusy:  # whoever holds it settles first
            return LATER
        if not self._device.journal.unfinished():
            self._settle_s = FIRST_WAIT_S
            return NEVER
        self._settle_s = min(LONGEST_WAIT_S, 2 * self._settle_s)  # stuck: each try writes to flash
        return Again(self._settle_s)

    def look(self) -> Again:
        """Look at every place once, and handle what is complete.

        Raises:
            HostUnavailable: the engine does not answer; everything stays where it is.
            StoreError: the state database cannot be used.
        """
        found, again = self._scan()
        self._on_scanned()
        if self._device.config_problem is not None:
            return NEVER
        found = [file for file in found if self._patience.is_over(file) and os.path.lexists(file.path)]
        if not found:
            return again
        try:
            with self._lock():
                settle(self._device)
                again = max((again, self._handle_all(found)), key=_urgency)
        except LockBusy as exc:
            return self._wait_for_lock(exc)
        self._busy_told = False
        self._tell_media_done(found)
        return again

    def _lock(self) -> AbstractContextManager[None]:
        return hold_lock(self._device.paths.lock, who=f"caissond, process {os.getpid()}")

    def _wait_for_lock(self, busy: LockBusy) -> Again:
        if not self._busy_told:
            self._device.bus.tell(busy.code, f"{busy.message}; waiting")
        self._busy_told = True
        return SOON

    def _places(self) -> list[Place]:
        media = {place.path: place for place in self._media()}
        for path, place in self._known_media.items():
            if path not in media:
                self._scanner.forget(place)
                self._told.pop(path, None)
                self._device.bus.tell("media.gone", f"{path.name}: removed", medium=path.name)
        for path in media.keys() - self._known_media.keys():
            text = f"{path.name}: plugged in, looking at it"
            self._device.bus.tell("media.found", text, medium=path.name)
        self._known_media = media
        return [Place(self._device.paths.inbox, Origin.INBOX, read_only=False), *media.values()]

    def _scan(self) -> tuple[list[Found], Again]:
        found: list[Found] = []
        pending = False
        for place in self._places():
            scan = self._scanner.scan(place)
            self._tell_scan(place, scan)
            found += scan.complete
            pending |= scan.pending
        return found, SOON if pending else NEVER

    def _tell_scan(self, place: Place, scan: Scan) -> None:
        """What is odd about a place is told when it is news."""
        tell, medium = self._device.bus.tell, place.origin is Origin.MEDIA
        for file in scan.incomplete:
            code = "media.incomplete" if medium else "inbox.incomplete"
            where = place.path.name if medium else ""
            tell(code, f"{file.path.name}: stays incomplete", package=file.path.name, medium=where)
        problem, too_many = scan.problem if medium else None, scan.truncated_listing
        if (
            medium
            and place.path not in self._told
            and not (scan.complete or scan.incomplete or scan.pending or problem)
        ):
            tell("media.empty", f"{place.path.name}: holds no package", medium=place.path.name)
        before = self._told.get(place.path, (None, False))
        self._told[place.path] = (problem, too_many)
        if problem and problem != before[0]:
            text = f"{place.path.name}: cannot be read: {problem}"
            tell("media.unreadable", text, medium=place.path.name)
        if too_many and not before[1]:
            tell("media.too_many_files", f"{place.path.name}: holds more files than are looked at")

    def _handle_all(self, found: Iterable[Found]) -> Again:
        updater = Updater(self._device)
        again = NEVER
        for file, newest in _in_order(found, self._device.beat):
            if self._device.stop.is_set():
                break
            self._device.beat(0)
            if self._handle(updater, Request(file.path, file.place.origin, newest_here=newest)):
                self._put_away(file)
            else:
                again = self._patience.put_off(file)
        return again

    def _handle(self, updater: Updater, request: Request) -> bool:
        """Whether the package has had its turn."""
        try:
            verdict = updater.handle(request)
            return verdict is None or not verdict.retry
        except CaissonError:
            raise
        except Exception as exc:
            # a mistake of ours with this package: what it began is undone, the others go on
            traceback.print_exc()
            name = request.path.name
            self._device.bus.tell(
                "daemon.failed", f"{name}: caissond made a mistake: {type(exc).__name__}", package=name
            )
            settle(self._device)
            return False

    def _put_away(self, file: Found) -> None:
        """A handled package leaves the inbox; on a medium nothing is touched."""
        self._scanner.settle(file)
        if file.place.origin is not Origin.INBOX:
            return
        try:
            if Signature.of(os.lstat(file.path)) == file.signature:
                _remove(file.path)
        except FileNotFoundError:
            return
        except OSError as exc:
            text = f"{file.path.name}: handled, but cannot be removed: {exc.strerror}"
            self._device.bus.tell("inbox.stuck", text, package=file.path.name)

    def _tell_media_done(self, found: Iterable[Found]) -> None:
        """Nothing more will be read from it, unless a package on it has to wait."""
        waiting = {file.place.path for file in found if not self._patience.is_over(file)}
        media = {file.place.path for file in found if file.place.origin is Origin.MEDIA}
        for path in media - waiting:
            self._device.bus.tell("media.done", f"{path.name}: may be removed", medium=path.name)


class Patience:
    """How long a package that had to wait is left alone: longer each time, so that nothing is tried in a hot loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waits: dict[Path, tuple[Signature, float, float]] = {}

    def put_off(self, file: Found) -> Again:
        """It has to wait, twice as long as the time before."""
        before = self._waits.get(file.path)
        longer = before is not None and before[0] == file.signature
        wait_s = min(LONGEST_WAIT_S, before[2] * 2) if longer and before else FIRST_WAIT_S
        self._waits[file.path] = (file.signature, self._clock() + wait_s, wait_s)
        return Again(wait_s)

    def is_over(self, file: Found) -> bool:
        """Whether it may be tried; a file that changed may at once."""
        waiting = self._waits.get(file.path)
        return waiting is None or waiting[0] != file.signature or self._clock() >= waiting[1]


def _urgency(again: Again) -> float:
    return 0 if again.after_s is None else 1 / again.after_s


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        path.rmdir()  # a folder called x.edgepkg: only when it is empty
    else:
        path.unlink()


def _in_order(found: Iterable[Found], beat: Callable[[float], None]) -> list[tuple[Found, Mapping[str, str]]]:
    """Newest first, each with the newest version of each service in the same place."""
    peeked = []
    for file in found:
        beat(READ_STALL_S)
        peeked.append((file, *_peek(file.path)))
    newest: dict[Path, dict[str, str]] = {}
    for file, services, version in peeked:
        here = newest.setdefault(file.place.path, {})
        for service in services:
            if service not in here or Version.parse(version) > Version.parse(here[service]):
                here[service] = version
    peeked.sort(key=lambda item: Version.parse(item[2] or "0.0.0"), reverse=True)
    return [(file, newest[file.place.path]) for file, _, _ in peeked]


def _peek(path: Path) -> tuple[tuple[str, ...], str]:
    """The services and the version a package says it is for; empty when it cannot be read, which its turn will tell."""
    try:
        with open_regular(path) as source:
            manifest = read_package(source).manifest
            return manifest.services, manifest.version
    except (Refusal, SourceGone):
        return (), ""
