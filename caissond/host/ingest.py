"""Images in: the engine is fed an archive that we write, never the package's own.

What is in a package's image.tar can move any tag (a second `./manifest.json`, case-folded keys, surplus RepoTags, an
OCI index); a synthesized archive with one image, canonical names and one private tag cannot.
"""

import json
import os
import tarfile
from collections.abc import Callable, Iterator
from typing import BinaryIO

from caissond.errors import CaissonError, DockerError
from caissond.host.docker import Docker, Inspect
from caissond.model.ids import ImageId
from caissond.package.image import Image, Layer

CHUNK_BYTES = 1024 * 1024
_BLOCK = 512


def import_image(
    docker: Docker, source: BinaryIO, image: Image, *, tag: str, on_progress: Callable[[int], None]
) -> ImageId:
    """Load a verified image under a private tag.

    Args:
        source: the private copy that `image` was read and verified from.
        tag: the only tag the archive carries.
        on_progress: called with the bytes handed over since the last call; 0 for a sign of life.

    Raises:
        DockerError: `docker.load_failed`, or `docker.load_mismatch` when the engine said yes and means no.
        HostUnavailable: the connection was lost.
    """
    docker.load(_archive(source, image, tag, on_progress), lambda: on_progress(0))
    loaded = docker.inspect_image(tag)
    check_loaded(loaded, image)
    return ImageId(loaded["Id"])


def check_loaded(loaded: Inspect, image: Image) -> None:
    """Whether the engine has what was verified. The id is not compared: it is the manifest's digest with the
    containerd store.

    Raises:
        DockerError: `docker.load_mismatch`.
    """
    wanted = [layer.diff_id for layer in image.layers], image.os, image.architecture
    found = (loaded.get("RootFS") or {}).get("Layers"), loaded.get("Os"), loaded.get("Architecture")
    if found != wanted:
        raise DockerError(
            f"cannot use the loaded image: Docker has {found}, not {wanted}", code="docker.load_mismatch"
        )


def _archive(source: BinaryIO, image: Image, tag: str, on_progress: Callable[[int], None]) -> Iterator[bytes]:
    """A docker-save archive: one config, its layers in chain order, manifest.json with one tag."""
    config_name = f"{image.config_digest.removeprefix('sha256:')}.json"
    names = [
        f"{number:03}-{layer.diff_id.removeprefix('sha256:')}.tar"
        for number, layer in enumerate(image.layers)
    ]
    yield _file(config_name, image.config)
    for name, layer in zip(names, image.layers, strict=True):
        yield _header(name, layer.size_bytes)
        for chunk in _chunks(source, layer):
            yield chunk
            on_progress(len(chunk))
        yield _padding(layer.size_bytes)
    manifest = [{"Config": config_name, "RepoTags": [tag], "Layers": names}]
    yield _file("manifest.json", json.dumps(manifest).encode()) + bytes(2 * _BLOCK)


def _chunks(source: BinaryIO, layer: Layer) -> Iterator[bytes]:
    position, end = layer.offset, layer.offset + layer.size_bytes
    while position < end:
        try:
            chunk = os.pread(source.fileno(), min(CHUNK_BYTES, end - position), position)
        except OSError as exc:
            raise CaissonError(f"cannot read the private copy: {exc.strerror}", code="host.io_error") from exc
        if not chunk:
            raise CaissonError("cannot read the private copy: it became shorter", code="host.io_error")
        position += len(chunk)
        yield chunk


def _header(name: str, size_bytes: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size = size_bytes
    entry.mode = 0o644
    return entry.tobuf(tarfile.GNU_FORMAT)


def _padding(size_bytes: int) -> bytes:
    return bytes(-size_bytes % _BLOCK)


def _file(name: str, content: bytes) -> bytes:
    return _header(name, len(content)) + content + _padding(len(content))
