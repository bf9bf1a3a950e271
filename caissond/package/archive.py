"""The members of a tar file, by our own strict walk from header to header: it seeks, never reads what members hold.

Rules it keeps (Python's tarfile keeps none of them; see docs/):

* Memory is flat, and so is time: 512 bytes are read for each member, whatever its size.
* The archive ends in two zero blocks. One without them is `Truncated`, never invalid: it may still be growing.
* Behind them stand zero bytes only. A second archive there would be another package to another reader.
* A name stands once. Links, devices, sparse files, GNU long names and PAX names or sizes are refused, never followed.
* In a package the checks, their order and their codes are those of the Rust tool `caisson` 0.1.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import BinaryIO

from caissond.errors import Refusal, Truncated
from caissond.model.manifest import MAX_MANIFEST_BYTES
from caissond.package.header import BLOCK_BYTES, MAX_PAX_BYTES, Header, check_pax, parse_header, parse_size
from caissond.package.names import parse_image_name, parse_package_name, parse_text
from caissond.package.source import Window, read_chunks, read_exact

__all__ = [
    "Member",
    "MemberKind",
    "Profile",
    "Window",
    "check_package",
    "is_whole",
    "read_inside",
    "read_members",
    "read_small",
    "walk",
]

MAX_PADDING_BYTES = 1 << 20
MANIFEST_NAME = "manifest.toml"
IMAGE_NAME = "image.tar"

_ZERO_BLOCK = bytes(BLOCK_BYTES)
MOST_ENTRIES = 10_000


class MemberKind(StrEnum):
    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"


class Profile(Enum):
    """Which archive it is, and so what may stand in it."""

    PACKAGE = auto()
    IMAGE = auto()


@dataclass(frozen=True, slots=True)
class Member:
    """One entry; `offset` is where its data begins in the source, counted from the source's own beginning."""

    name: str
    kind: MemberKind
    offset: int
    size_bytes: int
    link: str = ""

    @property
    def window(self) -> Window:
        return Window(self.offset, self.size_bytes)


def read_members(source: BinaryIO, window: Window, profile: Profile) -> tuple[Member, ...]:
    """Every member of the archive in this window, in its order, with clean and unique names.

    For a package this includes `check_package`. What the members hold is **not** looked at.

    Raises:
        Truncated: the window ends before the end marker.
        Refusal: `archive.*`; for a package also `manifest.too_large` and `image.empty_archive`.
        SourceGone: the source cannot be read.
    """
    rules = _RULES[profile]
    members: dict[str, Member] = {}
    for header, offset in _real_headers(source, window, rules.max_entries):
        member = _parse_member(header, offset, rules, members)
        if profile is Profile.PACKAGE:
            _check_package_member(member)
        members[member.name] = member
    found = tuple(members.values())
    if profile is Profile.PACKAGE:
        check_package(found)
    return found


def is_whole(source: BinaryIO, window: Window) -> bool:
    """Whether the file has all its bytes, going by its headers alone. A whole file may still be a bad one.

    Raises:
        SourceGone: the source cannot be read.
    """
    try:
        for _ in walk(source, window, MOST_ENTRIES):
            pass
    except Truncated:
        return False
    except Refusal:
        return True
    return True


def read_small(
    source: BinaryIO, member: Member, limit: int, *, code: str = "archive.invalid_entry_size"
) -> bytes:
    """The content of a small member.

    Args:
        limit: the most bytes that are read into memory.
        code: the refusal's, for a member larger than that.

    Raises:
        Truncated: the source ends inside the member.
        SourceGone: the source cannot be read.
    """
    if member.size_bytes > limit:
        raise Refusal(
            f"cannot read {member.name!r} of {member.size_bytes} bytes, at most {limit} are allowed",
            code=code,
        )
    return read_exact(source, member.offset, member.size_bytes)


def check_package(members: tuple[Member, ...]) -> None:
    """Both members that make a package of format 1 are there.

    Raises:
        Refusal: `archive.missing_manifest`, `archive.missing_image`.
    """
    names = {member.name for member in members}
    if MANIFEST_NAME not in names:
        raise Refusal(f"cannot find {MANIFEST_NAME} in the package", code="archive.missing_manifest")
    if IMAGE_NAME not in names:
        raise Refusal(f"cannot find {IMAGE_NAME} in the package", code="archive.missing_image")


def walk(source: BinaryIO, window: Window, max_entries: int) -> Iterator[tuple[Header, int]]:
    """Each header up to the end marker, and where its data begins. Policy is the caller's: it may stop the walk."""
    position, number = window.offset, 0
    while (block := read_inside(source, window, position, BLOCK_BYTES)) != _ZERO_BLOCK:
        number += 1
        if number > max_entries:
            raise Refusal(
                f"cannot accept more than {max_entries} entries in an archive",
                code="archive.too_many_entries",
            )
        code = "archive.read_failed" if number == 1 else "archive.entry_read_failed"
        header = parse_header(block, code=code)
        position += BLOCK_BYTES
        yield header, position
        position += -(-parse_size(header) // BLOCK_BYTES) * BLOCK_BYTES
    _check_end(source, window, position + BLOCK_BYTES)


def _check_end(source: BinaryIO, window: Window, position: int) -> None:
    """The second zero block of the end marker, and nothing but padding behind it."""
    if read_inside(source, window, position, BLOCK_BYTES) != _ZERO_BLOCK:
        raise _trailing("one zero block and then something else", position)
    padding = Window(position + BLOCK_BYTES, window.end - position - BLOCK_BYTES)
    if padding.size_bytes > MAX_PADDING_BYTES:
        raise _trailing(f"{padding.size_bytes} more bytes", position)
    if any(chunk.strip(b"\0") for chunk in read_chunks(source, padding)):
        raise _trailing("more than zeros", position)


def _trailing(found: str, position: int) -> Refusal:
    return Refusal(
        f"cannot accept {found} at byte {position}, expected the end of the archive and up to 1 MiB of zeros",
        code="archive.trailing_data",
    )


def read_inside(source: BinaryIO, window: Window, position: int, size_bytes: int) -> bytes:
    if position + size_bytes > window.end:
        raise Truncated(
            f"cannot read the archive, it ends at byte {window.end} but goes on to byte {position + size_bytes}",
            code="archive.truncated",
        )
    return read_exact(source, position, size_bytes)


def _real_headers(source: BinaryIO, window: Window, max_entries: int) -> Iterator[tuple[Header, int]]:
    """The headers that stand for a member; harmless PAX headers are checked and left out."""
    after_pax = False
    for header, offset in walk(source, window, max_entries):
        if header.type in {b"L", b"K", b"g"} or (header.type == b"x" and after_pax):
            raise _unsafe(header, "GNU long names and stray or global PAX headers are not allowed")
        if header.type == b"x":
            _check_pax_member(source, window, header, offset)
        else:
            yield header, offset
        after_pax = header.type == b"x"
    if after_pax:
        raise Refusal("cannot accept a PAX header without a member", code="archive.unsafe_entry_type")


def _check_pax_member(source: BinaryIO, window: Window, header: Header, offset: int) -> None:
    size_bytes = parse_size(header)
    if size_bytes > MAX_PAX_BYTES:
        raise _unsafe(header, f"it has {size_bytes} bytes, at most {MAX_PAX_BYTES} are allowed")
    check_pax(read_inside(source, window, offset, size_bytes))


def _unsafe(header: Header, reason: str) -> Refusal:
    return Refusal(
        f"cannot accept entry {header.name!r:.120} of type {header.type!r}: {reason}",
        code="archive.unsafe_entry_type",
    )


@dataclass(frozen=True, slots=True)
class _Rules:
    max_entries: int
    kinds: Mapping[bytes, MemberKind]
    parse_name: Callable[[Header], str]


def _parse_member(header: Header, offset: int, rules: _Rules, seen: Mapping[str, Member]) -> Member:
    """Checks in this order: name, duplicate, type, size. It is the Rust tool's, and its codes depend on it."""
    name = rules.parse_name(header)
    if name in seen:
        raise Refusal(f"cannot accept entry {name!r:.120} twice", code="archive.duplicate_entry")
    kind = rules.kinds.get(header.type)
    if kind is None:
        raise _unsafe(header, f"expected one of {', '.join(sorted(set(rules.kinds.values())))}")
    size_bytes = parse_size(header)
    if kind is not MemberKind.FILE and size_bytes:
        raise Refusal(
            f"cannot accept the {kind} {name!r:.120} of {size_bytes} bytes, expected 0",
            code="archive.invalid_entry_size",
        )
    link = parse_text(header.link) if kind is MemberKind.SYMLINK else ""
    return Member(name, kind, offset, size_bytes, link)


def _check_package_member(member: Member) -> None:
    if member.name == MANIFEST_NAME and member.size_bytes > MAX_MANIFEST_BYTES:
        raise Refusal(
            f"cannot accept a manifest of {member.size_bytes} bytes, at most {MAX_MANIFEST_BYTES} are allowed",
            code="manifest.too_large",
        )
    if member.name == IMAGE_NAME and member.size_bytes == 0:
        raise Refusal(f"cannot accept an empty {IMAGE_NAME}", code="image.empty_archive")


_FILES = {b"0": MemberKind.FILE, b"\0": MemberKind.FILE}
_IMAGE_KINDS = _FILES | {b"5": MemberKind.DIRECTORY, b"2": MemberKind.SYMLINK}
_RULES = {
    Profile.PACKAGE: _Rules(1_000, _FILES, parse_package_name),
    Profile.IMAGE: _Rules(MOST_ENTRIES, _IMAGE_KINDS, parse_image_name),
}
