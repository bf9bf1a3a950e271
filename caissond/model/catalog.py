"""The catalog `services.toml`: the services that may be updated. What is not in it does not exist for Caisson.

Read as the Rust tool `caisson` 0.1 reads it: an unknown key is a warning, not an error.
"""

import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, ValidationError, model_validator

from caissond.errors import ConfigError
from caissond.model.health_check import HealthCheck, HealthKind
from caissond.model.ids import is_private_name
from caissond.model.service_policy import Policy
from caissond.model.table import Table, Text
from caissond.model.toml import dotted, first_problem, line_of, parse_toml

__all__ = [
    "Catalog",
    "Compose",
    "Docker",
    "HealthCheck",
    "HealthKind",
    "Policy",
    "Rollback",
    "Service",
    "parse_catalog",
]

_CONTAINER_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]+$")
"""moby: daemon/names."""
_PROJECT_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_COMPOSE_SERVICE = re.compile(r"[A-Za-z0-9._-]+")
_PROFILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
"""All three: the Compose specification (its schema)."""


class Docker(Table):
    container_name: Text
    image_reference: Text
    dependants: tuple[Text, ...] = ()
    """Containers that live in its network (`container:X`) or link to it, to be made again with it."""

    @model_validator(mode="after")
    def _dependants_are_others(self) -> "Docker":
        for name in self.dependants:
            if not _CONTAINER_NAME.match(name) or is_private_name(name) or name == self.container_name:
                raise ValueError(f"dependants must name other containers, not {name!r}")
        _check_unique("dependant", list(self.dependants))
        return self


def _names_a_file(path: Path) -> Path:
    if path == Path() or "\0" in str(path):
        raise ValueError("must name a file")
    return path


File = Annotated[Path, AfterValidator(_names_a_file)]


class Compose(Table):
    """Where a service stands among Compose's. A relative path begins at the folder of `services.toml`."""

    project: Text
    file: File
    service: Text
    more_files: tuple[File, ...] = ()
    """Read after `file`, in this order: what stands in them comes on top."""
    profiles: tuple[Text, ...] = ()
    env_file: File | None = None
    """Read instead of the `.env` beside `file`."""
    dependants: tuple[Text, ...] = ()
    """Other services of the project, or containers, that are bound to its containers, to be made again with them."""

    @model_validator(mode="after")
    def _names_are_names(self) -> "Compose":
        if not _PROJECT_NAME.fullmatch(self.project):
            raise ValueError(
                "project must be lower case letters, digits, - and _, and begin with one of the first two"
            )
        if not _COMPOSE_SERVICE.fullmatch(self.service):
            raise ValueError("service must be a Compose service's name: letters, digits, and _ . -")
        if wrong := next((name for name in self.profiles if not _PROFILE_NAME.fullmatch(name)), None):
            raise ValueError(f"profiles must name profiles of the Compose file, not {wrong!r}")
        return self

    @model_validator(mode="after")
    def _dependants_are_others(self) -> "Compose":
        for name in self.dependants:
            if not _COMPOSE_SERVICE.fullmatch(name) or is_private_name(name) or name == self.service:
                raise ValueError(f"dependants must name other services or containers, not {name!r}")
        _check_unique("dependant", list(self.dependants))
        return self


class Rollback(Table):
    automatic: Literal[True] = True


class Service(Table):
    """One service that may be updated."""

    name: Text
    service_revision: Text
    platform: Text
    runtime_mode: Literal["docker", "compose"]
    docker: Docker | None = None
    compose: Compose | None = None
    health_check: HealthCheck = HealthCheck()
    rollback: Rollback = Rollback()
    policy: Policy = Policy()
    signers: tuple[Text, ...] = ()
    """Patterns of the principals that may sign for it, as ssh_config(5) spells them; empty: every signer."""
    after: tuple[Text, ...] = ()
    """Services that have to be well before this one is started, where a package brings several."""

    @model_validator(mode="after")
    def _one_runtime(self) -> "Service":
        wanted, other = (
            (self.docker, self.compose) if self.runtime_mode == "docker" else (self.compose, self.docker)
        )
        if wanted is None:
            raise ValueError(
                f"runtime_mode is {self.runtime_mode!r}, so [services.{self.runtime_mode}] must be there"
            )
        if other is not None:
            raise ValueError("must not have both [services.docker] and [services.compose]")
        if self.docker is not None and not _CONTAINER_NAME.match(self.docker.container_name):
            raise ValueError("container_name must be a container's name: letters, digits, and _ . - inside")
        if self.docker is not None and is_private_name(self.docker.container_name):
            raise ValueError("container_name must not look like one of Caisson's own temporary names")
        return self


class Catalog(Table):
    catalog_version: Literal[1]
    services: tuple[Service, ...]

    @model_validator(mode="after")
    def _nothing_twice(self) -> "Catalog":
        _check_unique("service name", [service.name for service in self.services])
        _check_unique(
            "container_name", [s.docker.container_name for s in self.services if s.docker is not None]
        )
        composed = [service.compose for service in self.services if service.compose is not None]
        _check_unique("Compose service", [f"{compose.project}/{compose.service}" for compose in composed])
        return self

    @model_validator(mode="after")
    def _after_leads_somewhere(self) -> "Catalog":
        names = {service.name for service in self.services}
        for service in self.services:
            if unknown := next((name for name in service.after if name not in names), None):
                raise ValueError(f"after of {service.name!r} names {unknown!r}, which is no service")
        try:
            _ = self.levels
        except CycleError as exc:
            raise ValueError(f"after must not go round in a circle: {' after '.join(exc.args[1])}") from exc
        return self

    def find(self, name: str) -> Service | None:
        return next((service for service in self.services if service.name == name), None)

    @property
    def levels(self) -> tuple[tuple[str, ...], ...]:
        """All services by what they come after: those of a level only come after ones of earlier levels."""
        order = TopologicalSorter({service.name: service.after for service in self.services})
        order.prepare()
        levels = []
        while order.is_active():
            ready = set(order.get_ready())
            levels.append(tuple(service.name for service in self.services if service.name in ready))
            order.done(*ready)
        return tuple(levels)


def _check_unique(what: str, names: list[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{what} {twice!r} must not stand twice")


def parse_catalog(text: str, *, source: str) -> Catalog:
    """The catalog in this text.

    Args:
        text: a whole `services.toml`.
        source: the file's name, for messages.

    Raises:
        ConfigError: `catalog.invalid`, with the file, the line and what was expected.
    """
    try:
        return Catalog.model_validate(parse_toml(text))
    except ValidationError as exc:
        where, problem = first_problem(exc)
        line = line_of(text, where)
        place = f"{source}, line {line}" if line else source
        raise ConfigError(
            f"cannot use the catalog {place}: {dotted(where)} {problem}", code="catalog.invalid"
        ) from exc
    except ValueError as exc:
        raise ConfigError(f"cannot use the catalog {source}: {exc}", code="catalog.invalid") from exc
