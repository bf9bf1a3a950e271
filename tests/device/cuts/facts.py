"""What is to be seen on a device that has settled: all that the promises are held against."""

import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caissond.model.paths import Paths
from fixtures.machine.device import Device
from fixtures.machine.releases import SERVICE

_STATE_FOLDER = "/var/lib/caisson"


@dataclass(frozen=True, slots=True)
class Facts:
    """Docker's side; Caisson's state is a copy of its files."""

    containers: list[dict[str, Any]]
    """`docker inspect` of each."""
    tags: dict[str, str]
    """Tag to image ID."""
    untagged: list[str]
    version: str
    """What the service itself tells, asked over HTTP; empty when it does not answer."""
    note: str
    """What the service had written to its volume before."""
    state: Paths
    leftovers: list[str]
    """In the work folder and the inbox."""


def gather(device: Device, folder: Path) -> Facts:
    """Looks, and changes nothing."""
    names = device.run("docker", "ps", "--all", "--quiet", "--no-trunc").split()
    tags, untagged = _images(device)
    return Facts(
        containers=json.loads(device.run("docker", "inspect", *names)) if names else [],
        tags=tags,
        untagged=untagged,
        version=device.served_version(),
        note=device.machine.try_("docker", "exec", SERVICE, "cat", "/data/note").out.strip(),
        state=_copy_state(device, folder),
        leftovers=device.run(
            "find", f"{_STATE_FOLDER}/work", f"{_STATE_FOLDER}/inbox", "-mindepth", "1"
        ).split(),
    )


def _images(device: Device) -> tuple[dict[str, str], list[str]]:
    listed = device.run("docker", "images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}")
    images = [line.split(" ") for line in listed.splitlines()]
    named = {tag: image for tag, image in images if not tag.startswith("<none>")}
    return named, [image for tag, image in images if tag.startswith("<none>")]


def _copy_state(device: Device, folder: Path) -> Paths:
    """Settings, catalog and database, below a folder of this side."""
    packed = device.machine.fetch(
        "tar", "-c", "-C", "/", "--exclude=*/inbox/*", "etc/caisson", _STATE_FOLDER[1:]
    )
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        tar.extractall(folder, filter="data")
    return Paths.below(folder)
