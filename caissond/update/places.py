"""The places where packages may lie: each is scanned, and what is odd about it is told when it is news."""

from collections.abc import Callable, Sequence
from pathlib import Path

from caissond.intake.scan import Found, Origin, Place, Scan, Scanner
from caissond.update.device import Device
from caissond.update.faulty_sticks import FaultySticks
from caissond.update.media_reports import asks_for_inventory
from caissond.update.order import MOST_TURNS, Turns, by_place

MOST_INCOMPLETE = 10
"""Files that are told one by one in one look."""
SOON_S = 1.0
"""When to look again at something that still grows."""


class Places:
    """The inbox and the media that are there. For one thread."""

    def __init__(
        self,
        device: Device,
        scanner: Scanner,
        media: Callable[[], tuple[Place, ...]],
        *,
        on_gone: Callable[[Path], None] = lambda _path: None,
        faulty: FaultySticks | None = None,
    ) -> None:
        """
        Args:
            media: the places that are mounted now.
            on_gone: told of a medium that went away; another one may be in its place already.
            faulty: tells of sticks that are not mounted at all.
        """
        self._device = device
        self._scanner = scanner
        self._media = media
        self._on_gone = on_gone
        self._faulty = faulty or FaultySticks(device.bus)
        self._known: dict[Path, Place] = {}
        self._told: dict[Path, tuple[str | None, bool]] = {}
        self.growing: frozenset[Path] = frozenset()
        """Where something may soon be complete, by the last look."""
        self.fruitless: frozenset[Path] = frozenset()
        """Media with nothing on them that gets a turn, though they are not empty or were not, by the last look."""

    def is_known(self, path: Path) -> bool:
        """Whether this medium was there at the last look."""
        return path in self._known

    def look(self) -> tuple[list[Found], float | None]:
        """Look at every place once.

        Returns:
            What is complete, and after how many seconds to look again; None: when there is a hint.
        """
        media = self._media()
        self._tell_changes({place.path: place for place in media})
        found: list[Found] = []
        grew = self.growing
        self.growing = self.fruitless = frozenset()
        waits = [self._faulty.look([place.path for place in media])]
        for place in (Place(self._device.paths.inbox, Origin.INBOX, read_only=False), *media):
            if self._scanner.is_finished(place):
                continue
            scan = self._scanner.scan(place)
            self._tell(place, scan)
            found += scan.complete
            waits.append(SOON_S if scan.pending else None)
            if scan.pending:
                self.growing |= {place.path}
            is_odd = scan.incomplete or scan.problem or place.path in grew
            if place.origin is Origin.MEDIA and not scan.complete and is_odd:
                self.fruitless |= {place.path}
        return found, min((wait_s for wait_s in waits if wait_s is not None), default=None)

    def pass_over(self, turns: Turns) -> None:
        """Those that get no turn are told in one line for each medium."""
        for path, files in by_place(turns.for_others).items():
            text = f"{path.name}: {len(files)} more packages are for other devices"
            self._device.bus.tell("package.not_for_this_device", text, medium=path.name)
        for path, files in by_place(turns.too_many).items():
            text = f"{path.name}: the newest {MOST_TURNS} packages get a turn, {len(files)} do not"
            self._device.bus.tell("media.too_many_packages", text, medium=path.name)
        for file in (*turns.for_others, *turns.too_many):
            self._scanner.settle(file)

    def _tell_changes(self, media: dict[Path, Place]) -> None:
        """A medium that was replaced by another one under the same name has gone, too."""
        before = self._known
        self._known = media
        for path in (path for path in before if not _is_same(before[path], media.get(path))):
            self._scanner.forget(before[path])
            self._told.pop(path, None)
            self._on_gone(path)
            self._device.bus.tell("media.gone", f"{path.name}: removed", medium=path.name)
        for path in (path for path in media if not _is_same(media[path], before.get(path))):
            text = f"{path.name}: plugged in, looking at it"
            self._device.bus.tell("media.found", text, medium=path.name)

    def _tell(self, place: Place, scan: Scan) -> None:
        """What is odd about a place is told when it is news."""
        is_medium = place.origin is Origin.MEDIA
        self._tell_incomplete(place, scan.incomplete)
        problem, too_many = scan.problem if is_medium else None, scan.truncated_listing
        before = self._told.get(place.path)
        is_news = is_medium and before is None and not asks_for_inventory(place.path)
        if is_news and _is_empty(scan) and self._is_there(place):
            self._tell_of(place, "media.empty", "holds no package")
        self._told[place.path] = (problem, too_many)
        problem_before, too_many_before = before or (None, False)
        if problem and problem != problem_before:
            self._tell_of(place, "media.unreadable", f"cannot be read: {problem}")
        if too_many and not too_many_before:
            self._tell_of(place, "media.too_many_files", "holds more files than are looked at")

    def _tell_of(self, place: Place, code: str, text: str) -> None:
        self._device.bus.tell(code, f"{place.path.name}: {text}", medium=place.path.name)

    def _tell_incomplete(self, place: Place, files: Sequence[Found]) -> None:
        code = "media.incomplete" if place.origin is Origin.MEDIA else "inbox.incomplete"
        medium = place.path.name if place.origin is Origin.MEDIA else ""
        for file in files[:MOST_INCOMPLETE]:
            name = file.path.name
            self._device.bus.tell(code, f"{name}: stays incomplete", package=name, medium=medium)
        if len(files) > MOST_INCOMPLETE:
            text = f"{medium or 'the inbox'}: {len(files) - MOST_INCOMPLETE} more files stay incomplete"
            self._device.bus.tell(code, text, medium=medium)

    def _is_there(self, place: Place) -> bool:
        """Still: after a yank vfat lists nothing, without an error (docs/intake.md)."""
        return any(_is_same(place, now) for now in self._media())


def _is_same(place: Place, other: Place | None) -> bool:
    return other is not None and (place.path, place.sequence) == (other.path, other.sequence)


def _is_empty(scan: Scan) -> bool:
    return not (scan.complete or scan.incomplete or scan.pending or scan.problem)
