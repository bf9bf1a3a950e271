"""Writing a package of format 2: an OCI image layout with its manifest in front, in one plain ustar archive.

Sources: OCI image spec 1.1, image-layout.md, image-index.md, manifest.md; POSIX.1-2017 "pax", ustar Interchange Format.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from caissond.errors import CaissonError
from caissond.package.archive import MANIFEST_NAME
from caissond.package.compress import PackedLayer, Progress
from caissond.package.header import BLOCK_BYTES
from caissond.package.image import Image
from caissond.package.layout import INDEX_NAME, LAYOUT_NAME, SIGNATURES_NAME, blob_name
from caissond.package.oci_json import CONFIG_TYPE, INDEX_TYPE, LAYER_TYPE, MANIFEST_TYPE, REF_NAME
from caissond.package.source import CHUNK_BYTES
from caissond.package.staging import private_file, write_private

MAX_MEMBER_BYTES = (1 << 33) - 1
"""What eleven octal digits can say: 8 GiB."""

_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
END = bytes(2 * BLOCK_BYTES)


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob of the layout: small ones by their content, layers by the file they stand in."""

    digest: str
    size_bytes: int
    content: bytes | Path


@dataclass(frozen=True, slots=True)
class OciImage:
    """An image as it stands in a package."""

    image: Image
    manifest: Blob
    config: Blob
    layers: tuple[PackedLayer, ...]

    @property
    def blobs(self) -> tuple[Blob, ...]:
        """Its distinct blobs: manifest, config, layers in chain order."""
        layers = (Blob(layer.blob_digest, layer.size_bytes, layer.path) for layer in self.layers)
        return _distinct((self.manifest, self.config, *layers))

    @property
    def size_bytes(self) -> int:
        return sum(blob.size_bytes for blob in self.blobs)

    @property
    def unpacked_bytes(self) -> int:
        return sum(layer.unpacked_bytes for layer in self.layers)


def describe_image(image: Image, layers: tuple[PackedLayer, ...]) -> OciImage:
    """The image with its OCI manifest. The config's bytes stay what they are: their digest is the release."""
    config = _blob(image.config)
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": _descriptor(CONFIG_TYPE, config.digest, config.size_bytes),
        "layers": [
            _descriptor(f"{LAYER_TYPE}+zstd", layer.blob_digest, layer.size_bytes) for layer in layers
        ],
    }
    return OciImage(image, _blob(_json(document)), config, layers)


def write_package(
    target: Path,
    manifest: bytes,
    signatures: bytes,
    images: Sequence[tuple[str, OciImage]],
    *,
    progress: Progress,
) -> None:
    """Write a package into a new file. Nothing is read back here.

    Args:
        images: in the order of the targets, each with the reference that it is named by in the index.
        progress: told how many more bytes of blobs were written.

    Raises:
        Refusal: `host.disk_full`, `host.io_error`.
        CaissonError: `build.layer_too_large`.
    """
    with private_file(target) as descriptor:
        for piece in _pieces(manifest, signatures, images, progress):
            write_private(target, descriptor, piece)


def written_bytes(images: Iterable[OciImage]) -> int:
    """What `write_package` tells as progress, in all."""
    return sum(blob.size_bytes for blob in _distinct(blob for image in images for blob in image.blobs))


def format_front(manifest: bytes, signatures: bytes) -> bytes:
    """The members before the layout: the manifest, and the signatures where there are any."""
    front = format_member(MANIFEST_NAME, manifest)
    return front + format_member(SIGNATURES_NAME, signatures) if signatures else front


def format_member(name: str, content: bytes) -> bytes:
    """A small member: header, content, zeros up to the next block."""
    return format_header(name, len(content)) + content + padding(len(content))


def format_header(name: str, size_bytes: int) -> bytes:
    """A ustar header for a regular file that belongs to root and was never changed.

    Args:
        name: at most 100 characters, ASCII.

    Raises:
        CaissonError: `build.layer_too_large`.
    """
    if size_bytes > MAX_MEMBER_BYTES:
        raise CaissonError(
            f"cannot put {name} of {size_bytes} bytes into a package, at most {MAX_MEMBER_BYTES} are allowed",
            code="build.layer_too_large",
        )
    fields = (
        (0, name.encode("ascii")), (100, b"0000644\0" b"0000000\0" b"0000000\0"), (124, b"%011o\0" % size_bytes),
        (136, b"%011o\0" % 0), (148, b" " * 8), (156, b"0"), (257, b"ustar\x0000"), (329, b"0000000\0" b"0000000\0"),
    )  # fmt: skip
    block = bytearray(BLOCK_BYTES)
    for offset, value in fields:
        block[offset : offset + len(value)] = value
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padding(size_bytes: int) -> bytes:
    """The zeros behind a member's content."""
    return bytes(-size_bytes % BLOCK_BYTES)


def _pieces(
    manifest: bytes, signatures: bytes, images: Sequence[tuple[str, OciImage]], progress: Progress
) -> Iterator[bytes]:
    yield format_front(manifest, signatures)
    yield format_member(LAYOUT_NAME, _LAYOUT)
    yield format_member(INDEX_NAME, _index(images))
    for blob in _distinct(blob for _, image in images for blob in image.blobs):
        yield from _blob_pieces(blob)
        progress(blob.size_bytes)
    yield END


def _blob_pieces(blob: Blob) -> Iterator[bytes]:
    yield format_header(blob_name(blob.digest), blob.size_bytes)
    if isinstance(blob.content, bytes):
        yield blob.content
    else:
        with blob.content.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
    yield padding(blob.size_bytes)


def _index(images: Sequence[tuple[str, OciImage]]) -> bytes:
    """One descriptor for each image and name, so that every reference can be asked for."""
    entries = {(image.manifest.digest, reference): image for reference, image in images}
    manifests = [
        {
            **_descriptor(MANIFEST_TYPE, image.manifest.digest, image.manifest.size_bytes),
            "platform": _platform(image.image),
            "annotations": {REF_NAME: reference},
        }
        for (_, reference), image in entries.items()
    ]
    return _json({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests})


def _platform(image: Image) -> dict[str, str]:
    platform = {"architecture": image.architecture, "os": image.os}
    return platform | ({"variant": image.variant} if image.variant else {})


def _descriptor(media_type: str, digest: str, size_bytes: int) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest, "size": size_bytes}


def _blob(content: bytes) -> Blob:
    return Blob(f"sha256:{hashlib.sha256(content).hexdigest()}", len(content), content)


def _distinct(blobs: Iterable[Blob]) -> tuple[Blob, ...]:
    return tuple({blob.digest: blob for blob in blobs}.values())


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
