"""The settings `caissond.toml`. Everything has a default; an unknown key is an error that names it."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from caissond.errors import ConfigError
from caissond.model.toml import dotted, first_problem, line_of, parse_toml


def _absolute(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError("must be an absolute path")
    return path.rstrip("/") or "/"


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class TrustSettings(_Table):
    allow_unsigned: bool = Field(
        default=False, description="let packages without a signature in (format 1 has none)"
    )
    required_signatures: int = Field(
        default=1, ge=1, le=16, description="how many different keys must have signed a package"
    )


class DeviceSettings(_Table):
    type: Annotated[str, Field(min_length=1, max_length=255)] | None = Field(
        default=None, description="what kind of device this is, for packages that are not for every kind"
    )


class InboxSettings(_Table):
    rescan_secs: int = Field(
        default=60, ge=1, le=3600, description="look again this often, whatever inotify says"
    )
    incomplete_secs: int = Field(
        default=30, ge=1, le=86400, description="tell of a file that stays short this long"
    )


class MediaSettings(_Table):
    roots: list[Annotated[str, AfterValidator(_absolute)]] = Field(
        default_factory=list, description="folders whose mounts are served besides run/caisson/media"
    )


class DockerSettings(_Table):
    timeout_secs: int = Field(
        default=60, ge=1, le=3600, description="longest wait for one answer of the engine"
    )
    load_stall_secs: int = Field(
        default=600, ge=1, le=86400, description="longest silence while an image is loaded"
    )
    stop_timeout_secs: int | None = Field(
        default=None, ge=0, le=3600, description="time a container gets to stop; unset: the container's own"
    )


class Settings(_Table):
    trust: TrustSettings = TrustSettings()
    device: DeviceSettings = DeviceSettings()
    inbox: InboxSettings = InboxSettings()
    media: MediaSettings = MediaSettings()
    docker: DockerSettings = DockerSettings()


def parse_settings(text: str, *, source: str) -> Settings:
    """The settings in this text.

    Raises:
        ConfigError: `settings.invalid`, with the file, the line and what was expected.
    """
    try:
        return Settings.model_validate(parse_toml(text))
    except ValidationError as exc:
        where, problem = first_problem(exc)
        line = line_of(text, where)
        place = f"{source}, line {line}" if line else source
        raise ConfigError(
            f"cannot use the settings {place}: {dotted(where)} {problem}", code="settings.invalid"
        ) from exc
    except ValueError as exc:
        raise ConfigError(f"cannot use the settings {source}: {exc}", code="settings.invalid") from exc
