"""Looking at a package without giving it a turn: what the command line shows before it asks, and `validate`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from caissond.errors import Refusal
from caissond.model.manifest import Manifest, Target
from caissond.package.image import Image
from caissond.package.staging import open_regular
from caissond.package.trust import Signature
from caissond.package.validate import Package, check_layout, check_targets, read_package, read_target
from caissond.update.device import Device
from caissond.update.policy import select_targets_on
from caissond.update.trusting import check_trust

MAX_UNPACKED_BYTES = 256 * 1024**3


@dataclass
class Examination:
    """What was found out about a package, and everything that speaks against it."""

    package: Package | None = None
    targets: tuple[Target, ...] = ()
    """Those for this device."""
    images: tuple[Image, ...] = ()
    """Of these targets; empty where something is wrong with one."""
    signatures: tuple[Signature, ...] = ()
    """Those that count."""
    problems: list[Refusal] = field(default_factory=list)

    @property
    def manifest(self) -> Manifest | None:
        return self.package.manifest if self.package else None


def examine(
    device: Device,
    path: Path,
    *,
    allow_unsigned: bool,
    every_byte: bool,
    progress: Callable[[int], None] = lambda _more_bytes: None,
) -> Examination:
    """Look at a package. Docker is not needed, and nothing is changed.

    Args:
        every_byte: also hash the images of all targets; else headers and configurations are read only.
        progress: told how many more bytes were read.

    Raises:
        SourceGone: the medium does not answer.
    """
    found = Examination()
    try:
        with open_regular(path) as source:
            found.package = read_package(source)
            _judge(device, found, found.package, allow_unsigned=allow_unsigned)
            _look_inside(source, found, found.package, every_byte, progress)
    except Refusal as exc:
        found.problems.append(exc)
    return found


def _judge(device: Device, found: Examination, package: Package, *, allow_unsigned: bool) -> None:
    selection = select_targets_on(device.settings, device.catalog, package.manifest)
    found.targets = selection.targets
    found.problems += selection.problems
    services = [service for name in package.manifest.services if (service := device.catalog.find(name))]
    found.signatures = check_trust(device, package, services, allow_unsigned=allow_unsigned)


def _look_inside(
    source: BinaryIO, found: Examination, package: Package, every_byte: bool, progress: Callable[[int], None]
) -> None:
    check_layout(source, package)
    if every_byte:
        check_targets(source, package, limit_bytes=MAX_UNPACKED_BYTES, progress=progress)
    found.images = tuple(read_target(source, package, target) for target in found.targets)
