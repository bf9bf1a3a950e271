"""Looking at a package without giving it a turn: what the command line shows before it asks, and `validate`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from caissond.errors import Refusal
from caissond.model.manifest import Manifest
from caissond.package.image import Image, read_image
from caissond.package.staging import open_regular
from caissond.package.validate import Package, check_image, check_platform, read_package
from caissond.update.updater import Updater

MAX_UNPACKED_BYTES = 256 * 1024**3


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found out about a package, and everything that speaks against it."""

    package: Package | None
    image: Image | None
    problems: tuple[Refusal, ...]

    @property
    def manifest(self) -> Manifest | None:
        return self.package.manifest if self.package else None


def examine(
    updater: Updater,
    path: Path,
    *,
    allow_unsigned: bool,
    every_byte: bool,
    progress: Callable[[int], None] = lambda _more_bytes: None,
) -> Examination:
    """Look at a package. Docker is not needed, and nothing is changed.

    Args:
        every_byte: also hash the image; else its headers and configuration are read only.
        progress: told how many more bytes were read.

    Raises:
        SourceGone: the medium does not answer.
    """
    try:
        with open_regular(path) as source:
            return _examine(updater, source, allow_unsigned, every_byte, progress)
    except Refusal as exc:
        return Examination(None, None, (exc,))


def _examine(
    updater: Updater,
    source: BinaryIO,
    allow_unsigned: bool,
    every_byte: bool,
    progress: Callable[[int], None],
) -> Examination:
    package = read_package(source)
    problems = list(updater.mismatches(package.manifest))
    image = None
    try:
        updater.check_trust(allow_unsigned=allow_unsigned)
        if every_byte:
            image = check_image(source, package, limit_bytes=MAX_UNPACKED_BYTES, progress=progress)
        else:
            image = read_image(source, package.image_window)
            check_platform(image, package.manifest.platform)
    except Refusal as exc:
        problems.append(exc)
    return Examination(package, image, tuple(problems))
