"""Taking the inventory: what the catalog, the state and Docker say. Nothing is changed."""

import os
import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import Any

from caissond import __version__
from caissond.errors import CaissonError, DockerError, HostUnavailable
from caissond.host.ingest import image_chains
from caissond.model.catalog import Service
from caissond.report.inventory import Engine, Inventory, ServiceStock
from caissond.update.containers import find_containers
from caissond.update.device import Device

ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "armv6l": "arm",
    "riscv64": "riscv64",
}
"""Docker says of its machine what uname says, images what Go says. Of a machine that is not here we know nothing."""


MAX_LAYERS = 4096
"""Of all other images together: some 330 KB, of the 1 MiB that a stick gets in one file."""


def take_inventory(device: Device) -> Inventory:
    """What this device has now. An engine that does not answer leaves out what it knows.

    Raises:
        StoreError: the state database cannot be used.
    """
    engine = _engine(device)
    services = tuple(
        _service(device, service, asks_engine=engine is not None) for service in device.catalog.services
    )
    others = _other_images(device, services) if engine else ()
    most = sum(size <= MAX_LAYERS for size in accumulate(map(len, others)))
    return Inventory(
        host=socket.gethostname(),
        device_type=device.settings.device.type,
        caisson_version=__version__,
        taken_at=device.now(),
        free_bytes=_free_bytes(device.paths.state_dir),
        engine=engine,
        services=services,
        other_images=others[:most],
        images_left_out=len(others) - most,
    )


def _engine(device: Device) -> Engine | None:
    try:
        said = device.docker.describe()
        root = device.docker_root()
    except CaissonError:
        return None
    architecture = ARCHITECTURES.get(str(said.get("Architecture")), "")
    return Engine(
        version=str(said.get("ServerVersion") or ""),
        storage=str(said.get("Driver") or ""),
        platform=f"{said.get('OSType') or 'linux'}/{architecture}" if architecture else "",
        free_bytes=_free_bytes(root) if root else None,
    )


def _free_bytes(folder: Path) -> int:
    """What may be written there, or where it would be made."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    found = os.statvfs(there)
    return found.f_bavail * found.f_frsize


def _service(device: Device, service: Service, *, asks_engine: bool) -> ServiceStock:
    installed = device.releases.installed(service.name)
    state, layers = _container(device, service) if asks_engine else ("unknown", ())
    reference = service.docker.image_reference if service.docker else ""
    return ServiceStock(
        name=service.name,
        service_revision=service.service_revision,
        platform=service.platform,
        runtime=str(service.runtime_mode),
        reference=installed.release.reference if installed else reference,
        version=installed.release.version if installed else None,
        config_digest=installed.release.digest if installed else None,
        previous_version=installed.previous.version if installed and installed.previous else None,
        state=state,
        layers=layers,
    )


def _container(device: Device, service: Service) -> tuple[str, tuple[str, ...]]:
    """The state of its containers, and the layers of the first one's image."""
    try:
        containers = find_containers(device.docker, service)
        return state_of(containers), _layers(device, containers[0]) if containers else ()
    except (DockerError, HostUnavailable):
        return "unknown", ()


def state_of(containers: Sequence[Mapping[str, Any]]) -> str:
    """Of all containers of a service, in a few words; how many there are of each kind, where they differ."""
    counts = Counter(_state_words(container["State"]) for container in containers)
    if len(counts) == 1:
        words, count = next(iter(counts.items()))
        return words if count == 1 else f"{count} x {words}"
    return " + ".join(f"{count} x {words}" for words, count in sorted(counts.items())) or "missing"


def _state_words(state: Mapping[str, Any]) -> str:
    """What the engine says of a container, in a word or two; Docker keeps the health of one that has stopped."""
    health = (state.get("Health") or {}).get("Status") if state["Running"] else None
    return f"{state['Status']}, {health}" if health else str(state["Status"])


def _other_images(device: Device, services: Sequence[ServiceStock]) -> tuple[tuple[str, ...], ...]:
    """What a release can be built on besides. An image that another one begins with says nothing more."""
    told = [service.layers for service in services]
    others: list[tuple[str, ...]] = []
    with suppress(DockerError, HostUnavailable):
        for chain in sorted(map(tuple, image_chains(device.docker)), key=len, reverse=True):
            if not any(longer[: len(chain)] == chain for longer in (*told, *others)):
                others.append(chain)
    return tuple(sorted(others))


def _layers(device: Device, container: Mapping[str, Any]) -> tuple[str, ...]:
    with suppress(DockerError):  # its image may have been removed by force
        image = device.docker.inspect_image(container["Image"])
        return tuple(str(layer) for layer in (image.get("RootFS") or {}).get("Layers") or ())
    return ()
