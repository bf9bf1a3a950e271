"""How long a medium is wanted: told that it may be removed as soon as nothing more will be read from it or written to
it, which is while the gate still runs, and that it is needed when that turns out wrong.
"""

from collections.abc import Callable, Iterable, Set
from pathlib import Path

from caissond.intake.scan import Found, Origin, Place
from caissond.model.records import Verdict
from caissond.update.device import Device
from caissond.update.media_reports import MediaReports


class Visits:
    """The media that are there, and what is still to be done with each. For one thread."""

    def __init__(
        self, device: Device, media: Callable[[], tuple[Place, ...]], *, is_known: Callable[[Path], bool]
    ) -> None:
        """
        Args:
            media: the places that are mounted now.
            is_known: whether a medium was there when somebody looked last.
        """
        self._device = device
        self._media = media
        self._is_known = is_known
        self._reports = MediaReports(device, left_in=self._mounted())
        self._to_try: dict[Path, set[Path]] = {}
        """By medium: the packages on it that have not been tried in this round."""
        self._waiting: dict[Path, set[Path]] = {}
        """By medium: those that have to wait."""
        self._sequences: dict[Path, str] = {}
        """By medium: what tells it from another one at the same place."""
        self._coming: Set[Path] = frozenset()
        """Media with packages that are tried in the round that is about to begin."""
        self._growing: Set[Path] = frozenset()
        self._held_up: set[Path] = set()
        """Media with nothing to wait for but what grows there."""
        self._finished: set[Path] = set()
        """Media of which nothing is wanted any more, but something of another one on the same stick."""
        self._safe: set[Path] = set()
        """Media that were said to be safe to remove."""

    def begin(self, found: Iterable[Found], now: Iterable[Found]) -> None:
        """A round begins.

        Args:
            found: everything complete that has not had its turn.
            now: what is tried in this round.
        """
        wanted = {place for place in self._mounted() if self._has_packages(place)}
        self._to_try, waiting = _by_medium(now), _by_medium(found)
        self._held_up |= wanted - waiting.keys()  # what was to be tried is not there any more
        self._coming = frozenset()
        self._sequences = {file.place.path: file.place.sequence for file in now}
        self._waiting = {place: paths - self._to_try.get(place, set()) for place, paths in waiting.items()}
        for place in self._to_try:
            self._want(place)

    def forget(self, place: Path) -> None:
        """It went away; another one may be in its place already."""
        for media in (self._safe, self._finished, self._held_up):
            media.discard(place)
        for files in (self._to_try, self._waiting):
            files.pop(place, None)
        self._reports.forget(place)

    def is_read(self, file: Found) -> None:
        """Nothing more is read from this package, though its turn goes on."""
        place = file.place.path
        self._to_try.get(place, set()).discard(file.path)
        if file.place.origin is Origin.MEDIA and not self._reports.owes(place):
            self._tell_if_safe(place)

    def had_its_turn(self, file: Found, verdict: Verdict | None) -> None:
        """It is handled; None when it had been before."""
        if file.place.origin is not Origin.MEDIA:
            return
        if verdict is not None:
            self._reports.add(file.place.path, verdict)
        self._pass_on(file)

    def has_to_wait(self, file: Found) -> None:
        """It is tried again, so its medium is wanted."""
        if file.place.origin is not Origin.MEDIA:
            return
        self._waiting.setdefault(file.place.path, set()).add(file.path)
        self._want(file.place.path)
        self._pass_on(file)

    def was_cut_off(self, file: Found) -> None:
        """The round ends in the middle of its turn; it gets another."""
        if file.place.origin is Origin.MEDIA:
            self._waiting.setdefault(file.place.path, set()).add(file.path)
            self._want(file.place.path)

    def answer_requests(
        self, now: Iterable[Found], growing: Set[Path], fruitless: Set[Path] = frozenset()
    ) -> None:
        """Write the inventory to the media that ask for it; where packages come first, it is written after them.

        Args:
            now: what is tried next.
            growing: media on which something may soon be complete.
            fruitless: media with nothing on them that gets a turn.
        """
        self._held_up |= fruitless
        self._sequences = {}
        self._growing = growing
        self._coming = frozenset(file.place.path for file in now)
        for place in sorted(self._mounted().keys() - self._coming - growing):
            is_answered = self._reports.write_inventory(place, self._sequence(place))
            if is_answered or place in self._held_up | self._finished:
                self._held_up.discard(place)
                self._tell_if_safe(place)

    def _pass_on(self, file: Found) -> None:
        place = file.place.path
        self._to_try.get(place, set()).discard(file.path)
        is_last = not self._to_try.get(place)
        if not self._is_there(place):
            self._reports.give_up(place)
        elif is_last or self._reports.is_due(place):
            self._reports.write_receipts(place, self._sequence(place))
        if is_last and self._is_there(place):
            if place not in self._growing:
                self._reports.write_inventory(place, self._sequence(place))
            self._tell_if_safe(place)

    def _tell_if_safe(self, place: Path) -> None:
        """Partitions of one stick together: it is pulled as a whole."""
        if self._has_packages(place) or place in self._safe or not self._is_there(place):
            return
        if place in self._growing:
            self._held_up.add(place)
            return
        self._finished.add(place)
        stick = self._on_the_stick_of(place)
        if any(self._may_have_packages(other) for other in stick):
            return
        for done in sorted(stick & self._finished):
            self._finished.discard(done)
            self._safe.add(done)
            self._device.bus.tell("media.done", f"{done.name}: may be removed", medium=done.name)

    def _may_have_packages(self, place: Path) -> bool:
        return self._has_packages(place) or place in self._growing | self._coming or not self._is_known(place)

    def _has_packages(self, place: Path) -> bool:
        """Those that are still to be read."""
        return bool(self._to_try.get(place) or self._waiting.get(place))

    def _on_the_stick_of(self, place: Path) -> set[Path]:
        """The media that are pulled with it, itself among them."""
        mounted = self._mounted()
        same = {other for other, sequence in mounted.items() if sequence and sequence == mounted.get(place)}
        return {place, *same}

    def _want(self, place: Path) -> None:
        """Take back that it may be removed."""
        self._finished.discard(place)
        if place not in self._safe:
            return
        self._safe.discard(place)
        what = "leave it in" if self._is_there(place) else "plug it in again"
        self._device.bus.tell("media.needed", f"{place.name}: is wanted again, {what}", medium=place.name)

    def _is_there(self, place: Path) -> bool:
        """Still, and not another one in its place."""
        now = self._mounted()
        return place in now and now[place] == self._sequences.get(place, now[place])

    def _sequence(self, place: Path) -> str:
        """What tells the medium that was looked at from another one."""
        return self._sequences.get(place) or self._mounted().get(place, "")

    def _mounted(self) -> dict[Path, str]:
        return {place.path: place.sequence for place in self._media()}


def _by_medium(files: Iterable[Found]) -> dict[Path, set[Path]]:
    media: dict[Path, set[Path]] = {}
    for file in files:
        if file.place.origin is Origin.MEDIA:
            media.setdefault(file.place.path, set()).add(file.path)
    return media
