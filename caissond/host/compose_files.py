"""The files of a Compose project, and what is taken from the answer when Compose's own command has resolved them: pure.

That answer holds the secrets of all services: nothing but the names of services and of their images is kept.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from caissond.errors import Refusal
from caissond.model.catalog import Compose
from caissond.model.fields import parse_reference
from caissond.model.reference import full_reference

Resolved = Mapping[str, "ResolvedService"]
_IMAGE_ID = re.compile(r"(sha256:)?[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ComposeFiles:
    """One project, as the command has to be told of it. All paths are absolute."""

    project: str
    files: tuple[Path, ...]
    """At least one; later ones come on top."""
    profiles: tuple[str, ...] = ()
    env_file: Path | None = None

    @classmethod
    def of(cls, compose: Compose, base: Path) -> "ComposeFiles":
        """What the catalog says.

        Args:
            base: the folder of `services.toml`, absolute: where relative paths begin.
        """
        return cls(
            project=compose.project,
            files=tuple(base / file for file in (compose.file, *compose.more_files)),
            profiles=compose.profiles,
            env_file=base / compose.env_file if compose.env_file else None,
        )

    @property
    def folder(self) -> Path:
        """The project's. The command runs in it: what it looks for around itself is the same for everybody."""
        return self.files[0].parent

    @property
    def arguments(self) -> tuple[str, ...]:
        """What stands between the command and what it is to do."""
        files = [word for file in self.files for word in ("-f", str(file))]
        profiles = [word for profile in self.profiles for word in ("--profile", profile)]
        environment = ["--env-file", str(self.env_file)] if self.env_file else []
        return ("-p", self.project, *files, *profiles, *environment)

    @property
    def environment(self) -> dict[str, str]:
        """The profiles once more: for 2.10, what `.env` says of them outranked the arguments (docker/compose#9895)."""
        return {"COMPOSE_PROFILES": ",".join(self.profiles)} if self.profiles else {}


class ResolvedService(BaseModel):
    """One service of the resolved files."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    image: str | None = None
    """None where it has no name, since it is only built."""
    is_built: bool = Field(default=False, validation_alias="build")
    pull_policy: str | None = None

    @field_validator("image")
    @classmethod
    def _none_for_empty(cls, image: str | None) -> str | None:
        """docker-compose 1 shows an unset variable as an empty name."""
        return image or None

    @field_validator("is_built", mode="before")
    @classmethod
    def _says_how(cls, build: object) -> bool:
        return build is not None


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    services: dict[str, ResolvedService] = Field(default_factory=dict)


def parse_resolved(answer: str, *, is_yaml: bool) -> dict[str, ResolvedService]:
    """The services in the answer of `config`.

    Raises:
        ValueError: it is none; without a word of it, since it holds secrets.
    """
    try:
        return _Answer.model_validate(_load_yaml(answer) if is_yaml else json.loads(answer)).services
    except (ValidationError, ValueError, RecursionError):
        raise ValueError("not what config answers") from None


def _load_yaml(answer: str) -> object:
    import yaml  # only where docker-compose 1 is

    try:
        return yaml.safe_load(answer)
    except yaml.YAMLError as exc:
        raise ValueError from exc


def check_service(resolved: Resolved, service: str) -> str:
    """The image name of the service, as its project spells it.

    Raises:
        Refusal: `compose.unknown_service`, `compose.no_image`, `compose.image_pinned`: it cannot be updated.
    """
    if service not in resolved:
        there = ", ".join(sorted(resolved)) or "none"
        text = f"cannot update the Compose service {service}: the services of its project are {there}"
        raise Refusal(text, code="compose.unknown_service")
    image = resolved[service].image
    if image is None:
        text = f"cannot update the Compose service {service}: its project gives it no image name"
        raise Refusal(text, code="compose.no_image")
    if "@" in image or _IMAGE_ID.fullmatch(image):
        text = f"cannot update the Compose service {service}: its project wants exactly {image}"
        raise Refusal(text, code="compose.image_pinned")
    try:
        parse_reference(image)
    except Refusal as exc:
        text = f"cannot update the Compose service {service}: {exc.message}"
        raise Refusal(text, code="compose.no_image") from exc
    return image


def sharers(resolved: Resolved, service: str, reference: str) -> tuple[str, ...]:
    """The other services of the project that have this image name, sorted."""
    wanted = full_reference(reference)
    return tuple(
        sorted(
            name
            for name, other in resolved.items()
            if name != service and other.image is not None and full_reference(other.image) == wanted
        )
    )
