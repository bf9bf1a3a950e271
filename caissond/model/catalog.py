"""The catalog `services.toml`: the services that may be updated. What is not in it does not exist for Caisson.

Read as the Rust tool `caisson` 0.1 reads it: an unknown key is a warning, not an error.
"""

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from caissond.errors import ConfigError
from caissond.model.ids import is_private_name
from caissond.model.toml import dotted, first_problem, line_of, parse_toml


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    return value


Text = Annotated[str, AfterValidator(_not_blank)]


_CONTAINER_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]+$")
"""moby: daemon/names."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")

    def unknown_keys(self) -> list[str]:
        """The keys nobody reads, dotted, of this table and those below it."""
        names = list(self.model_extra or {})
        for field in type(self).model_fields:
            value = getattr(self, field)
            tables = value if isinstance(value, tuple) else (value,)
            names += [
                f"{field}.{name}"
                for table in tables
                if isinstance(table, _Table)
                for name in table.unknown_keys()
            ]
        return names


class HealthKind(StrEnum):
    RUNNING = "running"
    CONTAINER_HEALTH = "container_health"


class HealthCheck(_Table):
    """The gate. All times in seconds."""

    kind: HealthKind = HealthKind.RUNNING
    timeout_secs: int = Field(default=30, ge=1, le=3600)
    poll_interval_secs: float = Field(default=1, gt=0, le=60)
    stable_secs: float = Field(default=10, ge=0, le=1800)

    @property
    def stable_s(self) -> float:
        """How long the new release has to stay up: at most half of the deadline."""
        return min(self.stable_secs, self.timeout_secs / 2)


class Docker(_Table):
    container_name: Text
    image_reference: Text


class Compose(_Table):
    project: Text
    file: Path
    service: Text


class Rollback(_Table):
    automatic: Literal[True] = True


class Service(_Table):
    """One service that may be updated."""

    name: Text
    service_revision: Text
    platform: Text
    runtime_mode: Literal["docker", "compose"]
    docker: Docker | None = None
    compose: Compose | None = None
    health_check: HealthCheck = HealthCheck()
    rollback: Rollback = Rollback()
    signers: tuple[Text, ...] = ()
    """Patterns of the principals that may sign for it, as ssh_config(5) spells them; empty: every signer."""

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


class Catalog(_Table):
    catalog_version: Literal[1]
    services: tuple[Service, ...]

    @model_validator(mode="after")
    def _nothing_twice(self) -> "Catalog":
        _check_unique("service name", [service.name for service in self.services])
        _check_unique(
            "container_name", [s.docker.container_name for s in self.services if s.docker is not None]
        )
        return self

    def find(self, name: str) -> Service | None:
        return next((service for service in self.services if service.name == name), None)


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
