"""The first step of an update, check-host: everything is looked at and written into `Before`, nothing is touched.

What cannot be updated is refused here, with Docker's state as it was.
"""

import re
from collections.abc import Callable, Collection
from pathlib import Path

from caissond.errors import HostUnavailable, Refusal
from caissond.host.docker import Docker, Inspect
from caissond.host.image_defaults import own_healthcheck
from caissond.model.catalog import Catalog, HealthKind, Service
from caissond.model.ids import COPY_MARK, NEW_MARK, PARKED_MARK, ContainerId, ImageId
from caissond.model.records import Before, Installed, Release
from caissond.model.reference import full_reference
from caissond.store.journal import Journal
from caissond.update.neighbours import find_dependants

BEING_REMOVED = ("dead", "removing")
"""How `docker ps` calls what Docker could not remove: it is in nobody's way under a name that we gave it."""


def survey(
    docker: Docker, service: Service, container_name: str, release: Release, *, state_dir: Path,
    installed: Installed | None, is_known: Callable[[str], bool] = lambda _update: False,
) -> Before:  # fmt: skip
    """What the undos need to know, read from the engine.

    Args:
        is_known: whether the beginning of an update's id is one of ours: its parked container waits to be swept.

    Raises:
        Refusal: `service.*`: the container cannot be updated.
    """
    container = docker.find_container(container_name)
    if container is None:
        raise Refusal(f"cannot update {service.name}: no container {container_name}", code="service.missing")
    _check_container(container, container_name, state_dir)
    _check_leftovers(container_name, docker.list_containers(), is_known)
    _check_run(service, container)
    state = container["State"]
    host_name = str(docker.describe().get("Name", ""))
    tagged = docker.find_image(release.reference)
    return Before(
        container_id=ContainerId(container["Id"]),
        container=container,
        image_id=ImageId(container["Image"]),
        image=docker.find_image(container["Image"]) or {},
        restart_policy=container["HostConfig"].get("RestartPolicy") or {"Name": "no", "MaximumRetryCount": 0},
        was_running=bool(state["Running"]),
        was_well=_is_well(state),
        runs_once=service.health_check.kind is HealthKind.COMPLETED,
        reference_image=ImageId(tagged["Id"]) if tagged else None,
        host_name=host_name,
        installed=installed,
        dependants=find_dependants(docker, service, container, host_name=host_name),
    )


def _is_well(state: Inspect) -> bool:
    health = (state.get("Health") or {}).get("Status")
    return bool(state["Running"]) and not state.get("Restarting") and health != "unhealthy"


def _check_container(container: Inspect, name: str, state_dir: Path) -> None:
    labels: dict[str, str] = container["Config"].get("Labels") or {}
    claimed_by = labels.get("io.caisson.state", str(state_dir))
    if claimed_by != str(state_dir):
        raise Refusal(f"cannot update {name}: {claimed_by} looks after it", code="service.claimed_elsewhere")
    if container["HostConfig"].get("AutoRemove"):
        raise Refusal(f"cannot update {name}: it was started with --rm", code="service.auto_remove")
    if container["State"].get("Paused"):
        raise Refusal(f"cannot update {name}: it is paused", code="service.paused")


def _check_run(service: Service, container: Inspect) -> None:
    """Whether what it has to do, if it ends by itself, is done."""
    if service.health_check.kind is HealthKind.COMPLETED and container["State"]["Running"]:
        text = f"cannot update {service.name} now: it is at work"
        raise Refusal(text, code="service.at_work")


def _check_leftovers(name: str, everybody: list[Inspect], is_known: Callable[[str], bool]) -> None:
    leftover = re.compile(rf"^/{re.escape(name)}({NEW_MARK}|{PARKED_MARK}|{COPY_MARK})([0-9a-f]{{8}})$")
    for other in everybody:
        if other.get("State") in BEING_REMOVED:
            continue
        for other_name in other.get("Names") or ():
            match = leftover.match(other_name)
            if match and not (match[1] == PARKED_MARK and is_known(match[2])):
                text = f"cannot update {name}: {other_name.lstrip('/')} is in the way"
                raise Refusal(text, code="service.leftovers")


def _name_of(short: Inspect) -> str:
    """Its own; those with a slash in them are what others call it who link to it."""
    names = (str(name).lstrip("/") for name in short.get("Names") or ())
    return next((name for name in names if "/" not in name), str(short["Id"])[:12])


def check_settled(journal: Journal, service: Service) -> None:
    """Whether an earlier update of the service is still to be brought to its end.

    Raises:
        HostUnavailable: `service.unsettled`.
    """
    unfinished = {part.release.service for record in journal.unfinished() for part in record.parts}
    if service.name in unfinished:
        text = f"cannot update {service.name}: an earlier update is not settled"
        raise HostUnavailable(text, code="service.unsettled")


def check_reference(
    docker: Docker,
    release: Release,
    names: Collection[str],
    catalog: Catalog,
    all_installed: tuple[Installed, ...],
    others: Collection[str] = (),
) -> None:
    """Whether the package may move the tag it names.

    Args:
        names: the service's containers.
        others: who else is known to use it.

    Raises:
        Refusal: `package.reference_taken`.
    """
    reference = full_reference(release.reference)
    owners = {
        s.name for s in catalog.services if s.docker and full_reference(s.docker.image_reference) == reference
    }
    owners |= {
        known.release.service
        for known in all_installed
        if full_reference(known.release.reference) == reference
    }
    everybody = docker.list_containers()
    owners |= {owner for container in everybody if (owner := _mover_of(container, reference))}
    taken = {*others, *(owners - {release.service})}
    if docker.find_image(reference) is not None:
        taken |= {
            _name_of(container)
            for container in everybody
            if full_reference(str(container.get("Image", ""))) == reference
            and _name_of(container) not in names
        }
    if taken:
        text = f"cannot use {reference}: it belongs to {', '.join(sorted(taken))}"
        raise Refusal(text, code="package.reference_taken")


def _mover_of(container: Inspect, reference: str) -> str:
    """The service whose Compose file gives this image name, and whose container an update has made: since then Docker
    shows an id in its place.
    """
    labels: dict[str, str] = container.get("Labels") or {}
    moved = labels.get("io.caisson.compose_reference")
    return labels.get("io.caisson.service", "") if moved and full_reference(moved) == reference else ""


def check_health_check(service: Service, before: Before, *, has_healthcheck: bool) -> None:
    """Whether the replacement will have the health check that the gate is to ask.

    Args:
        has_healthcheck: whether its image has one.

    Raises:
        Refusal: `image.no_healthcheck`.
    """
    if service.health_check.kind is not HealthKind.CONTAINER_HEALTH:
        return
    own = own_healthcheck(before.container["Config"], before.image.get("Config") or {})
    present = own["Test"] != ["NONE"] if own.get("Test") else has_healthcheck
    if not present:
        raise Refusal(
            f"cannot watch {service.name}: its new image has no health check", code="image.no_healthcheck"
        )
