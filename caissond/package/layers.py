"""One layer: where it stands in a source, what it is unpacked, and the way into a private copy.

A layer is what its diff ID says, unpacked, to the last byte; and, where a manifest vouches for its blob, what that
digest says as it is stored. What is checked is what was read, in one pass. Source: OCI image spec 1.1, config.md.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from caissond.errors import Refusal
from caissond.package.compression import BrokenStream, Compression, unpack
from caissond.package.source import Window, read_chunks
from caissond.package.staging import private_file, write_private


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer, from the bottom; `offset` counts from the source's own beginning, `size_bytes` as it is stored."""

    diff_id: str
    offset: int
    size_bytes: int
    compression: Compression
    blob_digest: str = ""
    """Of the bytes as they are stored; empty in format 1, where nothing vouches for them."""

    @property
    def window(self) -> Window:
        return Window(self.offset, self.size_bytes)


def verify_layers(
    source: BinaryIO, layers: Sequence[Layer], *, limit_bytes: int, progress: Callable[[int], None]
) -> int:
    """Hash every layer, see `check_layer`.

    Args:
        limit_bytes: the most that all layers together may unpack to.
        progress: told how many more bytes of the source were read; their sum is that of the layers' `size_bytes`.

    Returns:
        The bytes that they unpack to, one that occurs twice counted twice.

    Raises:
        Refusal: `image.layer_mismatch`, `image.too_large`.
        Truncated: the source ends inside a layer; it was changed since its headers were read.
        SourceGone: the source cannot be read.
    """
    unpacked_bytes = 0
    for layer in layers:
        left_bytes = limit_bytes - unpacked_bytes
        unpacked_bytes += check_layer(source, layer, limit_bytes=left_bytes, progress=progress)
    return unpacked_bytes


def check_layer(source: BinaryIO, layer: Layer, *, limit_bytes: int, progress: Callable[[int], None]) -> int:
    """Hash every byte of a layer, as it is stored and unpacked.

    Args:
        limit_bytes: the most that it may unpack to.
        progress: told how many more bytes of the source were read.

    Returns:
        The bytes that it unpacks to.

    Raises:
        Refusal: `image.layer_mismatch`, `image.too_large`.
        Truncated: the source ends inside the layer.
        SourceGone: the source cannot be read.
    """
    return _check(layer, read_chunks(source, layer.window, progress), limit_bytes)


def stage_layer(
    source: BinaryIO, layer: Layer, target: Path, *, limit_bytes: int, progress: Callable[[int], None]
) -> int:
    """Copy a layer, as it is stored, into a new file that only we may read, and check it in the same pass.

    The copy is not synced: it is read back once, by us and before any restart, and a power cut makes it worthless.

    Args:
        target: must not exist; gone again where anything fails.
        limit_bytes: the most that it may unpack to.
        progress: told how many more bytes of the source were read; what it raises ends the copy.

    Returns:
        The bytes that it unpacks to.

    Raises:
        Refusal: `image.layer_mismatch`, `image.too_large`; `host.disk_full`, `host.io_error`.
        Truncated: the source ends inside the layer.
        SourceGone: the source cannot be read.
    """
    with private_file(target) as descriptor:
        chunks = _written(read_chunks(source, layer.window, progress), target, descriptor)
        return _check(layer, chunks, limit_bytes)


def unpack_layer(source: BinaryIO, layer: Layer, progress: Callable[[int], None]) -> Iterator[bytes]:
    """The layer's bytes, unpacked, in pieces of at most 1 MiB. Nobody has checked them against the diff ID.

    Raises:
        Refusal: `image.layer_mismatch`, for a stream that cannot be unpacked.
        Truncated: the source ends inside the layer.
        SourceGone: the source cannot be read.
    """
    return _unpack(layer, read_chunks(source, layer.window, progress))


def _unpack(layer: Layer, chunks: Iterable[bytes]) -> Iterator[bytes]:
    try:
        yield from unpack(chunks, layer.compression)
    except BrokenStream as exc:
        raise _mismatch(layer, str(exc)) from exc


def _written(chunks: Iterable[bytes], target: Path, descriptor: int) -> Iterator[bytes]:
    for chunk in chunks:
        write_private(target, descriptor, chunk)
        yield chunk


def _check(layer: Layer, chunks: Iterable[bytes], limit_bytes: int) -> int:
    if not layer.blob_digest:
        return _check_content(layer, chunks, limit_bytes)
    if layer.compression is Compression.NONE:
        _check_digest(layer, layer.blob_digest)
        return _check_content(layer, chunks, limit_bytes)
    with _HashAside() as blob:
        unpacked_bytes = _check_content(layer, blob.passing(chunks), limit_bytes)
    if blob.digest != layer.blob_digest:
        raise _mismatch(layer, f"its blob is {blob.digest}, not {layer.blob_digest}")
    return unpacked_bytes


def _check_content(layer: Layer, chunks: Iterable[bytes], limit_bytes: int) -> int:
    content, unpacked_bytes = hashlib.sha256(), 0
    for piece in _unpack(layer, chunks):
        unpacked_bytes += len(piece)
        if unpacked_bytes > limit_bytes:
            text = f"cannot accept layer {layer.diff_id}: it unpacks to more than {limit_bytes} bytes"
            raise Refusal(text, code="image.too_large")
        content.update(piece)
    _check_digest(layer, f"sha256:{content.hexdigest()}")
    return unpacked_bytes


def _check_digest(layer: Layer, digest: str) -> None:
    if digest != layer.diff_id:
        raise _mismatch(layer, f"its content is {digest}")


def _mismatch(layer: Layer, reason: str) -> Refusal:
    return Refusal(f"cannot accept layer {layer.diff_id}: {reason}", code="image.layer_mismatch")


class _HashAside:
    """SHA-256 in a thread of its own, since hashlib lets go of the interpreter's lock. One piece at most waits."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._thread = ThreadPoolExecutor(1)
        self._pending: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()

    def passing(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Hands the chunks on and hashes them."""
        for chunk in chunks:
            if self._pending:
                self._pending.result()
            self._pending = self._thread.submit(self._hash.update, chunk)
            yield chunk

    @property
    def digest(self) -> str:
        """Of all that was passed on; to be asked behind the block."""
        return f"sha256:{self._hash.hexdigest()}"
