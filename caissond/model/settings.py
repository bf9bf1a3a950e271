"""The settings `caissond.toml`. Everything has a default; an unknown key is an error that names it."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from caissond.errors import ConfigError
from caissond.model.toml import dotted, first_problem, line_of, parse_toml


def _absolute(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError("must be an absolute path")
    return path.rstrip("/") or "/"


def _led_name(name: str) -> str:
    if name in (".", "..") or "/" in name or not name.isprintable():
        raise ValueError("must be a name in /sys/class/leds")
    return name


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
    receipts: bool = Field(default=False, description="leave receipts on the medium that a package came on")


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


LedName = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_led_name)]


class LedSettings(_Table):
    """Names in `/sys/class/leds`, by what they show."""

    status: LedName | None = Field(default=None, description="the LED that shows everything by its rhythm")
    media: LedName | None = Field(
        default=None, description="one that shows only whether a stick is read or may be removed"
    )
    success: LedName | None = Field(default=None, description="one that shows only a success")
    fault: LedName | None = Field(
        default=None, description="one that shows only what went wrong or is missing"
    )

    @model_validator(mode="after")
    def _one_role_each(self) -> Self:
        names = [name for name in (self.status, self.media, self.success, self.fault) if name]
        if len(set(names)) < len(names):
            raise ValueError("names a LED twice")
        return self


class ConsoleSettings(_Table):
    tty: Annotated[str, AfterValidator(_absolute)] | None = Field(
        default=None, description="the terminal that gets a line for each event, such as /dev/tty1"
    )
    severity: Literal["error", "warning", "notice", "info"] = Field(
        default="notice", description="how bad an event has to be at least to be shown there"
    )


class HookSettings(_Table):
    timeout_secs: int = Field(
        default=30,
        ge=1,
        le=3600,
        description="longest run of a hook; before an update, of all of them together",
    )


class Settings(_Table):
    trust: TrustSettings = TrustSettings()
    device: DeviceSettings = DeviceSettings()
    inbox: InboxSettings = InboxSettings()
    media: MediaSettings = MediaSettings()
    docker: DockerSettings = DockerSettings()
    leds: LedSettings = LedSettings()
    console: ConsoleSettings = ConsoleSettings()
    hooks: HookSettings = HookSettings()


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
