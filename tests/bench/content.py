"""What the measurements feed: images of several layers, of real files or of noise, and a source as slow as a stick."""

import os
import stat
import sys
import time
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

from fixtures.layers import Layer, tree_layer

_TREES = (Path(sys.prefix) / "lib", Path("/usr/lib"), Path("/usr/share"))
_SIZES = range(16 << 10, 4 << 20)
"""Thousands of tiny files would measure the file system below Docker, not us."""


class PacedFile(FileIO):
    """A file that gives its bytes no faster than a stick would, and counts them."""

    def __init__(self, path: Path, *, mb_per_s: float) -> None:
        super().__init__(path)
        self._bytes_per_s = mb_per_s * 1e6
        self._free_at = time.monotonic()
        self.read_bytes = 0

    def read(self, size: int | None = -1, /) -> bytes:
        content = super().read(size) or b""
        self.read_bytes += len(content)
        self._free_at = max(self._free_at, time.monotonic()) + len(content) / self._bytes_per_s
        time.sleep(max(0.0, self._free_at - time.monotonic()))
        return content


def real_layers(folder: Path, *, count: int, size_mb: int) -> tuple[Layer, ...]:
    """Layers of about this size, of this machine's own programs and libraries: as compressible as real images are.

    Raises:
        LookupError: the machine has not that many files.
    """
    files = _real_files()
    return tuple(_fill(folder / f"real-{number}.tar", files, size_mb << 20) for number in range(count))


def _fill(path: Path, files: Iterator[Path], size_bytes: int) -> Layer:
    wanted: list[Path] = []
    while size_bytes > 0:
        file = next(files, None)
        if file is None:
            raise LookupError("this machine has too few files for the measurement")
        wanted.append(file)
        size_bytes -= file.stat().st_size
    return tree_layer(path, wanted)


def _real_files() -> Iterator[Path]:
    for tree in _TREES:
        for folder, _, names in sorted(os.walk(tree)):
            for path in (Path(folder) / name for name in sorted(names)):
                status = path.lstat()
                if stat.S_ISREG(status.st_mode) and status.st_size in _SIZES:
                    yield path
