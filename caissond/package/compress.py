"""Layers packed anew with zstd, the same bytes on every machine.

zstd's own threads make other bytes than no thread at all, but the same for any number of them: so there is always one
at least. The unpacked size goes into the frame and steers its parameters, so it is always known before: a layer that
comes packed is read twice. Level 19 and below never need a window of more than 8 MiB (zstd 1.5, `clevels.h`).
"""

import hashlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from caissond.errors import Refusal
from caissond.package.compression import Compression
from caissond.package.layers import Layer, check_layer, unpack_layer
from caissond.package.staging import private_file, write_private

if sys.version_info >= (3, 14):
    from compression.zstd import CompressionParameter, ZstdCompressor
else:
    from backports.zstd import CompressionParameter, ZstdCompressor

MAX_LEVEL = 19
DEFAULT_LEVEL = 9
"""Measured on 150 MiB of Python and system binaries, two cores: level 3 packs to 0.317 at 330 MiB/s, 9 to 0.283 at 90,
15 to 0.277 at 12, 19 to 0.248 at 4.4."""
MAX_WORKERS = 8
"""With two of them, level 19 takes 600 MiB of memory."""
MAX_LAYER_BYTES = 1 << 40
"""What a layer may unpack to: 1 TiB, as for every entry of an archive."""

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class PackedLayer:
    """A layer packed with zstd, in a file of its own."""

    diff_id: str
    blob_digest: str
    size_bytes: int
    unpacked_bytes: int
    path: Path


def work_bytes(layer: Layer) -> int:
    """How many bytes of the source `pack_layer` reads, and tells as progress."""
    return layer.size_bytes * (1 if layer.compression is Compression.NONE else 2)


def pack_layer(
    source: BinaryIO, layer: Layer, target: Path, *, level: int, workers: int = 0, progress: Progress
) -> PackedLayer:
    """Write the layer to a new file, packed with zstd; its content is checked against the diff ID, and what it came
    packed in against the blob's digest where there is one.

    Args:
        target: must not exist.
        level: 1 to 19.
        workers: threads, one at least; 0 for as many as there are cores, at most 8. Never changes the bytes.

    Raises:
        Refusal: `image.layer_mismatch`, `image.too_large`; `host.disk_full`, `host.io_error`.
        Truncated: the source ends inside the layer.
        SourceGone: the source cannot be read.
    """
    unpacked_bytes = _measure(source, layer, progress)
    stream = _compressor(level, workers, unpacked_bytes)
    digest, size_bytes = hashlib.sha256(), 0
    with private_file(target) as descriptor:
        for piece in _pack(stream, _checked(unpack_layer(source, layer, progress), layer, unpacked_bytes)):
            digest.update(piece)
            size_bytes += len(piece)
            write_private(target, descriptor, piece)
    return PackedLayer(layer.diff_id, f"sha256:{digest.hexdigest()}", size_bytes, unpacked_bytes, target)


def _measure(source: BinaryIO, layer: Layer, progress: Progress) -> int:
    if layer.compression is not Compression.NONE:
        return check_layer(source, layer, limit_bytes=MAX_LAYER_BYTES, progress=progress)
    if layer.blob_digest not in ("", layer.diff_id):
        raise _mismatch(layer, f"it is stored as {layer.blob_digest}")
    return layer.size_bytes


def _compressor(level: int, workers: int, unpacked_bytes: int) -> ZstdCompressor:
    options: dict[int, int] = {
        CompressionParameter.compression_level: level,
        CompressionParameter.checksum_flag: 1,
        CompressionParameter.nb_workers: workers or min(MAX_WORKERS, len(os.sched_getaffinity(0))),
    }
    stream = ZstdCompressor(options=options)
    stream.set_pledged_input_size(unpacked_bytes)
    return stream


def _pack(stream: ZstdCompressor, chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        yield stream.compress(chunk)
    yield stream.flush()


def _checked(chunks: Iterable[bytes], layer: Layer, size_bytes: int) -> Iterator[bytes]:
    """The chunks, and an error where they are not the layer's: the source may have changed since it was measured."""
    digest = hashlib.sha256()
    for chunk in chunks:
        size_bytes -= len(chunk)
        if size_bytes < 0:
            raise _mismatch(layer, "it grew while it was read")
        digest.update(chunk)
        yield chunk
    if f"sha256:{digest.hexdigest()}" != layer.diff_id:
        raise _mismatch(layer, f"its content is sha256:{digest.hexdigest()}")


def _mismatch(layer: Layer, reason: str) -> Refusal:
    return Refusal(f"cannot accept layer {layer.diff_id}: {reason}", code="image.layer_mismatch")
