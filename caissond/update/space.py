"""Whether there is room for images: looked at before anything is begun."""

import os
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from caissond.errors import Refusal
from caissond.host.ingest import known_layers
from caissond.model.manifest import Target
from caissond.package.image import Image
from caissond.package.staging import writing
from caissond.package.validate import room_for
from caissond.update.device import Device

SPARE_BYTES = 32 * 1024 * 1024
STAGED_AT_ONCE = 2
"""Layers in the work folder: one goes into Docker while the next is read."""


def check_room(device: Device, wanted: Sequence[tuple[Image, Target]]) -> tuple[int, ...]:
    """Whether there is room for the layers that are not there yet, those of all images together.

    Returns:
        For each image what its layers may unpack to, in bytes.

    Raises:
        Refusal: `host.disk_full`.
    """
    with writing(device.paths.work):
        device.paths.work.mkdir(mode=0o700, parents=True, exist_ok=True)
    images = device.docker_root() or device.paths.work
    coming: list[tuple[str, ...]] = []
    needs, staged_bytes = [], 0
    for image, target in wanted:
        layers = tuple(layer.diff_id for layer in image.layers)
        known = max([known_layers(device.docker, layers), *(_in_common(layers, other) for other in coming)])
        work_bytes, docker_bytes = _needs(image, target, known)
        staged_bytes = max(staged_bytes, work_bytes)  # one image after the other
        needs.append((images, docker_bytes))
        coming.append(layers)
    check_space(((device.paths.work, staged_bytes), *needs))
    folder = os.statvfs(images)
    return tuple(room_for(target, folder.f_bavail * folder.f_frsize) for _, target in wanted)


def _in_common(layers: tuple[str, ...], others: tuple[str, ...]) -> int:
    """How many layers from the bottom are the same."""
    return len(list(takewhile(lambda pair: pair[0] == pair[1], zip(layers, others, strict=False))))


def _needs(image: Image, target: Target, known: int) -> tuple[int, int]:
    """Bytes in the work folder and in Docker's: what is missing unpacked, and once more its largest layer, which
    Docker unpacks to a temporary folder first. How far a layer unpacks is known of the whole image at best.

    Args:
        known: layers from the bottom that are there.
    """
    missing = sorted(layer.size_bytes for layer in image.layers[known:])
    if not missing:
        return 0, 0
    stored_bytes = sum(layer.size_bytes for layer in image.layers)
    factor = max(1, (target.unpacked_bytes or stored_bytes) / max(1, stored_bytes))
    return sum(missing[-STAGED_AT_ONCE:]), int(factor * (sum(missing) + missing[-1]))


def check_space(needs: tuple[tuple[Path, int], ...]) -> None:
    """Whether there is room for all of this at once; folders on one file system share its space.

    Args:
        needs: folders and the bytes that will be written below them. A folder that is not here is passed over.

    Raises:
        Refusal: `host.disk_full`.
    """
    wanted: dict[int, tuple[Path, int]] = {}
    for folder, size_bytes in needs:
        if folder.is_dir():
            device = folder.stat().st_dev
            wanted[device] = (folder, wanted.get(device, (folder, SPARE_BYTES))[1] + size_bytes)
    for folder, size_bytes in wanted.values():
        file_system = os.statvfs(folder)
        free_bytes = file_system.f_bavail * file_system.f_frsize
        if free_bytes < size_bytes:
            text = (
                f"cannot start: {folder} has {free_bytes >> 20} MiB free, {size_bytes >> 20} MiB are needed"
            )
            raise Refusal(text, code="host.disk_full")
