"""Packed bytes unpacked piece by piece: gzip and zstd, in memory that a bomb cannot make grow.

Streams may follow one another without a gap, as Go's readers (and so Docker) read them; anything else behind a
stream refuses it. Sources: RFC 1952; RFC 8878, of which frames with a window of more than 8 MiB are refused.
"""

import re
import sys
import zlib
from collections.abc import Iterable, Iterator
from enum import StrEnum

from caissond.package.source import CHUNK_BYTES

if sys.version_info >= (3, 14):
    from compression import zstd as zstd
else:
    from backports import zstd as zstd

MAX_WINDOW_LOG = 23
MAX_STREAMS = 1 << 16
"""In one blob. eStargz has one for each file; a bomb of empty ones costs time, not space."""

_GZIP = re.compile(rb"\x1f\x8b")
# zstd has skippable frames beside its ordinary ones: RFC 8878, 3.1.2.
_ZSTD = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")
_UNSUPPORTED = re.compile(rb"BZh|\xfd7zXZ\x00")
MAGIC_BYTES = 6
_SLICE_BYTES = 64 << 10


class Compression(StrEnum):
    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"


class BrokenStream(Exception):
    """What is packed cannot be unpacked; says why, in a clause that begins with `its`."""


def sniff(beginning: bytes) -> Compression | None:
    """How a blob is packed, by its first six bytes; None for a way that nobody here can unpack.

    Source: moby `pkg/archive`, DetectCompression.
    """
    if _UNSUPPORTED.match(beginning):
        return None
    if _ZSTD.match(beginning):
        return Compression.ZSTD
    return Compression.GZIP if _GZIP.match(beginning) else Compression.NONE


def unpack(chunks: Iterable[bytes], compression: Compression) -> Iterator[bytes]:
    """The bytes, unpacked, in pieces of at most 1 MiB. Nobody has checked what they are.

    Args:
        chunks: read to their end, in pieces of any size.

    Raises:
        BrokenStream: they are not what `compression` says, or end early.
    """
    match compression:
        case Compression.NONE:
            yield from chunks
        case Compression.GZIP:
            yield from _gunzip(chunks)
        case Compression.ZSTD:
            yield from _unzstd(chunks)


def _gunzip(chunks: Iterable[bytes]) -> Iterator[bytes]:
    stream, streams = _gzip_stream(), 0
    for rest in _slices(chunks):
        while rest:
            if stream.eof or not streams:
                stream, streams = _gzip_stream(), _count(streams)
            try:
                piece = stream.decompress(rest, CHUNK_BYTES)
            except zlib.error as exc:
                raise BrokenStream(f"its gzip stream is broken: {exc}") from exc
            rest = stream.unused_data or stream.unconsumed_tail
            if piece:
                yield piece
    if not stream.eof:
        raise BrokenStream("its gzip stream ends early")


def _gzip_stream() -> "zlib._Decompress":
    return zlib.decompressobj(wbits=31)


def _unzstd(chunks: Iterable[bytes]) -> Iterator[bytes]:
    frame, frames = _zstd_frame(), 0
    for rest in _slices(chunks):
        while rest or not (frame.needs_input or frame.eof):
            if frame.eof or not frames:
                frame, frames = _zstd_frame(), _count(frames)
            try:
                piece = frame.decompress(rest, CHUNK_BYTES)
            except zstd.ZstdError as exc:
                raise BrokenStream(f"its zstd stream is broken: {exc}") from exc
            rest = frame.unused_data if frame.eof else b""
            if piece:
                yield piece
    if not frame.eof:
        raise BrokenStream("its zstd stream ends early")


def _zstd_frame() -> zstd.ZstdDecompressor:
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: MAX_WINDOW_LOG})


def _slices(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Small, since a decompressor copies what stands behind its stream: thousands of empty ones in a large piece
    would copy it thousands of times.
    """
    for chunk in chunks:
        for start in range(0, len(chunk), _SLICE_BYTES):
            yield chunk[start : start + _SLICE_BYTES]


def _count(streams: int) -> int:
    if streams == MAX_STREAMS:
        raise BrokenStream(f"its content is packed in more than {MAX_STREAMS} streams")
    return streams + 1
