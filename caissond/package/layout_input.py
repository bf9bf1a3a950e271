"""Where the files of somebody else's OCI image layout are: in a folder, or in a tar. No link in it is followed."""

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from caissond.errors import Refusal
from caissond.package.archive import Member, MemberKind, Profile, read_members
from caissond.package.source import Window


class Layout(Protocol):
    """Where the files of a layout are."""

    def open(self, name: str) -> AbstractContextManager[tuple[BinaryIO, Window]]:
        """The file of this name, and which part of what is handed out it is.

        Raises:
            Refusal: `image.missing_blob`.
        """
        ...


@dataclass(frozen=True, slots=True)
class ArchiveLayout:
    """A layout in a tar."""

    source: BinaryIO
    members: Mapping[str, Member]

    @classmethod
    def read(cls, source: BinaryIO) -> "ArchiveLayout":
        """The layout in an open archive.

        Raises:
            Refusal: `archive.*`.
            SourceGone: the source cannot be read.
        """
        window = Window(0, os.fstat(source.fileno()).st_size)
        members = read_members(source, window, Profile.IMAGE)
        return cls(source, {member.name: member for member in members})

    def open(self, name: str) -> AbstractContextManager[tuple[BinaryIO, Window]]:
        member = self.members.get(name)
        if member is None or member.kind is not MemberKind.FILE:
            raise missing_blob(name)
        return nullcontext((self.source, member.window))


@dataclass(frozen=True, slots=True)
class FolderLayout:
    """A layout in a folder. No link inside of it is followed."""

    path: Path

    @contextmanager
    def open(self, name: str) -> Iterator[tuple[BinaryIO, Window]]:
        try:
            descriptor = _open_below(self.path, name.split("/"))
        except OSError as exc:
            raise missing_blob(name) from exc
        with os.fdopen(descriptor, "rb", buffering=0) as source:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise missing_blob(name)
            yield source, Window(0, status.st_size)


def _open_below(folder: Path, parts: Sequence[str]) -> int:
    """A file below a folder, one name after the other, no link followed; nothing waits for a FIFO's other end."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for number, part in enumerate(parts, 1):
        kind = os.O_NONBLOCK if number == len(parts) else os.O_DIRECTORY
        try:
            inner = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | kind, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = inner
    return descriptor


def missing_blob(name: str) -> Refusal:
    """The refusal of a layout that lacks a file, or has something else in its place."""
    return Refusal(f"cannot find {name} in the layout, expected a file", code="image.missing_blob")
