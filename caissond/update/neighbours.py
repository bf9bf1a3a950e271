"""Whom Docker has bound to the service's container, and whether the catalog says that they may be made again."""

from caissond.errors import Refusal
from caissond.host.docker import Docker, Inspect
from caissond.host.recreate import depends_on
from caissond.model.catalog import Service
from caissond.model.ids import ContainerId, ImageId
from caissond.model.records import Before, Dependant
from caissond.update.containers import name_of, place_of


def find_dependants(
    docker: Docker, service: Service, container: Inspect, *, host_name: str
) -> tuple[Dependant, ...]:
    """The containers that depend on the service's, in the order in which they are declared.

    Raises:
        Refusal: `service.has_dependants`: one is not declared, or has dependants itself; `service.auto_remove`,
            `service.paused`: one cannot be made again.
    """
    declared = _Declared(service)
    everybody = [found for short in docker.list_containers() if (found := docker.find_container(short["Id"]))]
    dependants = _dependants_of(container, everybody)
    for other in dependants:
        _check(service, other, declared, everybody)
    is_up = bool(container["State"]["Running"])
    return tuple(
        Dependant(name=name_of(other), before=_before(docker, other, host_name=host_name, is_up=is_up))
        for other in sorted(dependants, key=declared.place_of)
    )


class _Declared:
    """What the catalog says may be made again with the service's container."""

    def __init__(self, service: Service) -> None:
        runtime = service.docker or service.compose
        self._names = runtime.dependants if runtime is not None else ()
        self._project = service.compose.project if service.compose is not None else ""

    def __contains__(self, container: Inspect) -> bool:
        return self.place_of(container) < len(self._names)

    def place_of(self, container: Inspect) -> int:
        return place_of(container, self._names, self._project)


def _dependants_of(container: Inspect, everybody: list[Inspect]) -> list[Inspect]:
    return [
        other
        for other in everybody
        if other["Id"] != container["Id"] and depends_on(other, name_of(container), container["Id"])
    ]


def _check(service: Service, other: Inspect, declared: _Declared, everybody: list[Inspect]) -> None:
    name = name_of(other)
    if other not in declared:
        text = f"cannot update {service.name}: {name} depends on it (container: or link)"
        raise Refusal(text, code="service.has_dependants")
    if further := _dependants_of(other, everybody):
        text = f"cannot update {service.name}: {name_of(further[0])} depends on its dependant {name}"
        raise Refusal(text, code="service.has_dependants")
    if other["HostConfig"].get("AutoRemove"):
        text = f"cannot update {service.name}: its dependant {name} was started with --rm"
        raise Refusal(text, code="service.auto_remove")
    if other["State"].get("Paused"):
        raise Refusal(f"cannot update {service.name}: its dependant {name} is paused", code="service.paused")


def _before(docker: Docker, container: Inspect, *, host_name: str, is_up: bool) -> Before:
    """
    Args:
        is_up: whether the service runs: without it a dependant has nothing to run in.
    """
    return Before(
        container_id=ContainerId(container["Id"]),
        container=container,
        image_id=ImageId(container["Image"]),
        image=docker.find_image(container["Image"]) or {},
        restart_policy=container["HostConfig"].get("RestartPolicy") or {"Name": "no", "MaximumRetryCount": 0},
        was_running=is_up and bool(container["State"]["Running"]),
        was_well=False,  # nobody says what its health is, so no gate asks for it
        reference_image=None,
        host_name=host_name,
    )
