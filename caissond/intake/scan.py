"""What lies in the inbox or on a medium, and which of it is complete. The only judge: events merely say when to ask.

A file is complete when it looked the same in two scans, a while apart, and its archive has its end marker. A short one
is waited for, then told once as incomplete; it is never called invalid here. What is no regular file is handed on as
it is, so that the reader refuses it and somebody is told.
"""

import os
import stat
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from pathlib import Path

from caissond.errors import SourceGone

EXTENSION = ".edgepkg"
MAX_DEPTH = 3
MAX_ENTRIES = 30_000
# Hints come in bursts, and two scans in one burst prove nothing. A copy that allocates its whole size first (Samba)
# would then be taken for a damaged package.
STABLE_S = 0.5

# Deleted packages lie in the first three, under names that still end in .edgepkg.
_NEVER_ENTERED = frozenset(
    {
        "$recycle.bin",
        "recycler",
        "recycled",
        "system volume information",
        "lost+found",
        "lost.dir",
        "caisson-receipts",
    }
)


class Origin(StrEnum):
    INBOX = "inbox"
    MEDIA = "media"
    COMMAND = "command"


@dataclass(frozen=True, slots=True)
class Place:
    """A folder that is looked at."""

    path: Path
    origin: Origin
    read_only: bool
    """Nobody can write to it: what is there once will not grow."""
    sequence: str = ""
    """Tells what is plugged in from what was there before it under the same name."""


@dataclass(frozen=True, slots=True)
class Signature:
    """Tells whether a file is still the one that was looked at, without reading it."""

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Signature":
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@dataclass(frozen=True, slots=True)
class Found:
    """Something with a package's name. Whether it is a package, or a file at all, is the reader's business."""

    path: Path
    place: Place
    signature: Signature


@dataclass(frozen=True, slots=True)
class Scan:
    """One look at one place."""

    complete: tuple[Found, ...]
    """Sorted by path. Returned by every scan until they are settled, change or go away."""
    pending: bool
    """A file still grows: look again soon."""
    incomplete: tuple[Found, ...]
    """Those that stayed short for too long; each is in one scan only."""
    problem: str | None
    """The place, or a part of it, could not be read; the rest stands."""
    truncated_listing: bool
    """There was more than is looked at."""


class _State(Enum):
    COMPLETE = auto()
    PENDING = auto()
    INCOMPLETE = auto()
    QUIET = auto()


@dataclass(slots=True)
class _Known:
    """What is remembered of a file from one scan to the next."""

    signature: Signature
    since: float
    told: bool = False
    whole: bool = False
    settled: bool = False


class Scanner:
    """Looks at places, and remembers what it saw. For one thread."""

    def __init__(
        self,
        *,
        is_whole: Callable[[Path], bool],
        on_folder: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        incomplete_s: float,
    ) -> None:
        """
        Args:
            is_whole: whether the archive has its end marker; may raise SourceGone or OSError.
            on_folder: called before a folder is listed, which a stick may take its time for.
            incomplete_s: how long a file may stay short before it is told.
        """
        self._is_whole = is_whole
        self._on_folder = on_folder
        self._clock = clock
        self.incomplete_s = incomplete_s
        self._known: dict[Path, dict[Path, _Known]] = {}
        self._finished: dict[Path, Place] = {}

    def scan(self, place: Place) -> Scan:
        """Look at the place once. Never raises for what is there or has gone; a FIFO, link or device is not opened."""
        listing = Listing(place, self._on_folder)
        found = sorted(listing.files(), key=lambda file: os.fsencode(file[0].path))
        known = self._known.setdefault(place.path, {})
        if listing.problem is None and not listing.truncated:
            for path in known.keys() - {file.path for file, _ in found}:
                del known[path]
        sorted_out: dict[_State, list[Found]] = {state: [] for state in _State}
        for file, is_regular in found:
            try:
                state = self._judge(file, known, is_regular=is_regular)
            except (SourceGone, OSError) as exc:
                listing.note(exc)
                state = _State.QUIET
            sorted_out[state].append(file)
        self._finished.pop(place.path, None)
        if place.read_only and listing.problem is None:
            self._finished[place.path] = place
        return Scan(
            complete=tuple(sorted_out[_State.COMPLETE]),
            pending=bool(sorted_out[_State.PENDING]),
            incomplete=tuple(sorted_out[_State.INCOMPLETE]),
            problem=listing.problem,
            truncated_listing=listing.truncated,
        )

    def is_finished(self, place: Place) -> bool:
        """Nothing new can come from it: nobody can write to it, it was read without a problem, and all that was found
        was settled or told.
        """
        return self._finished.get(place.path) == place and all(
            known.settled or (known.told and not known.whole) for known in self._known[place.path].values()
        )

    def settle(self, found: Found) -> None:
        """It was handled: while it stays as it was, it is not returned again."""
        known = self._known.setdefault(found.place.path, {})
        known[found.path] = _Known(found.signature, self._clock(), settled=True)

    def forget(self, place: Place) -> None:
        """The place went away; what comes back under its path is new."""
        self._known.pop(place.path, None)
        self._finished.pop(place.path, None)

    def _judge(self, file: Found, known: dict[Path, _Known], *, is_regular: bool) -> _State:
        """
        Raises:
            SourceGone, OSError: as `is_whole`.
        """
        now = known.get(file.path)
        if now is None or now.signature != file.signature:
            told = now is not None and now.told
            now = known[file.path] = _Known(file.signature, self._clock(), told=told, whole=not is_regular)
        if now.settled:
            return _State.QUIET
        if not now.whole and not file.place.read_only and self._clock() - now.since < STABLE_S:
            return _State.PENDING
        now.whole = now.whole or self._is_whole(file.path)
        return _State.COMPLETE if now.whole else self._judge_short(file.place, now)

    def _judge_short(self, place: Place, now: _Known) -> _State:
        if now.told:
            return _State.QUIET
        now.told = place.read_only or self._clock() - now.since >= self.incomplete_s
        return _State.INCOMPLETE if now.told else _State.PENDING


def is_package_name(name: str) -> bool:
    """Case does not count: some systems write all of a name in capitals on vfat."""
    return name.lower().endswith(EXTENSION)


class Listing:
    """The files in a place that have a package's name, and what went wrong while looking for them."""

    def __init__(self, place: Place, on_folder: Callable[[], None] = lambda: None) -> None:
        self._place = place
        self._on_folder = on_folder
        self._left = MAX_ENTRIES
        self.problem: str | None = None
        self.truncated = False

    def note(self, error: Exception) -> None:
        """Remember the first problem."""
        text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        self.problem = self.problem or text

    def files(self) -> Iterator[tuple[Found, bool]]:
        """Each file, and whether it is a regular one. The top level comes first, so that a full medium hides only
        what lies deep.
        """
        folders = deque([(self._place.path, 0)])
        while folders and not self.truncated:
            folder, depth = folders.popleft()
            self._on_folder()
            for entry in self._entries(folder, is_top=depth == 0):
                if entry.name.startswith("."):
                    continue
                if is_package_name(entry.name):
                    yield from self._file(entry)
                elif self._place.origin is Origin.MEDIA and depth < MAX_DEPTH and self._may_enter(entry):
                    folders.append((Path(entry.path), depth + 1))

    def _entries(self, folder: Path, *, is_top: bool) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if self._left == 0:
                        self.truncated = True
                        return
                    self._left -= self._counts(entry)
                    yield entry
        except FileNotFoundError as exc:
            if is_top:
                self.note(exc)
        except OSError as exc:
            self.note(exc)

    def _counts(self, entry: os.DirEntry[str]) -> bool:
        """In the inbox only packages do: they leave it, so other files cannot hide them for ever."""
        return self._place.origin is Origin.MEDIA or is_package_name(entry.name)

    def _file(self, entry: os.DirEntry[str]) -> Iterator[tuple[Found, bool]]:
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return
        except OSError as exc:
            self.note(exc)
            return
        yield Found(Path(entry.path), self._place, Signature.of(status)), stat.S_ISREG(status.st_mode)

    def _may_enter(self, entry: os.DirEntry[str]) -> bool:
        """A folder of this very filesystem that is no bin and none of ours."""
        try:
            if not entry.is_dir(follow_symlinks=False) or entry.name.lower() in _NEVER_ENTERED:
                return False
            return entry.stat(follow_symlinks=False).st_dev == self._place.path.stat().st_dev
        except FileNotFoundError:
            return False
        except OSError as exc:
            self.note(exc)
            return False
