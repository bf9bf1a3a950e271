"""The inbox as a folder that is watched: made when it is missing, watched anew when it is another one.

Only says that something happened to a package. Where the kernel cannot watch (limits, network filesystems), or loses
events, the periodic rescan does the work alone.
"""

import errno
import grp
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from caissond.intake.scan import EXTENSION

GROUP = "caisson"
MODE = 0o1770

# A rename into the folder and a hard link are "created" here. FileModifiedEvent is left out: a copy of 1 GB makes
# thousands of them, and while a file grows it is looked at every so often anyway (docs/intake.md).
_EVENTS: list[type[FileSystemEvent]] = [
    FileCreatedEvent,
    DirCreatedEvent,
    FileMovedEvent,
    DirMovedEvent,
    FileClosedEvent,
    DirDeletedEvent,
]

# Without a handler of its own it writes to stderr when a watch ends while an event is read.
logging.getLogger("watchdog").addHandler(logging.NullHandler())


class InboxWatch:
    """Watches one folder."""

    def __init__(self, folder: Path, on_hint: Callable[[], None]) -> None:
        """
        Args:
            on_hint: called from a thread of its own; must not raise.
        """
        self._folder = folder
        self._handler = _Handler(folder.resolve(), on_hint)
        self._observer: BaseObserver | None = None
        self._identity: tuple[int, int] | None = None
        self._told: str | None = None

    def ensure(self) -> str | None:
        """Make sure that the folder is there and watched; to be called again every so often.

        Returns:
            Why it is not watched, when that is news.
        """
        problem = self._try()
        news = problem if problem != self._told else None
        self._told = problem
        return news

    def _try(self) -> str | None:
        try:
            make_inbox(self._folder)
            self._watch()
        except OSError as exc:
            self.stop()
            return f"cannot watch {self._folder}: {exc.strerror}"
        return None

    def stop(self) -> None:
        """Watch no more. Returns when the threads have ended; `ensure` starts anew."""
        if self._observer is not None:
            self._observer.stop()
            with suppress(RuntimeError):  # it was never started
                self._observer.join()
        self._observer = None

    def _watch(self) -> None:
        status = self._folder.stat()
        identity = status.st_dev, status.st_ino
        if self._is_alive() and identity == self._identity:
            return
        self.stop()
        self._observer = Observer()
        self._observer.schedule(self._handler, str(self._folder.resolve()), event_filter=_EVENTS)
        self._observer.start()
        self._identity = identity

    def _is_alive(self) -> bool:
        """The emitter ends by itself when its folder is deleted, and a new folder may get the old one's inode."""
        observer = self._observer
        return (
            observer is not None
            and observer.is_alive()
            and all(part.is_alive() for part in observer.emitters)
        )


class _Handler(FileSystemEventHandler):
    def __init__(self, folder: Path, on_hint: Callable[[], None]) -> None:
        self._gone = os.fsencode(folder)
        self._on_hint = on_hint

    def dispatch(self, event: FileSystemEvent) -> None:
        for path in (os.fsencode(event.src_path), os.fsencode(event.dest_path)):
            if path.lower().endswith(EXTENSION.encode()) or path == self._gone:
                self._on_hint()
                return


def make_inbox(folder: Path) -> None:
    """Make the folder when it is missing: members of the group `caisson` may drop files, not remove each other's.

    A folder that is there is left as the admin wants it.

    Raises:
        OSError: it cannot be made, or something else is in its place.
    """
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from None
        return
    with suppress(KeyError, PermissionError):  # no such group on this machine, or not root
        os.chown(folder, -1, grp.getgrnam(GROUP).gr_gid)
    folder.chmod(MODE)
