"""The image inside image.tar, as `docker save` and `skopeo docker-archive:` write it: a view through manifest.json.

Three shapes have it in common: Docker up to 24 (directories with layer.tar, twins as symlinks), Docker from 25 on (an
OCI layout with manifest.json beside it), skopeo and podman (flat names). Rules it keeps:

* Nothing but manifest.json and the config is read to know an image; layers are read to verify them.
* One image, one manifest.json, one reading of its JSON (see `image_json`).
* A layer is a regular file, or one symlink away from one. No link is followed any further, nor out of the archive.

Sources: moby `image/tarexport/load.go`; OCI image spec 1.1, config.md.
"""

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from caissond.errors import Refusal, Truncated
from caissond.package.archive import Member, MemberKind, Profile, read_members, read_small
from caissond.package.compression import MAGIC_BYTES, Compression, sniff
from caissond.package.image_json import (
    ImageConfig,
    ManifestEntry,
    parse_config,
    parse_manifest,
    parse_manifests,
)
from caissond.package.layers import Layer
from caissond.package.source import Window, read_exact

MAX_MANIFEST_BYTES = 1 << 20
MAX_CONFIG_BYTES = 4 << 20
MANIFEST_NAME = "manifest.json"

_DIGEST_NAME = re.compile(r"[0-9a-fA-F]{64}")


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

    This is **not** a verification of the layers, see `layers.verify_layers`.

    Args:
        window: all of image.tar, in a package that is whole.

    Raises:
        Refusal: `image.*`, or `archive.*` for what the walk refuses; `image.truncated` where image.tar ends early.
        SourceGone: the source cannot be read.
    """
    with _all_there():
        members = {member.name: member for member in read_members(source, window, Profile.IMAGE)}
        entry = parse_manifest(_read_file(source, members, MANIFEST_NAME, MAX_MANIFEST_BYTES, "manifest"))
        return _read_entry(source, members, entry)


def read_images(source: BinaryIO, window: Window) -> tuple[tuple[tuple[str, ...], Image], ...]:
    """Every image in this window with its tags, for the builder: a package holds one, its tags mean nothing, and its
    layers are not packed with zstd.

    Raises:
        Refusal: as `read_image`.
        SourceGone: the source cannot be read.
    """
    with _all_there():
        members = {member.name: member for member in read_members(source, window, Profile.IMAGE)}
        entries = parse_manifests(_read_file(source, members, MANIFEST_NAME, MAX_MANIFEST_BYTES, "manifest"))
        return tuple(
            (tuple(entry.repo_tags or ()), _read_entry(source, members, entry, accepted=tuple(Compression)))
            for entry in entries
        )


@contextmanager
def _all_there() -> Iterator[None]:
    try:
        yield
    except Truncated as exc:
        # The package around it has all its bytes: waiting for more would be waiting for ever.
        raise Refusal(f"cannot read image.tar: {exc}", code="image.truncated") from exc


def _read_entry(
    source: BinaryIO,
    members: Mapping[str, Member],
    entry: ManifestEntry,
    accepted: Collection[Compression] = (Compression.NONE, Compression.GZIP),
) -> Image:
    content = _read_file(source, members, entry.config, MAX_CONFIG_BYTES, "config")
    config = parse_config(content)
    layers = _read_layers(source, members, entry, config, accepted)
    return Image(
        config_digest=_check_digest(entry.config, content),
        config=content,
        os=config.os,
        architecture=config.architecture,
        variant=config.variant,
        has_healthcheck=config.has_healthcheck,
        layers=layers,
    )


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
    source: BinaryIO,
    members: Mapping[str, Member],
    entry: ManifestEntry,
    config: ImageConfig,
    accepted: Collection[Compression],
) -> tuple[Layer, ...]:
    if len(entry.layers) != len(config.rootfs.diff_ids):
        raise Refusal(
            f"cannot match {len(entry.layers)} layers with {len(config.rootfs.diff_ids)} diff IDs",
            code="image.layer_count_mismatch",
        )
    files = [_resolve(members, name) for name in entry.layers]
    return tuple(
        Layer(diff_id, file.offset, file.size_bytes, _sniff(source, file, accepted))
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


def _sniff(source: BinaryIO, file: Member, accepted: Collection[Compression]) -> Compression:
    compression = sniff(read_exact(source, file.offset, min(MAGIC_BYTES, file.size_bytes)))
    if compression is not None and compression in accepted:
        return compression
    raise Refusal(
        f"cannot read layer {file.name!r:.120}, expected it packed with: {', '.join(accepted)}",
        code="image.unsupported_compression",
    )
