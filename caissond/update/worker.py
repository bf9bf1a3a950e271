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

from caissond.errors import CaissonError, LockBusy
from caissond.intake.scan import Found, Origin, Place, Scanner, Signature
from caissond.store.lock import hold_lock
from caissond.update.acceptance import Request
from caissond.update.device import Device
from caissond.update.leave import Waiting
from caissond.update.order import Turns, peek_all, plan_turns
from caissond.update.places import Places
from caissond.update.recovery import settle
from caissond.update.updater import Updater
from caissond.update.visits import Visits


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
        self._visits = Visits(device, media, is_known=lambda path: self._places.is_known(path))
        self._places = Places(device, scanner, media, on_gone=self._visits.forget)
        self._on_scanned = on_scanned
        self._patience = Patience()
        self._waiting = Waiting(device)
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
        found, wait_s = self._places.look()
        found = self._waiting.due(found)
        self._waiting.save_time()
        again = max((Again(wait_s), Again(self._waiting.wait_s)), key=_urgency)
        self._on_scanned()
        if self._device.config_problem is not None:
            # nothing is read, so no medium is wanted for its packages
            self._visits.begin((), now=())
            fruitless = self._places.fruitless | {file.place.path for file in found}
            self._visits.answer_requests((), self._places.growing, fruitless)
            return NEVER
        now = [file for file in found if self._patience.is_over(file) and os.path.lexists(file.path)]
        if not now:
            self._visits.begin(found, now)
        self._visits.answer_requests(now, self._places.growing, self._places.fruitless)
        if not now:
            return again
        try:
            with self._lock():
                settle(self._device)
                self._visits.begin(found, now)
                again = max((again, self._handle_all(now)), key=_urgency)
        except LockBusy as exc:
            return self._wait_for_lock(exc)
        self._busy_told = False
        return again

    def _lock(self) -> AbstractContextManager[None]:
        return hold_lock(self._device.paths.lock, who=f"caissond, process {os.getpid()}")

    def _wait_for_lock(self, busy: LockBusy) -> Again:
        if not self._busy_told:
            self._device.bus.tell(busy.code, f"{busy.message}; waiting")
        self._busy_told = True
        return SOON

    def _handle_all(self, found: Iterable[Found]) -> Again:
        updater = Updater(self._device)
        again = NEVER
        turns = plan_turns(peek_all(self._device, found))
        self._pass_over(turns)
        for turn in turns.turns:
            if self._device.stop.is_set():
                break
            self._device.beat(0)
            if self._handle(updater, turn.file, turn.newest_here):
                self._put_away(turn.file)
            elif turn.file not in self._waiting:
                again = self._patience.put_off(turn.file)
        return max((again, Again(self._waiting.wait_s)), key=_urgency)

    def _pass_over(self, turns: Turns) -> None:
        self._places.pass_over(turns)
        for file in (*turns.for_others, *turns.too_many):
            self._visits.had_its_turn(file, None)

    def _handle(self, updater: Updater, file: Found, newest: Mapping[str, str]) -> bool:
        """Whether the package has had its turn."""
        request = Request(
            file.path, file.place.origin, newest_here=newest, on_read=lambda: self._visits.is_read(file),
            on_later=lambda releases: self._waiting.put_off(file, releases),
        )  # fmt: skip
        try:
            verdict = updater.handle(request)
        except CaissonError:
            self._visits.was_cut_off(file)
            raise
        except Exception as exc:
            # a mistake of ours with this package: what it began is undone, the others go on
            traceback.print_exc()
            name = request.path.name
            self._device.bus.tell(
                "daemon.failed", f"{name}: caissond made a mistake: {type(exc).__name__}", package=name
            )
            settle(self._device)
            self._visits.has_to_wait(file)
            return False
        if file in self._waiting:  # nothing is read until its time, so its medium may be removed
            self._visits.had_its_turn(file, verdict)
            return False
        if verdict is not None and verdict.retry:
            self._visits.has_to_wait(file)
            return False
        self._visits.had_its_turn(file, verdict)
        return True

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
