"""One tar header block, parsed strictly: checksum, numbers, names, and the body of a PAX header. No I/O.

Where parsers of the wild disagree we refuse: no signed checksum, no leading blanks in numbers, no PAX key that would
change what a member is. POSIX.1-2017 "pax", ustar and pax Interchange Formats; GNU tar manual, "Basic Tar Format".
"""

import re
from dataclasses import dataclass

from caissond.errors import Refusal

BLOCK_BYTES = 512
MAX_PAX_BYTES = 64 * 1024
MAX_SIZE_BYTES = 1 << 40
"""1 TiB. A larger size is a lie: no medium that a technician carries holds it."""

_USTAR = b"ustar\x0000"
_PLAIN_SIZE = re.compile(rb"[0-7]{11}[\0 ]")
_PLAIN_CHECKSUM = re.compile(rb"[0-7]{6}\0 ")
_OCTAL = re.compile(rb"([0-7]+)[ \0]*")
_PAX_LENGTH = re.compile(rb"([1-9][0-9]{0,5}) ")
# Python's tarfile writes mtime for every file, GNU tar atime and ctime too. None of these changes name, size or kind.
_HARMLESS_KEYS = {b"mtime", b"atime", b"ctime", b"uid", b"gid", b"uname", b"gname", b"comment"}


@dataclass(frozen=True, slots=True)
class Header:
    """The fields that matter, as they stand in the block; owners, modes and times are nobody's business here."""

    name: bytes
    type: bytes
    link: bytes
    size: bytes
    magic: bytes
    checksum: bytes
    idle: bytes
    """What a plain header leaves empty: behind the name, the link, the prefix, behind the fields."""


def parse_header(block: bytes, *, code: str) -> Header:
    """The header in this block of 512 bytes.

    The size is **not** looked at, see `parse_size`; the name is not judged.

    Raises:
        Refusal: `code`, when the checksum is not this block's.
    """
    if parse_number(block[148:156]) != sum(block) - sum(block[148:156]) + 8 * ord(" "):
        raise Refusal("cannot read a tar header, its checksum does not match its content", code=code)
    # Only ustar has a prefix; GNU tar keeps times in its place.
    prefix = _field(block[345:500]) if block[257:265] == _USTAR else b""
    name = _field(block[:100])
    return Header(
        name=prefix + b"/" + name if prefix else name,
        type=block[156:157],
        link=_field(block[157:257]),
        size=block[124:136],
        magic=block[257:265],
        checksum=block[148:156],
        idle=block[len(name) : 100] + block[157:257] + block[345:],
    )


def check_plain(header: Header) -> None:
    """Accept only what every tar of the world writes for a small regular file, in the one spelling that leaves no bit
    of these fields open: ustar, octal numbers of full width, no prefix, nothing behind the name.

    Raises:
        Refusal: `archive.not_ustar`.
    """
    plain_size = _PLAIN_SIZE.fullmatch(header.size) and _PLAIN_CHECKSUM.fullmatch(header.checksum)
    if header.magic != _USTAR or not plain_size or header.idle.strip(b"\0"):
        raise Refusal(
            f"cannot accept entry {header.name!r:.120}, expected a plain ustar header",
            code="archive.not_ustar",
        )


def _field(content: bytes) -> bytes:
    return content.partition(b"\0")[0]


def parse_number(field: bytes) -> int | None:
    """A number field: octal digits with blanks or NULs behind them, or base-256; None for anything else.

    A negative base-256 number is anything else. `tarfile` takes size -256 from one and walks backwards.
    """
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    match = _OCTAL.fullmatch(field)
    return int(match[1], 8) if match else None


def parse_size(header: Header) -> int:
    """The size in bytes of what follows this header.

    Raises:
        Refusal: `archive.invalid_entry_size`.
    """
    size_bytes = parse_number(header.size)
    if size_bytes is None or size_bytes > MAX_SIZE_BYTES:
        raise Refusal(
            f"cannot accept an entry of size {header.size!r}, expected a number up to {MAX_SIZE_BYTES}",
            code="archive.invalid_entry_size",
        )
    return size_bytes


def check_pax(body: bytes) -> None:
    """Accept a PAX header only when nothing in it changes what the next member is.

    Raises:
        Refusal: `archive.unsafe_entry_type` for any other key, `archive.entry_read_failed` where it is not PAX at all.
    """
    position = 0
    while position < len(body):
        record = _pax_record(body, position)
        key = record.partition(b"=")[0].partition(b" ")[2]
        if key not in _HARMLESS_KEYS:
            raise Refusal(
                f"cannot accept a PAX header that sets {key!r:.80}, expected only times and owners",
                code="archive.unsafe_entry_type",
            )
        position += len(record)


def _pax_record(body: bytes, position: int) -> bytes:
    """The record `LEN KEY=VALUE\\n` that begins here; LEN counts all of it."""
    match = _PAX_LENGTH.match(body, position)
    record = body[position : position + int(match[1])] if match else b""
    if not match or len(record) != int(match[1]) or not record.endswith(b"\n") or b"=" not in record:
        raise Refusal(
            f"cannot read a PAX header, expected a record 'LEN KEY=VALUE' at its byte {position}",
            code="archive.entry_read_failed",
        )
    return record
