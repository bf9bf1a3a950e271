"""What a package is, and whether its images are whole: the verdict on bytes, not on whether this device wants them.

Both formats behind one set of functions. In the order of trust: headers and manifest (`read_package`), then, once
somebody has looked at the signatures, what the manifest points to.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from caissond.errors import Refusal
from caissond.model.manifest import MAX_MANIFEST_BYTES, Manifest, Target, parse_manifest
from caissond.package import oci
from caissond.package.archive import (
    IMAGE_NAME,
    MANIFEST_NAME,
    Member,
    Profile,
    is_whole,
    read_members,
    read_small,
)
from caissond.package.image import Image, read_image
from caissond.package.layers import Layer, check_layer
from caissond.package.layout import (
    BLOBS,
    MAX_SIGNATURES_BYTES,
    SIGNATURES_NAME,
    begins_as_format_2,
    read_layout,
)
from caissond.package.source import Window, read_chunks, read_exact, reading
from caissond.package.staging import open_regular

_SAMPLE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Package:
    """A package of which the headers, the manifest and the signatures were read, and nothing else."""

    size_bytes: int
    manifest: Manifest
    manifest_bytes: bytes
    """Exactly what a signature is made over."""
    signatures: bytes
    """`manifest.toml.sig` as it stands; empty when there is none."""
    members: Mapping[str, Member]


def whole_window(source: BinaryIO) -> Window:
    """The window over all of an open file.

    Raises:
        SourceGone: the medium does not answer.
    """
    with reading():
        return Window(0, os.fstat(source.fileno()).st_size)


def read_package(source: BinaryIO) -> Package:
    """The headers, the manifest and the signatures of an open package. Its images are **not** looked at, nor are the
    signatures checked.

    Raises:
        Refusal: `archive.*`, `manifest.*`, `trust.malformed_signature`.
        SourceGone: the medium does not answer.
    """
    window = whole_window(source)
    if begins_as_format_2(source, window):
        package = _read_package(source, window, read_layout(source, window))
        if package.manifest.format_version != 2:
            raise Refusal("cannot read the package: it changed meanwhile", code="package.changed")
        return package
    package = _read_package(source, window, _read_format_1(source, window))
    if package.manifest.format_version != 1:
        raise Refusal(
            f"cannot read a package of format 2 that does not begin with {MANIFEST_NAME}",
            code="archive.wrong_order",
        )
    return package


def _read_format_1(source: BinaryIO, window: Window) -> Mapping[str, Member]:
    return {member.name: member for member in read_members(source, window, Profile.PACKAGE)}


def _read_package(source: BinaryIO, window: Window, members: Mapping[str, Member]) -> Package:
    content = read_small(source, members[MANIFEST_NAME], MAX_MANIFEST_BYTES)
    manifest = parse_manifest(content)
    signatures = b""
    if manifest.format_version == 2 and SIGNATURES_NAME in members:
        limit, code = MAX_SIGNATURES_BYTES, "trust.malformed_signature"
        signatures = read_small(source, members[SIGNATURES_NAME], limit, code=code)
        if not signatures:
            raise Refusal(f"cannot accept an empty {SIGNATURES_NAME}", code=code)
    return Package(window.size_bytes, manifest, content, signatures, members)


def check_layout(source: BinaryIO, package: Package) -> None:
    """Nothing is in the package that has no place in it, and nothing is missing; layers are **not** read.

    Raises:
        Refusal: `image.*`, `archive.*`.
        SourceGone: the medium does not answer.
    """
    if package.manifest.format_version == 2:
        oci.check_layout(source, package.members, package.manifest)


def read_target(source: BinaryIO, package: Package, target: Target) -> Image:
    """The image of one target: its config, and where its layers are. The layers are **not** read.

    Raises:
        Refusal: `image.*`, `archive.*`.
        SourceGone: the medium does not answer.
    """
    if package.manifest.format_version == 2:
        image = oci.read_oci_image(source, package.members, target)
    else:
        image = read_image(source, package.members[IMAGE_NAME].window)
    check_platform(image, target.platform)
    return image


def check_targets(
    source: BinaryIO, package: Package, *, limit_bytes: int, progress: Callable[[int], None]
) -> tuple[Image, ...]:
    """The images of all targets, in their order, after hashing every byte of their layers; a layer that several have
    in common once.

    Args:
        limit_bytes: what the layers of one image may unpack to.

    Raises:
        Refusal: `image.*`, `archive.*`.
        SourceGone: the medium does not answer.
    """
    checked: dict[Layer, int] = {}
    images = []
    for target in package.manifest.targets:
        image = read_target(source, package, target)
        room_bytes = rest_bytes = room_for(target, limit_bytes)
        for layer in image.layers:
            if layer not in checked:
                checked[layer] = check_layer(source, layer, limit_bytes=rest_bytes, progress=progress)
            rest_bytes -= checked[layer]
            if rest_bytes < 0:
                text = f"cannot accept layers that unpack to more than {room_bytes} bytes"
                raise Refusal(text, code="image.too_large")
        _check_unpacked(target, room_bytes - rest_bytes)
        images.append(image)
    return tuple(images)


def _check_unpacked(target: Target, unpacked_bytes: int) -> None:
    if target.unpacked_bytes not in (None, unpacked_bytes):
        text = f"cannot accept layers that unpack to {unpacked_bytes} bytes, the package's manifest says"
        raise Refusal(f"{text} {target.unpacked_bytes}", code="image.size_mismatch")


def room_for(target: Target, limit_bytes: int) -> int:
    """What the target's layers may unpack to: no more than there is room for, nor than its manifest says."""
    return limit_bytes if target.unpacked_bytes is None else min(limit_bytes, target.unpacked_bytes)


def identity_of(source: BinaryIO, package: Package) -> str:
    """A digest that tells packages apart without reading their layers: the manifest and the signatures, and in format
    1, where the manifest vouches for nothing, the image's config. Files with the same one may still differ: one of
    them may be damaged.

    Raises:
        Refusal: `image.*`, `archive.*`, where the image of format 1 cannot be read.
        SourceGone: the medium does not answer.
    """
    digest = hashlib.sha256()
    images = () if package.manifest.format_version == 2 else package.manifest.targets
    configs = (read_target(source, package, target).config for target in images)
    for part in (package.manifest_bytes, package.signatures, *configs):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def hash_if_damaged(source: BinaryIO, package: Package, progress: Callable[[int], None]) -> str | None:
    """The SHA-256 of a file of format 2, if what is read in that very pass has a blob that is not what its name says;
    None where all of them are.

    Raises:
        SourceGone: the medium does not answer.
        Truncated: it became shorter.
    """
    whole, position, damaged = hashlib.sha256(), 0, False
    for member in (*package.members.values(), None):
        until = whole_window(source).end if member is None else member.offset
        for chunk in read_chunks(source, Window(position, until - position), progress):
            whole.update(chunk)
        if member is not None:
            digest = hashlib.sha256()
            for chunk in read_chunks(source, member.window, progress):
                whole.update(chunk)
                digest.update(chunk)
            damaged |= member.name.startswith(BLOBS) and not member.name.endswith(digest.hexdigest())
            position = member.window.end
    return whole.hexdigest() if damaged else None


def check_platform(image: Image, platform: str) -> None:
    """Whether the image is for the platform that the manifest names, `os/architecture[/variant]`.

    Raises:
        Refusal: `image.platform_mismatch`.
    """
    if platform not in (image.platform, f"{image.os}/{image.architecture}"):
        text = f"cannot use an image for {image.platform!r:.80}: the manifest says {platform!r:.80}"
        raise Refusal(text, code="image.platform_mismatch")


def fingerprint(source: BinaryIO) -> str:
    """A digest of a file's size, beginning and end: cheap, and good for a guess only.

    Raises:
        SourceGone: the medium does not answer.
        Truncated: it became shorter.
    """
    size_bytes = whole_window(source).size_bytes
    sample = min(_SAMPLE_BYTES, size_bytes)
    ends = read_exact(source, 0, sample) + read_exact(source, size_bytes - sample, sample)
    return hashlib.sha256(size_bytes.to_bytes(8, "big") + ends).hexdigest()


def is_whole_file(path: Path) -> bool:
    """Whether the file has a package's end marker. A file that is no package at all counts as whole: it will not
    become one by waiting.

    Raises:
        SourceGone: the medium does not answer.
    """
    try:
        with open_regular(path) as source:
            return is_whole(source, whole_window(source))
    except Refusal as exc:
        return exc.code != "package.changed"  # somebody holds it open for writing
