"""Settling: what an earlier process left unfinished is brought to an end before anything else is done.

Whoever takes the lock settles first. All of it can be cut off and run again.
"""

import shutil
from contextlib import suppress

from caissond.errors import CaissonError, DockerError, HostUnavailable
from caissond.host.docker import Inspect
from caissond.host.ingest import sweep_intermediates
from caissond.model.ids import PARKED_MARK, is_private_name
from caissond.model.records import Outcome, Verdict
from caissond.store.database import Origin
from caissond.update.apply import Run
from caissond.update.containers import compose_label, find_siblings
from caissond.update.device import Device
from caissond.update.images import clean_images
from caissond.update.rebuild import rebuild
from caissond.update.survey import BEING_REMOVED

_KINDS = (
    ("io.caisson.service", "io.caisson.update", "io.caisson.running"),
    ("io.caisson.dependant.of", "io.caisson.dependant.update", "io.caisson.dependant.running"),
)
"""The labels that say whose a container is: the service itself, and what was made again with it."""


def settle(device: Device) -> tuple[Verdict, ...]:
    """Finish or undo what was cut off, and clear away what it left.

    Raises:
        HostUnavailable: the engine does not answer; nothing else was done.
        StoreError: the database cannot be used.
    """
    device.docker.ping()
    _rebuild_if_lost(device)
    verdicts = tuple(Run(device, record, {}).resume() for record in device.journal.unfinished())
    _clear_work(device)
    _sweep(device)
    return verdicts


def _rebuild_if_lost(device: Device) -> None:
    database = device.database
    is_kept = database.origin is Origin.KEPT
    if database.moved_to is not None:
        device.bus.tell("store.corrupt", f"{database.path} was damaged, moved to {database.moved_to.name}")
    found = rebuild(device, only_unknown=is_kept)
    if found:
        device.bus.tell("store.rebuilt", f"state made anew from Docker's labels: {', '.join(found)}")
    if not is_kept:
        database.mark_kept()


def _clear_work(device: Device) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree(device.paths.work)


def _sweep(device: Device) -> None:
    """Parked containers and private tags that no release needs any more. One that stays keeps nobody else."""
    for sweep in (_remove_parked, clean_images, _remove_intermediates):
        try:
            sweep(device)
        except HostUnavailable:
            raise
        except CaissonError as exc:
            device.bus.tell("update.cleanup_failed", exc.message)


def _remove_parked(device: Device) -> None:
    """Old containers that a committed update left, as soon as the release after them has been seen running; after one
    that was undone, what Docker could not be rid of. One that stays is told, and keeps no other.
    """
    for short in device.docker.list_containers():
        for name in short.get("Names") or ():
            if not _may_be_removed(device, short, name.lstrip("/")):
                continue
            try:
                device.docker.remove(short["Id"], with_new_volumes=False)
            except DockerError as exc:
                device.bus.tell("update.cleanup_failed", f"{name.lstrip('/')} stays: {exc.message}")


def _may_be_removed(device: Device, short: Inspect, name: str) -> bool:
    if is_private_name(name) and short.get("State") in BEING_REMOVED:
        return True
    service_name, marker, update = name.rpartition(PARKED_MARK)
    verdict = device.history.find(update) if marker and len(update) == 8 else None
    if verdict is None or verdict.outcome is not Outcome.SUCCEEDED:
        return False
    current = device.docker.find_container(service_name)
    return bool(current and _is_committed(device, current)) or _is_replaced_by_compose(device, short["Id"])


def _is_replaced_by_compose(device: Device, parked: str) -> bool:
    """Whether all containers of its Compose service run the release that the last commit brought: `up` by hand makes
    containers without our labels, and scales some away.
    """
    container = device.docker.find_container(parked)
    if container is None or not compose_label(container, "service"):
        return False
    images = {known.image_id for known in device.releases.all_installed()}
    siblings = find_siblings(device.docker, container)
    return bool(siblings) and all(one["State"]["Running"] and one["Image"] in images for one in siblings)


def _is_committed(device: Device, current: Inspect) -> bool:
    """Whether this is the release that the last commit brought, and it runs, if its service did."""
    return any(_is_committed_as(device, current, kind) for kind in _KINDS)


def _is_committed_as(device: Device, current: Inspect, kind: tuple[str, str, str]) -> bool:
    labels = current["Config"].get("Labels") or {}
    service, update, running = (labels.get(name, "") for name in kind)
    known = device.releases.installed(str(service))
    ours = known is not None and known.update_id == update
    return ours and (bool(current["State"]["Running"]) or running in ("no", "once"))


def _remove_intermediates(device: Device) -> None:
    """Half loaded images: after a power cut the contents of their layers may be lost, so no later load may build on
    them.
    """
    running = {record.update_id for record in device.journal.unfinished()}
    sweep_intermediates(device.docker, claim=device.claim, is_running=lambda update_id: update_id in running)
