"""What a package is built from: an image in the local engine, or in an archive or folder, in skopeo's words.

`docker-archive:FILE[:REF]`, `oci-archive:FILE[:REF]`, `oci:FOLDER[:REF]`; anything else is a reference in the engine,
`docker-daemon:REF` too. The path ends at the first colon, as it does for skopeo (containers-transports(5)).
"""

import json
import os
import re
import stat
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from caissond.errors import CaissonError, Refusal
from caissond.model.reference import full_reference
from caissond.package.image import Image, read_images
from caissond.package.layers import Layer
from caissond.package.source import Window

_RFC3339 = re.compile(r"^(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.\d+)?([Zz]|[+-]\d\d:\d\d)$")


class InputKind(StrEnum):
    """Where an image is to be found."""

    ENGINE = "docker-daemon"
    DOCKER_ARCHIVE = "docker-archive"
    OCI_ARCHIVE = "oci-archive"
    OCI_FOLDER = "oci"


@dataclass(frozen=True, slots=True)
class Input:
    """One source of images. `reference` says which of several; for the engine it is all there is."""

    kind: InputKind
    path: Path
    reference: str


@dataclass(frozen=True, slots=True)
class InputImage:
    """An image that can be packed. Its config is checked, its layers are not yet."""

    image: Image
    reference: str
    """What the source calls it; empty where that is no full reference."""
    open_layer: Callable[[Layer], AbstractContextManager[BinaryIO]]
    """What a layer's offset counts in."""


def parse_input(text: str) -> Input:
    """A source as it was typed.

    Raises:
        ValueError: there is no path or no reference in it.
    """
    word, colon, rest = text.partition(":")
    if not colon or word not in set(InputKind):
        return Input(InputKind.ENGINE, Path(), _something(text, "a reference"))
    if word == InputKind.ENGINE:
        return Input(InputKind.ENGINE, Path(), _something(rest, "a reference"))
    path, _, reference = rest.partition(":")
    return Input(InputKind(word), Path(_something(path, "a path")), reference)


def _something(text: str, what: str) -> str:
    if not text:
        raise ValueError(f"expected {what}")
    return text


def open_input(path: Path) -> BinaryIO:
    """An archive, open for reading and unbuffered; it may be a link, but nothing waits for a FIFO's other end.

    Raises:
        CaissonError: `build.cannot_read`.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as exc:
        raise CaissonError(f"cannot read {str(path)!r}: {exc.strerror}", code="build.cannot_read") from exc
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise CaissonError(f"cannot read {str(path)!r}, expected a file", code="build.cannot_read")
    return os.fdopen(descriptor, "rb", buffering=0)


def read_docker_archive(source: BinaryIO, reference: str = "") -> InputImage:
    """The image of a `docker save` archive that bears this tag, or the only one. No layer is read.

    Raises:
        Refusal: `image.*`, `archive.*`.
        CaissonError: `build.which_image`.
        SourceGone: the source cannot be read.
    """
    images = read_images(source, Window(0, os.fstat(source.fileno()).st_size))
    wanted = familiar(reference)
    fitting = [
        (tags, image) for tags, image in images if not reference or wanted in {familiar(tag) for tag in tags}
    ]
    if len(fitting) != 1:
        raise which_image(reference, (tag for tags, _ in images for tag in tags))
    tags, image = fitting[0]
    name = wanted or (familiar(tags[0]) if len(tags) == 1 else "")
    return InputImage(image, name, lambda _layer: nullcontext(source))


def which_image(reference: str, names: Iterable[str]) -> CaissonError:
    """The error where the source does not hold exactly one image of this name."""
    known = ", ".join(sorted(set(names))) or "no name at all"
    asked = f"one image {reference!r:.200}" if reference else "a single image"
    return CaissonError(f"cannot find {asked}, the source has: {known:.400}", code="build.which_image")


def familiar(reference: str) -> str:
    """A reference as Docker shows it: without its default host, with a tag. Empty stays empty."""
    return full_reference(reference) if reference else ""


def target_platform(image: Image, wanted: Iterable[str]) -> str | None:
    """The platform to write into the manifest, in the words that were asked for; None where none of them fits.

    Every arm64 is a v8, and catalogs say `linux/arm64` (containerd `platforms`, Normalize).
    """
    own = "linux/arm64" if image.platform == "linux/arm64/v8" else image.platform
    names = (own, image.platform, f"{image.os}/{image.architecture}")
    asked = tuple(wanted)
    return next((name for name in names if name in asked), None) if asked else own


def newest_created(images: Iterable[Image]) -> datetime | None:
    """When the newest of the images was made, as their configs say; None where none says so, or none can be believed.

    Builders that want to be reproducible write 1970 or the year 1.
    """
    moments = [moment for image in images if (moment := _created(image.config))]
    return max(moments, default=None)


def _created(config: bytes) -> datetime | None:
    """Whole seconds: a config may have nine digits more."""
    document = json.loads(config)  # it was parsed strictly before
    match = _RFC3339.match(str(document.get("created", "")))
    if not match:
        return None
    try:
        moment = datetime.fromisoformat(match[1].upper() + match[2].upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return moment if moment.timestamp() > 0 else None


def epoch_time(text: str) -> datetime:
    """SOURCE_DATE_EPOCH as a point in time (reproducible-builds.org/specs/source-date-epoch).

    Raises:
        Refusal: `manifest.invalid_created_at`.
    """
    try:
        return datetime.fromtimestamp(int(text), UTC)
    except (ValueError, OverflowError, OSError) as exc:
        raise Refusal(
            f"cannot read SOURCE_DATE_EPOCH {text!r:.60}, expected seconds since 1970",
            code="manifest.invalid_created_at",
        ) from exc
