"""The image inside image.tar, as `docker save` and `skopeo docker-archive:` write it: a view through manifest.json.

Three shapes have it in common: Docker up to 24 (directories with layer.tar, twins as symlinks), Docker from 25 on (an
OCI layout with manifest.json beside it), skopeo and podman (flat names). Rules it keeps:

* Nothing but manifest.json and the config is read to know an image; layers are read to verify them.
* One image, one manifest.json, one reading of its JSON (see `image_json`).
* A layer is a regular file, or one symlink away from one. No link is followed any further, nor out of the archive.
* A layer is what its diff ID says, unpacked, to the last byte.

Sources: moby `image/tarexport/load.go`; OCI image spec 1.1, config.md.
"""

import hashlib
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO

from caissond.errors import Refusal, Truncated
from caissond.package.archive import Member, MemberKind, Profile, read_members, read_small
from caissond.package.image_json import ImageConfig, ManifestEntry, parse_config, parse_manifest
from caissond.package.source import CHUNK_BYTES, Window, read_chunks, read_exact

MAX_MANIFEST_BYTES = 1 << 20
MAX_CONFIG_BYTES = 4 << 20
MANIFEST_NAME = "manifest.json"

_DIGEST_NAME = re.compile(r"[0-9a-fA-F]{64}")
_GZIP = re.compile(rb"\x1f\x8b")
# zstd has skippable frames beside its ordinary ones: RFC 8878, 3.1.2.
_UNSUPPORTED = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18|BZh|\xfd7zXZ\x00")


class Compression(StrEnum):
    NONE = "none"
    GZIP = "gzip"


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer, from the bottom; `offset` counts from the source's own beginning, `size_bytes` as it is stored."""

    diff_id: str
    offset: int
    size_bytes: int
    compression: Compression

    @property
    def window(self) -> Window:
        return Window(self.offset, self.size_bytes)


@dataclass(frozen=True, slots=True)
class Image:
    """What an image says of itself. `config` is the exact bytes that `config_digest` is the digest of."""

    config_digest: str
    config: bytes
    os: str
    architecture: str
    variant: str
    has_healthcheck: bool
    layers: tuple[Layer, ...]

    @property
    def platform(self) -> str:
        """`linux/amd64`, `linux/arm/v7`."""
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def read_image(source: BinaryIO, window: Window) -> Image:
    """The image in this window, from headers, manifest.json and config alone.

    This is **not** a verification of the layers, see `verify_layers`.

    Args:
        window: all of image.tar, in a package that is whole.

    Raises:
        Refusal: `image.*`, or `archive.*` for what the walk refuses; `image.truncated` where image.tar ends early.
        SourceGone: the source cannot be read.
    """
    try:
        members = {member.name: member for member in read_members(source, window, Profile.IMAGE)}
        entry = parse_manifest(_read_file(source, members, MANIFEST_NAME, MAX_MANIFEST_BYTES, "manifest"))
        content = _read_file(source, members, entry.config, MAX_CONFIG_BYTES, "config")
        config = parse_config(content)
        layers = _read_layers(source, members, entry, config)
    except Truncated as exc:
        # The package around it has all its bytes: waiting for more would be waiting for ever.
        raise Refusal(f"cannot read image.tar: {exc}", code="image.truncated") from exc
    return Image(
        config_digest=_check_digest(entry.config, content),
        config=content,
        os=config.os,
        architecture=config.architecture,
        variant=config.variant,
        has_healthcheck=config.has_healthcheck,
        layers=layers,
    )


def verify_layers(
    source: BinaryIO, image: Image, *, limit_bytes: int, progress: Callable[[int], None]
) -> None:
    """Hash every layer, unpacked, against its diff ID.

    Args:
        limit_bytes: the most that all layers together may unpack to.
        progress: told how many more bytes of the source were read; their sum is that of the layers' `size_bytes`.

    Raises:
        Refusal: `image.layer_mismatch`, `image.too_large`.
        Truncated: the source ends inside a layer; it was changed since `read_image`.
        SourceGone: the source cannot be read.
    """
    unpacked_bytes = 0
    for layer in image.layers:
        digest = hashlib.sha256()
        for chunk in unpack_layer(source, layer, progress):
            unpacked_bytes += len(chunk)
            if unpacked_bytes > limit_bytes:
                raise Refusal(
                    f"cannot accept layers that unpack to more than {limit_bytes} bytes",
                    code="image.too_large",
                )
            digest.update(chunk)
        if f"sha256:{digest.hexdigest()}" != layer.diff_id:
            raise _mismatch(layer, f"its content is sha256:{digest.hexdigest()}")


def unpack_layer(source: BinaryIO, layer: Layer, progress: Callable[[int], None]) -> Iterator[bytes]:
    """The layer's bytes, unpacked, in pieces of at most 1 MiB. Nobody has checked them against the diff ID.

    Raises:
        Refusal: `image.layer_mismatch`, for a broken gzip stream.
        Truncated: the source ends inside the layer.
        SourceGone: the source cannot be read.
    """
    chunks = read_chunks(source, layer.window, progress)
    return _gunzip(chunks, layer) if layer.compression is Compression.GZIP else chunks


def _gunzip(chunks: Iterable[bytes], layer: Layer) -> Iterator[bytes]:
    """One gzip stream, all of it and nothing else; `max_length` keeps a bomb from unfolding in memory."""
    stream = zlib.decompressobj(wbits=31)
    for chunk in chunks:
        rest = chunk
        while rest and not stream.eof:
            try:
                yield stream.decompress(rest, CHUNK_BYTES)
            except zlib.error as exc:
                raise _mismatch(layer, f"its gzip stream is broken: {exc}") from exc
            rest = stream.unused_data or stream.unconsumed_tail
        if rest:
            raise _mismatch(layer, "something stands behind its gzip stream")
    if not stream.eof:
        raise _mismatch(layer, "its gzip stream ends early")


def _mismatch(layer: Layer, reason: str) -> Refusal:
    return Refusal(f"cannot accept layer {layer.diff_id}: {reason}", code="image.layer_mismatch")


def _read_file(source: BinaryIO, members: Mapping[str, Member], name: str, limit: int, what: str) -> bytes:
    member = members.get(name)
    if member is None or member.kind is not MemberKind.FILE:
        found = member.kind if member else "nothing"
        raise Refusal(
            f"cannot find the image's {what} {name!r:.120}: expected a file, found {found}",
            code=f"image.missing_{what}",
        )
    return read_small(source, member, limit, code=f"image.invalid_{what}")


def _check_digest(name: str, content: bytes) -> str:
    """Docker never compares the config's file name with its digest; people who read the name do."""
    digest = hashlib.sha256(content).hexdigest()
    named = _DIGEST_NAME.search(name.rsplit("/", 1)[-1])
    if named and named[0].lower() != digest:
        raise Refusal(
            f"cannot accept config {name!r:.120}, the digest of its content is {digest}",
            code="image.config_digest_mismatch",
        )
    return f"sha256:{digest}"


def _read_layers(
    source: BinaryIO, members: Mapping[str, Member], entry: ManifestEntry, config: ImageConfig
) -> tuple[Layer, ...]:
    if len(entry.layers) != len(config.rootfs.diff_ids):
        raise Refusal(
            f"cannot match {len(entry.layers)} layers with {len(config.rootfs.diff_ids)} diff IDs",
            code="image.layer_count_mismatch",
        )
    files = [_resolve(members, name) for name in entry.layers]
    return tuple(
        Layer(diff_id, file.offset, file.size_bytes, _sniff(source, file))
        for diff_id, file in zip(config.rootfs.diff_ids, files, strict=True)
    )


def _resolve(members: Mapping[str, Member], name: str) -> Member:
    """The regular file that a layer's name stands for."""
    member = members.get(name)
    if member is not None and member.kind is MemberKind.SYMLINK:
        member = members.get(_link_target(member))
        if member is None or member.kind is not MemberKind.FILE:
            raise Refusal(
                f"cannot follow the link {name!r:.120}, it does not lead to a file", code="image.bad_link"
            )
    if member is None or member.kind is not MemberKind.FILE:
        raise Refusal(f"cannot find layer {name!r:.120} in image.tar", code="image.missing_layer")
    return member


def _link_target(member: Member) -> str:
    """Where the link leads, by its text alone; a way out of the archive is an error, not a detour."""
    path = member.name.split("/")[:-1]
    for part in member.link.split("/"):
        if part in {"", "."} or (part == ".." and not path):
            raise Refusal(
                f"cannot follow the link {member.name!r:.120} to {member.link!r:.120}", code="image.bad_link"
            )
        if part == "..":
            path.pop()
        else:
            path.append(part)
    return "/".join(path)


def _sniff(source: BinaryIO, file: Member) -> Compression:
    magic = read_exact(source, file.offset, min(6, file.size_bytes))
    if _UNSUPPORTED.match(magic):
        raise Refusal(
            f"cannot read layer {file.name!r:.120}, expected a tar, packed with gzip or not at all",
            code="image.unsupported_compression",
        )
    return Compression.GZIP if _GZIP.match(magic) else Compression.NONE
