"""State made anew from Docker's labels, when the database is lost, or is an older copy.

A settled container becomes an installed release again. A replacement whose old container is still there becomes the
record of an update that was cut off: forward where the commit had begun to swap names, back otherwise.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from caissond.host.docker import Inspect
from caissond.model.catalog import Service
from caissond.model.ids import ContainerId, Digest, ImageId, UpdateId, parked_name
from caissond.model.records import Before, Dependant, Installed, Part, Record, Release, Replica, Status
from caissond.update.bundle import order_steps
from caissond.update.container_steps import step_names
from caissond.update.dependants import UPDATE_LABEL
from caissond.update.device import Device

_LABEL = "io.caisson."


def rebuild(device: Device, *, only_unknown: bool = False) -> tuple[str, ...]:
    """Write down what the labels of this state folder's containers tell, and return it in words.

    Args:
        only_unknown: leave those alone whose update the database knows. One that it does not know was made after all
            that stands in it: somebody put an older copy of the database back.

    Raises:
        HostUnavailable: the engine does not answer.
        StoreError: it cannot be written.
    """
    found: list[str] = []
    cut_off: dict[UpdateId, list[_CutOff]] = {}
    for short in device.docker.list_containers(label=f"{_LABEL}state={device.paths.state_dir}"):
        if only_unknown and _is_known(device, str((short.get("Labels") or {}).get(f"{_LABEL}update", ""))):
            continue
        container = device.docker.find_container(short["Id"])
        service = device.catalog.find(_label(container, "service")) if container else None
        if container is not None and service is not None:
            found.append(_rebuild_one(device, service, container, cut_off))
    running = {record.update_id for record in device.journal.unfinished()}
    for update_id in cut_off.keys() - running:
        device.journal.begin(_record(device, update_id, cut_off[update_id]))
    return tuple(words for words in found if words)


def _is_known(device: Device, update: str) -> bool:
    running = {record.update_id for record in device.journal.unfinished()}
    return update in running or device.history.find(update) is not None


def _rebuild_one(
    device: Device, service: Service, container: Inspect, cut_off: dict[UpdateId, list["_CutOff"]]
) -> str:
    release = _release_of(container)
    name = _name_of(service, container)
    if release is None or not name:
        return ""
    replaced = _label(container, "replaces")
    old = device.docker.find_container(replaced) if replaced else None
    if old is not None:
        update_id = UpdateId(_label(container, "update"))
        part = Part(
            container_name=name, release=release, before=_before(device, container, old, release),
            compose_reference=_label(container, "compose_reference"),
        )  # fmt: skip
        swapped = old["Name"] == f"/{parked_name(name, update_id)}" or container["Name"] == f"/{name}"
        cut_off.setdefault(update_id, []).append(_CutOff(part, swapped))
        return f"{release.service} in the middle of an update to {release.version}"
    if container["Name"] == f"/{name}":
        device.releases.save_installed(_installed(container, release))
        return f"{release.service} {release.version}"
    return ""


def _name_of(service: Service, container: Inspect) -> str:
    """The name that it has, or is to have, as the service's."""
    if service.docker is not None:
        return service.docker.container_name
    return _label(container, "container")


@dataclass(frozen=True, slots=True)
class _CutOff:
    """One service of an update that did not come to its end."""

    part: Part
    swapped: bool
    """The commit had begun to swap names: the verdict was in, for all services of the update."""


def _record(device: Device, update_id: UpdateId, cut_off: list[_CutOff]) -> Record:
    parts = _merged(one.part for one in cut_off)
    steps = {part.release.service: step_names(part) for part in parts}
    commit = Status.DOING if any(one.swapped for one in cut_off) else Status.PENDING
    return Record(
        update_id=update_id,
        parts=parts,
        statuses={
            name: commit if name.endswith("/commit") else Status.DONE
            for name in order_steps(steps, device.catalog.levels)
        },
        started_at=datetime.now(UTC),
    )


def _merged(alone: Iterable[Part]) -> tuple[Part, ...]:
    """One part for each service: the containers of a scaled one are parts of their own so far. One that has no
    replacement yet is missing: then none has been stopped.
    """
    by_service: dict[str, list[Part]] = {}
    for part in sorted(alone, key=lambda part: part.container_name):
        by_service.setdefault(part.release.service, []).append(part)
    return tuple(
        first.model_copy(
            update={"replicas": tuple(Replica(name=one.container_name, before=one.before) for one in others)}
        )
        for first, *others in by_service.values()
    )


def _before(device: Device, new: Inspect, old: Inspect, release: Release) -> Before:
    running = _label(new, "running")
    was_running = running not in ("no", "once")
    old_release = _release_of(old)
    return Before(
        container_id=ContainerId(old["Id"]),
        container=old,
        image_id=ImageId(old["Image"]),
        image=device.docker.find_image(old["Image"]) or {},
        restart_policy=_policy(_label(new, "restart")),
        was_running=was_running,
        was_well=was_running,
        runs_once=running == "once",
        reference_image=_pointed_at(device, release.reference, new),
        compose_image=_pointed_at(device, _label(new, "compose_reference"), new) or ImageId(old["Image"]),
        installed=_known(device, old, release) or (_installed(old, old_release) if old_release else None),
        dependants=_dependants(device, _label(new, "update"), release.service, _label(new, "container")),
    )


def _pointed_at(device: Device, reference: str, new: Inspect) -> ImageId | None:
    """What the image name points at, unless that is the new image already: then nobody knows any more."""
    tagged = device.docker.find_image(reference) if reference else None
    return ImageId(tagged["Id"]) if tagged and tagged["Id"] != new["Image"] else None


def _dependants(device: Device, update: str, service: str, container: str) -> tuple[Dependant, ...]:
    """Those that the update has made again so far: as long as one is missing, none has been stopped."""
    docker = device.docker
    copies = [
        docker.find_container(short["Id"])
        for short in docker.list_containers(label=f"{UPDATE_LABEL}={update}")
    ]
    found = [(copy, docker.find_container(_label(copy, "dependant.replaces"))) for copy in copies if copy]
    return tuple(
        Dependant(name=_label(copy, "dependant.name"), before=_before_of(device, copy, old))
        for copy, old in found
        if old is not None
        and (_label(copy, "dependant.of"), _label(copy, "dependant.container")) == (service, container)
    )


def _before_of(device: Device, copy: Inspect, old: Inspect) -> Before:
    return Before(
        container_id=ContainerId(old["Id"]),
        container=old,
        image_id=ImageId(old["Image"]),
        image=device.docker.find_image(old["Image"]) or {},
        restart_policy=_policy(_label(copy, "dependant.restart")),
        was_running=_label(copy, "dependant.running") != "no",
        was_well=False,
        reference_image=None,
    )


def _known(device: Device, container: Inspect, release: Release) -> Installed | None:
    """What the database says of this container's release: more than its labels do."""
    known = device.releases.installed(release.service)
    return known if known is not None and known.update_id == _label(container, "update") else None


def _installed(container: Inspect, release: Release) -> Installed:
    return Installed(
        release=release,
        update_id=UpdateId(_label(container, "update")),
        image_id=ImageId(container["Image"]),
        committed_at=datetime.now(UTC),
        ungated=_label(container, "running") == "no",
    )


def _release_of(container: Inspect) -> Release | None:
    try:
        return Release(
            service=_label(container, "service"),
            version=_label(container, "version"),
            digest=Digest(_label(container, "digest")),
            reference=_label(container, "reference"),
            created_at=datetime.fromisoformat(_label(container, "created")),
        )
    except (ValidationError, ValueError):
        return None


def _policy(label: str) -> dict[str, Any]:
    name, _, count = label.partition(":")
    return {"Name": name or "no", "MaximumRetryCount": int(count) if count.isdigit() else 0}


def _label(container: Inspect, name: str) -> str:
    return str((container["Config"].get("Labels") or {}).get(_LABEL + name, ""))
