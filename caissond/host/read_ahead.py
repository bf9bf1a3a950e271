"""Reading the next layer while Docker registers the one before: one ahead and never more, for the disk's sake.

The thread that reads only copies, hashes and counts; whoever takes the layers gives the signs of life and hears of
what went wrong, in the errors' own types.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import BinaryIO, Self

from caissond.errors import CaissonError, Refusal, SourceGone
from caissond.package.layers import Layer, stage_layer, unpack_layer

POLL_S = 0.1
SILENCE_S = 60.0
"""A medium that gives nothing for so long hangs: no more signs of life, so that the watchdog sees it."""


@dataclass(frozen=True, slots=True)
class Staged:
    """A layer in a private file, verified."""

    layer: Layer
    path: Path
    unpacked_bytes: int

    def unpack(self) -> Iterator[bytes]:
        """Its content, piece by piece; at the end the file is deleted.

        Raises:
            CaissonError: `host.io_error`; the device's own disk does not give back what was written.
        """
        whole = replace(self.layer, offset=0)
        with _own_disk(), self.path.open("rb", buffering=0) as copy:
            yield from unpack_layer(copy, whole, lambda _: None)
        self.path.unlink()


class ReadAhead:
    """The layers, verified one after the other. To be used in one thread; the source belongs to it until the end."""

    def __init__(
        self,
        source: BinaryIO,
        layers: Sequence[Layer],
        folder: Path,
        *,
        limit_bytes: int,
        silence_s: float = SILENCE_S,
    ) -> None:
        """Begins to read.

        Args:
            folder: private, for the copies.
            limit_bytes: the most that all of them may unpack to.
            silence_s: after so long without a byte there are no signs of life.
        """
        self._source = source
        self._folder = folder
        self._left_bytes = limit_bytes
        self._silence_s = silence_s
        self._read_bytes = 0
        self._told_bytes = 0
        self._is_cancelled = Event()
        self._waiting = iter(list(enumerate(layers)))
        self._thread = ThreadPoolExecutor(1)
        self._next: Future[Staged] | None = None
        self._begin_next()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the reading, at the next piece at the latest."""
        self._is_cancelled.set()
        self._thread.shutdown()

    def take(self, on_progress: Callable[[int], None]) -> Staged:
        """The next layer, as soon as it is verified; the one after it is begun.

        Args:
            on_progress: told how many more bytes were read; 0 for a sign of life; what it raises goes through.

        Raises:
            Refusal: `image.layer_mismatch`, `image.too_large`, `host.disk_full`, `host.io_error`.
            SourceGone, Truncated: the source does not give the layer.
        """
        assert self._next is not None  # one take for each layer
        self._await(self._next, on_progress)
        staged = self._next.result()
        self._left_bytes -= staged.unpacked_bytes
        self._begin_next()
        return staged

    def newly_read(self) -> int:
        """The bytes read since this was last asked."""
        read_bytes = self._read_bytes
        newly, self._told_bytes = read_bytes - self._told_bytes, read_bytes
        return newly

    def _await(self, staged: Future[Staged], on_progress: Callable[[int], None]) -> None:
        heard = time.monotonic()
        while not _is_done(staged):
            newly = self.newly_read()
            heard = time.monotonic() if newly else heard
            if time.monotonic() - heard < self._silence_s:
                on_progress(newly)
        on_progress(self.newly_read())

    def _begin_next(self) -> None:
        waiting = next(self._waiting, None)
        self._next = self._thread.submit(self._stage, *waiting) if waiting else None

    def _stage(self, number: int, layer: Layer) -> Staged:
        path = self._folder / f"layer-{number:03}"
        unpacked_bytes = stage_layer(
            self._source, layer, path, limit_bytes=self._left_bytes, progress=self._count
        )
        return Staged(layer, path, unpacked_bytes)

    def _count(self, more_bytes: int) -> None:
        if self._is_cancelled.is_set():
            raise _Cancelled
        self._read_bytes += more_bytes


class _Cancelled(Exception):
    """Nobody waits for this layer any more."""


def _is_done(staged: Future[Staged]) -> bool:
    """Whether it ended, well or not; waits for a moment."""
    try:
        staged.exception(POLL_S)
    except TimeoutError:
        return False
    return True


@contextmanager
def _own_disk() -> Iterator[None]:
    """What would be the medium's fault elsewhere is the device's own here: the copy was verified when it was made."""
    try:
        yield
    except (SourceGone, Refusal, OSError) as exc:
        raise CaissonError(f"cannot read the private copy: {exc}", code="host.io_error") from exc
