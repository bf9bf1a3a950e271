"""The archive that Docker is fed: ours from the first byte to the last, never the package's own.

What is in a package's image.tar can move any tag (a second `./manifest.json`, case-folded keys, surplus RepoTags, an
OCI index); a synthesized archive with one image, canonical names and one private tag cannot.
"""

import json
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from caissond.errors import CaissonError
from caissond.host.loads import Load

_BLOCK_BYTES = 512


@dataclass(frozen=True, slots=True)
class Content:
    """A layer as it goes into the archive: unpacked."""

    size_bytes: int
    chunks: Iterable[bytes]


def write_archive(load: Load, contents: Iterable[Content], tag: str) -> Iterator[bytes]:
    """A docker-save archive: one config, the layers that the engine lacks, manifest.json with one tag.

    manifest.json names all layers of the chain; the files of those below `load.first` are not there.

    Args:
        contents: of the layers from `load.first` on, each taken when its turn comes.

    Raises:
        CaissonError: `host.io_error`; a layer was not as long as it was said to be.
    """
    config_name = f"{load.config_hex}.json"
    names = [
        f"{number:03}-{diff_id.removeprefix('sha256:')}.tar" for number, diff_id in enumerate(load.diff_ids)
    ]
    yield _file(config_name, load.config)
    for name, content in zip(names[load.first :], contents, strict=True):
        yield _header(name, content.size_bytes)
        yield from _exactly(content)
        yield _padding(content.size_bytes)
    manifest = [{"Config": config_name, "RepoTags": [tag], "Layers": names}]
    yield _file("manifest.json", json.dumps(manifest).encode()) + bytes(2 * _BLOCK_BYTES)


def _exactly(content: Content) -> Iterator[bytes]:
    """One byte more or less, and what follows would be read as something else."""
    left_bytes = content.size_bytes
    for chunk in content.chunks:
        left_bytes -= len(chunk)
        if left_bytes < 0:
            break
        yield chunk
    if left_bytes:
        raise CaissonError("cannot read the private copy: its length changed", code="host.io_error")


def _header(name: str, size_bytes: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size = size_bytes
    entry.mode = 0o644
    return entry.tobuf(tarfile.GNU_FORMAT)


def _padding(size_bytes: int) -> bytes:
    return bytes(-size_bytes % _BLOCK_BYTES)


def _file(name: str, content: bytes) -> bytes:
    return _header(name, len(content)) + content + _padding(len(content))
