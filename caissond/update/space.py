"""Whether there is room for an image: looked at before anything is begun."""

import os
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


def check_room(device: Device, image: Image, target: Target) -> int:
    """Whether there is room for the layers that are not there yet.

    Returns:
        What the image's layers may unpack to, in bytes.

    Raises:
        Refusal: `host.disk_full`.
    """
    with writing(device.paths.work):
        device.paths.work.mkdir(mode=0o700, parents=True, exist_ok=True)
    images = device.docker_root() or device.paths.work
    work_bytes, docker_bytes = _needs(device, image, target)
    check_space(((device.paths.work, work_bytes), (images, docker_bytes)))
    folder = os.statvfs(images)
    return room_for(target, folder.f_bavail * folder.f_frsize)


def _needs(device: Device, image: Image, target: Target) -> tuple[int, int]:
    """Bytes in the work folder and in Docker's: what is missing unpacked, and once more its largest layer, which
    Docker unpacks to a temporary folder first. How far a layer unpacks is known of the whole image at best.
    """
    known = known_layers(device.docker, tuple(layer.diff_id for layer in image.layers))
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
