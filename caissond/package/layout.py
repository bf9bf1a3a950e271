"""The members of a package of format 2: an OCI image layout with a signed manifest in front, in one plain tar.

Everything has its place, and nothing else may be there: no other entry, no other order, one spelling of each name and
size, zeros for padding. What no signature covers are owners, modes and times, which nobody reads, and the white space
of two small JSON files.

Sources: design, package format 2; OCI image spec 1.1, image-layout.md.
"""

import re
from collections.abc import Iterable
from typing import BinaryIO

from caissond.errors import Refusal, Truncated
from caissond.model.manifest import MAX_MANIFEST_BYTES, format_of
from caissond.package.archive import (
    MANIFEST_NAME,
    MOST_ENTRIES,
    Member,
    MemberKind,
    Window,
    read_inside,
    walk,
)
from caissond.package.header import BLOCK_BYTES, Header, check_plain, parse_header, parse_size

SIGNATURES_NAME = "manifest.toml.sig"
LAYOUT_NAME = "oci-layout"
INDEX_NAME = "index.json"
MAX_SIGNATURES_BYTES = 64 * 1024

BLOBS = "blobs/sha256/"
_HEAD = (MANIFEST_NAME, SIGNATURES_NAME, LAYOUT_NAME, INDEX_NAME)
_BLOB = re.compile(rb"blobs/sha256/[0-9a-f]{64}")


def blob_name(digest: str) -> str:
    """Where the blob with this digest stands."""
    return f"{BLOBS}{digest.removeprefix('sha256:')}"


def begins_as_format_2(source: BinaryIO, window: Window) -> bool:
    """Whether the file is to be read as format 2: its first entry is a manifest that says so, or one that says nothing
    that can be read, with format 2's parts behind it. What is wrong with it, its reading tells.

    Raises:
        SourceGone: the source cannot be read.
    """
    try:
        first, position = _header_at(source, window, window.offset)
        size_bytes = parse_size(first)
        if first.name != MANIFEST_NAME.encode() or size_bytes > MAX_MANIFEST_BYTES:
            return False
        version = format_of(read_inside(source, window, position, size_bytes))
        if version is not None:
            return version == 2
        second, _ = _header_at(source, window, _next_block(position + size_bytes))
        return second.name in (SIGNATURES_NAME.encode(), LAYOUT_NAME.encode())
    except (Refusal, Truncated):
        return False


def read_layout(source: BinaryIO, window: Window) -> dict[str, Member]:
    """Every member by its name, in order. What the members hold is **not** looked at.

    Raises:
        Truncated: the window ends before the end marker.
        Refusal: `archive.*`.
        SourceGone: the source cannot be read.
    """
    members: dict[str, Member] = {}
    for header, offset in walk(source, window, MOST_ENTRIES):
        member = _parse_member(header, offset)
        if member.name in members:
            raise Refusal(f"cannot accept entry {member.name!r} twice", code="archive.duplicate_entry")
        _check_padding(source, window, member)
        members[member.name] = member
    _check_order(members)
    return members


def _header_at(source: BinaryIO, window: Window, position: int) -> tuple[Header, int]:
    block = read_inside(source, window, position, BLOCK_BYTES)
    return parse_header(block, code="archive.read_failed"), position + BLOCK_BYTES


def _next_block(position: int) -> int:
    return -(-position // BLOCK_BYTES) * BLOCK_BYTES


def _parse_member(header: Header, offset: int) -> Member:
    """Checks in this order: type, header, name, size."""
    if header.type != b"0":
        raise Refusal(
            f"cannot accept entry {header.name!r:.120} of type {header.type!r}, expected a regular file",
            code="archive.unsafe_entry_type",
        )
    check_plain(header)
    if header.name not in {name.encode() for name in _HEAD} and not _BLOB.fullmatch(header.name):
        raise Refusal(
            f"cannot accept entry {header.name!r:.120}, it has no place in a package",
            code="archive.unexpected_entry",
        )
    return Member(header.name.decode(), MemberKind.FILE, offset, parse_size(header))


def _check_padding(source: BinaryIO, window: Window, member: Member) -> None:
    end = member.window.end
    if read_inside(source, window, end, _next_block(end) - end).strip(b"\0"):
        raise Refusal(
            f"cannot accept what stands behind entry {member.name!r}, expected zeros up to the next block",
            code="archive.dirty_padding",
        )


def _check_order(names: Iterable[str]) -> None:
    """The four in front, the signatures only where there are any, then blobs. Their order is `oci.check_layout`'s."""
    found = tuple(names)
    head = tuple(name for name in _HEAD if name in found)
    if MANIFEST_NAME not in head:  # it was there a moment ago
        raise Refusal(f"cannot find {MANIFEST_NAME} in the package", code="archive.missing_manifest")
    for name in (LAYOUT_NAME, INDEX_NAME):
        if name not in head:
            raise Refusal(f"cannot find {name} in the package", code="archive.missing_layout")
    if found[: len(head)] != head:
        raise Refusal(
            f"cannot accept a package that begins with {', '.join(found[: len(head)])!r:.300}, "
            f"expected {', '.join(head)}",
            code="archive.wrong_order",
        )
