"""State made anew from Docker's labels, when the database is lost, or is an older copy.

A settled container becomes an installed release again. A replacement whose old container is still there becomes the
record of an update that was cut off: forward where the commit had begun to swap names, back otherwise.
"""

from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from caissond.host.docker import Inspect
from caissond.model.catalog import Service
from caissond.model.ids import ContainerId, Digest, ImageId, UpdateId, parked_name
from caissond.model.records import Before, Installed, Part, Record, Release, Status
from caissond.update.container_steps import STEP_NAMES
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
    found = []
    for short in device.docker.list_containers(label=f"{_LABEL}state={device.paths.state_dir}"):
        if only_unknown and _is_known(device, str((short.get("Labels") or {}).get(f"{_LABEL}update", ""))):
            continue
        container = device.docker.find_container(short["Id"])
        service = device.catalog.find(_label(container, "service")) if container else None
        if container is not None and service is not None:
            found.append(_rebuild_one(device, service, container))
    return tuple(words for words in found if words)


def _is_known(device: Device, update: str) -> bool:
    running = {record.update_id for record in device.journal.unfinished()}
    return update in running or device.history.find(update) is not None


def _rebuild_one(device: Device, service: Service, container: Inspect) -> str:
    release = _release_of(container)
    if release is None or service.docker is None:
        return ""
    name = service.docker.container_name
    replaced = _label(container, "replaces")
    old = device.docker.find_container(replaced) if replaced else None
    if old is not None:
        record = _record(device, name, container, old, release)
        if all(known.update_id != record.update_id for known in device.journal.unfinished()):
            device.journal.begin(record)
        return f"{release.service} in the middle of an update to {release.version}"
    if container["Name"] == f"/{name}":
        device.releases.save_installed(_installed(container, release))
        return f"{release.service} {release.version}"
    return ""


def _record(device: Device, name: str, new: Inspect, old: Inspect, release: Release) -> Record:
    update_id = UpdateId(_label(new, "update"))
    swapped = old["Name"] == f"/{parked_name(name, update_id)}" or new["Name"] == f"/{name}"
    status = dict.fromkeys(STEP_NAMES, Status.DONE)
    status["commit"] = Status.DOING if swapped else Status.PENDING
    return Record(
        update_id=update_id,
        parts=(Part(container_name=name, release=release, before=_before(device, new, old, release)),),
        statuses={f"{release.service}/{step}": status[step] for step in STEP_NAMES},
        started_at=datetime.now(UTC),
    )


def _before(device: Device, new: Inspect, old: Inspect, release: Release) -> Before:
    tagged = device.docker.find_image(release.reference)
    was_running = _label(new, "running") != "no"
    old_release = _release_of(old)
    return Before(
        container_id=ContainerId(old["Id"]),
        container=old,
        image_id=ImageId(old["Image"]),
        image=device.docker.find_image(old["Image"]) or {},
        restart_policy=_policy(_label(new, "restart")),
        was_running=was_running,
        was_well=was_running,
        reference_image=ImageId(tagged["Id"]) if tagged and tagged["Id"] != new["Image"] else None,
        installed=_known(device, old, release) or (_installed(old, old_release) if old_release else None),
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
