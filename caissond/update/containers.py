"""The containers of a service, found on the engine: one by its name, or those of a Compose service by Compose's labels.

Each container that Compose makes says whose it is (`com.docker.compose.*`), and keeps saying so when it is made again.
"""

from collections.abc import Sequence

from caissond.errors import Refusal
from caissond.host.docker import Docker, Inspect
from caissond.model.catalog import Service
from caissond.model.ids import is_private_name

COMPOSE_LABEL = "com.docker.compose."


def find_containers(docker: Docker, service: Service) -> tuple[Inspect, ...]:
    """Their inspects; of a scaled service in the order of their numbers. Caisson's own temporary ones are no part of
    it, nor what `compose run` started.
    """
    if service.docker is not None:
        found = docker.find_container(service.docker.container_name)
        return (found,) if found is not None else ()
    return _of_service(docker, service)


def container_names(docker: Docker, service: Service) -> tuple[str, ...]:
    """Their names; that of a plain container stands in the catalog, whether it is there or not.

    Raises:
        Refusal: `service.missing`: Compose has made none.
    """
    if service.docker is not None:
        return (service.docker.container_name,)
    if names := tuple(name_of(found) for found in _of_service(docker, service)):
        return names
    assert service.compose is not None  # the catalog has one of the two
    where = f"{service.compose.service} in the Compose project {service.compose.project}"
    raise Refusal(f"cannot update {service.name}: no container of {where}", code="service.missing")


def find_siblings(docker: Docker, container: Inspect) -> tuple[Inspect, ...]:
    """All containers of the Compose service that this one is of, itself too, if it is still there."""
    return _of_compose(docker, compose_label(container, "project"), compose_label(container, "service"))


def name_of(container: Inspect) -> str:
    """As it stands in the inspect, without the slash in front."""
    return str(container["Name"]).lstrip("/")


def compose_label(container: Inspect, name: str) -> str:
    """What Compose wrote on it; empty where it did not make it."""
    return str((container["Config"].get("Labels") or {}).get(COMPOSE_LABEL + name, ""))


def place_of(container: Inspect, declared: Sequence[str], project: str) -> int:
    """Where among the declared ones it stands, by its own name or by that of its service in the same Compose project;
    behind them where it is not declared.
    """
    names = (name_of(container), _declared_as(container, project))
    return min((declared.index(name) for name in names if name in declared), default=len(declared))


def _declared_as(container: Inspect, project: str) -> str:
    is_same = project != "" and compose_label(container, "project") == project
    return compose_label(container, "service") if is_same else name_of(container)


def _of_service(docker: Docker, service: Service) -> tuple[Inspect, ...]:
    assert service.compose is not None  # the catalog has one of the two
    return _of_compose(docker, service.compose.project, service.compose.service)


def _of_compose(docker: Docker, project: str, service: str) -> tuple[Inspect, ...]:
    named = docker.list_containers(label=f"{COMPOSE_LABEL}project={project}")
    found = [one for short in named if (one := docker.find_container(short["Id"])) is not None]
    ours = [
        one
        for one in found
        if compose_label(one, "service") == service
        and compose_label(one, "oneoff").lower() != "true"
        and not is_private_name(name_of(one))
    ]
    return tuple(sorted(ours, key=_number))


def _number(container: Inspect) -> tuple[int, str]:
    number = compose_label(container, "container-number")
    return (int(number) if number.isdigit() else 0, name_of(container))
