"""`[services.policy]`: whether and when a service may be updated, and how many of its images are kept.

A table of our own, which the Rust tool `caisson` 0.1 passes over. An unknown key is a mistake here: with one that is
misspelt a service would be updated that must not be.
"""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from caissond.model.table import Table

MIN_KEPT_IMAGES = 2
"""The current one, and the one that a rollback brings back."""
LONGEST = timedelta(days=365)
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(?:[0-9]{1,7}[smhd])+")
_A_DAY = datetime(2026, 1, 1, tzinfo=UTC)


def _duration(value: Any) -> timedelta:
    if not isinstance(value, str) or not _DURATION.fullmatch(value):
        raise ValueError('must be a length of time such as "24h", "90m" or "1h30m"')
    parts = re.findall(r"([0-9]+)([smhd])", value)
    length = timedelta(seconds=sum(int(number) * _UNITS_S[unit] for number, unit in parts))
    if not timedelta(0) < length <= LONGEST:
        raise ValueError(f"must be more than nothing and at most {LONGEST.days}d")
    return length


def _start(text: str) -> str:
    try:
        if len(text.split()) != 5:
            raise ValueError("not five fields")
        next(CronSim(text, _A_DAY))
    except (CronSimError, ValueError, StopIteration) as exc:
        raise ValueError(
            'must be minute, hour, day, month and weekday as in crontab(5), such as "0 2 * * SUN"'
        ) from exc
    return text


def _zone_name(text: str) -> str:
    find_zone(text)
    return text


def _absolute(path: str) -> str:
    if not path.startswith("/") or "\0" in path:
        raise ValueError("must be an absolute path")
    return path


def find_zone(name: str) -> tzinfo:
    """The time zone of this name. UTC needs no database of time zones on the device.

    Raises:
        ValueError: there is none.
    """
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise ValueError('must be a time zone that this device knows, such as "Europe/Berlin"') from exc


Duration = Annotated[timedelta, BeforeValidator(_duration)]


class _Table(Table):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Window(_Table):
    """A time in which an update may begin."""

    start: Annotated[str, AfterValidator(_start)]
    """When it opens: crontab(5)."""
    duration: Duration
    timezone: Annotated[str, AfterValidator(_zone_name)] = "UTC"


class Policy(_Table):
    """What `[services.policy]` says of one service."""

    mode: Literal["apply", "monitor"] = "apply"
    pinned: bool = Field(default=False, strict=True)
    windows: tuple[Window, ...] = ()
    """Updates begin in one of these only; empty: at any time."""
    soak: Duration | None = None
    """How long a release has to be known before it is applied."""
    hold_file: Annotated[str, AfterValidator(_absolute)] | None = None
    """While it is there, no update of this service begins."""
    keep_images: int = Field(default=MIN_KEPT_IMAGES, strict=True, ge=MIN_KEPT_IMAGES, le=100)
    stop_timeout_secs: int | None = Field(default=None, strict=True, ge=0, le=3600)
