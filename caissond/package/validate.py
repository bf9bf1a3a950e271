"""What a package is, and whether its image is whole: the verdict on bytes, not on whether this device wants them."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from caissond.errors import Refusal
from caissond.model.manifest import MAX_MANIFEST_BYTES, Manifest, parse_manifest
from caissond.package.archive import Profile, check_package, is_whole, read_members, read_small
from caissond.package.image import Image, read_image, verify_layers
from caissond.package.source import Window, read_exact, reading
from caissond.package.staging import open_regular

_SAMPLE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Package:
    """A package of which the headers and the manifest were read, and nothing else."""

    size_bytes: int
    manifest: Manifest
    image_window: Window


def whole_window(source: BinaryIO) -> Window:
    """The window over all of an open file.

    Raises:
        SourceGone: the medium does not answer.
    """
    with reading():
        return Window(0, os.fstat(source.fileno()).st_size)


def read_package(source: BinaryIO) -> Package:
    """The headers and the manifest of an open package. The image is **not** looked at.

    Raises:
        Refusal: `archive.*`, `manifest.*`.
        SourceGone: the medium does not answer.
    """
    window = whole_window(source)
    members = read_members(source, window, Profile.PACKAGE)
    check_package(members)
    by_name = {member.name: member for member in members}
    manifest = parse_manifest(read_small(source, by_name["manifest.toml"], MAX_MANIFEST_BYTES))
    return Package(window.size_bytes, manifest, by_name["image.tar"].window)


def check_image(
    source: BinaryIO, package: Package, *, limit_bytes: int, progress: Callable[[int], None]
) -> Image:
    """The image inside, after hashing every byte of its layers.

    Args:
        limit_bytes: what the layers may unpack to.

    Raises:
        Refusal: `image.*`, `archive.*`.
        SourceGone: the medium does not answer.
    """
    image = read_image(source, package.image_window)
    check_platform(image, package.manifest.platform)
    verify_layers(source, image, limit_bytes=limit_bytes, progress=progress)
    return image


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
    except Refusal:
        return True
