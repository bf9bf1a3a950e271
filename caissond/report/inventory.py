"""What a device has, for whoever makes packages for it: as JSON for machines and as a text for people.

No environment, no labels and no mounts of containers are in it: those may hold secrets.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from caissond.model.text import printable

SCHEMA = 1
_CHANGES_BY_ITSELF = re.compile(r'^ *"(taken_at|free_bytes|state)": .*$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Engine:
    """Docker, as far as it matters to an image."""

    version: str
    storage: str
    """Its storage driver, or containerd's snapshotter."""
    platform: str
    """OS and architecture, as images name them; empty where it is not known."""
    free_bytes: int | None
    """Where its data root is; None when that is not on this machine."""


@dataclass(frozen=True, slots=True)
class ServiceStock:
    """A service of the catalog, and what it runs."""

    name: str
    service_revision: str
    platform: str
    runtime: str
    reference: str
    version: str | None
    """Of the release that Caisson installed; None before the first."""
    config_digest: str | None
    previous_version: str | None
    state: str
    layers: tuple[str, ...]
    """The diff IDs of the image that its container was made from, from the bottom."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything, at one moment."""

    host: str
    device_type: str | None
    caisson_version: str
    taken_at: datetime
    free_bytes: int
    """Where the state and the private copies are."""
    engine: Engine | None
    """None when it does not answer."""
    services: tuple[ServiceStock, ...]
    other_images: tuple[tuple[str, ...], ...]
    """The diff IDs of each image that is there besides, from the bottom. Their names may be nobody's business."""
    images_left_out: int
    """So many more would have made it too long."""


def inventory_document(inventory: Inventory) -> dict[str, object]:
    """The inventory as JSON has it."""
    taken_at = inventory.taken_at.isoformat(timespec="seconds")
    return {"schema": SCHEMA, **asdict(inventory), "taken_at": taken_at}


def inventory_json(inventory: Inventory) -> str:
    """The inventory for machines."""
    return json.dumps(inventory_document(inventory), indent=2) + "\n"


def says_the_same(one_json: str, other_json: str) -> bool:
    """Whether two inventories differ at most in what changes by itself: the time, free space, states of containers.

    Neither is parsed: one of them lay on a medium, and has one value in a line if we wrote it.
    """
    return _CHANGES_BY_ITSELF.sub("", one_json) == _CHANGES_BY_ITSELF.sub("", other_json)


def inventory_text(inventory: Inventory) -> str:
    """The inventory for people."""
    return "\n".join(inventory_lines(inventory)) + "\n"


def inventory_lines(inventory: Inventory) -> Iterator[str]:
    """The text, line by line."""
    yield from (_row(name, value) for name, value in _device_rows(inventory))
    for service in inventory.services:
        yield ""
        yield from (_row(name, value) for name, value in _service_rows(service))
        yield from _layer_lines("Layers", service.layers)
    for image in inventory.other_images:
        yield ""
        yield from _layer_lines("Other layers", image)
    if inventory.images_left_out:
        yield ""
        yield _row("Images left out", str(inventory.images_left_out))


def _layer_lines(name: str, layers: Sequence[str]) -> Iterator[str]:
    yield _row(name, f"{len(layers)}, from the bottom")
    yield from (f"  {printable(layer, limit=100)}" for layer in layers)


def _row(name: str, value: str) -> str:
    return f"{name + ':':<18}{printable(value, limit=500)}"


def _device_rows(inventory: Inventory) -> Iterator[tuple[str, str]]:
    engine = inventory.engine
    yield "Device", inventory.host
    yield "Device type", inventory.device_type or "not set"
    yield "Taken", inventory.taken_at.isoformat(timespec="seconds")
    yield "Caisson", inventory.caisson_version
    yield "Docker", f"{engine.version}, {engine.storage}" if engine else "does not answer"
    yield "Platform", (engine.platform if engine else "") or "not known"
    yield "Free for Caisson", _mib(inventory.free_bytes)
    yield "Free for Docker", _mib(engine.free_bytes if engine else None)
    yield "Services", str(len(inventory.services))


def _service_rows(service: ServiceStock) -> Iterator[tuple[str, str]]:
    yield "Service", service.name
    yield "Revision", service.service_revision
    yield "Platform", service.platform
    yield "Runtime", service.runtime
    yield "Reference", service.reference
    yield "Version", service.version or "not recorded yet"
    yield "Config digest", service.config_digest or "not recorded yet"
    yield "Previous version", service.previous_version or "not recorded yet"
    yield "State", service.state


def _mib(size_bytes: int | None) -> str:
    return "not known" if size_bytes is None else f"{size_bytes >> 20} MiB"
