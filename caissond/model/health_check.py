"""`[services.health_check]`: what the gate asks of a release, and for how long. All times in seconds.

The Rust tool `caisson` 0.1 knows the kinds `running` and `container_health`, and of the keys `kind`, `timeout_secs` and
`poll_interval_secs`. A key that the kind has no use for is a mistake, an unknown one a warning.
"""

import re
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from caissond.model.endpoint import CONTAINER, Endpoint, parse_address, parse_url
from caissond.model.table import Table, Text


class HealthKind(StrEnum):
    RUNNING = "running"
    CONTAINER_HEALTH = "container_health"
    HTTP = "http"
    TCP = "tcp"
    EXEC = "exec"
    COMPLETED = "completed"
    """It has something to do, and ends with exit code 0 when that is done."""


PROBED = (HealthKind.HTTP, HealthKind.TCP, HealthKind.EXEC)
"""The kinds of which caissond itself asks the service."""
_KINDS_OF = {
    **dict.fromkeys(("start_period_secs", "retries", "probe_timeout_secs"), PROBED),
    **dict.fromkeys(("url", "status", "body", "host", "verify"), (HealthKind.HTTP,)),
    "address": (HealthKind.TCP,),
    "command": (HealthKind.EXEC,),
}
_EXAMPLES = {
    HealthKind.HTTP: f'url = "http://{CONTAINER}:8080/health"',
    HealthKind.TCP: f'address = "{CONTAINER}:5432"',
    HealthKind.EXEC: 'command = ["pg_isready", "-q"]',
}
_HOST_NAME = re.compile(r"[A-Za-z0-9._-]{1,255}(:[0-9]{1,5})?")


def _url(text: str) -> str:
    parse_url(text)
    return text


def _address(text: str) -> str:
    parse_address(text)
    return text


def _several(value: Any) -> Any:
    return [value] if isinstance(value, int) else value


def _command(value: Any) -> Any:
    if not isinstance(value, list | tuple) or not value or not value[0]:
        raise ValueError('must be a list: ["program", "argument"]; no shell reads it')
    return value


def _host_name(text: str) -> str:
    if not _HOST_NAME.fullmatch(text):
        raise ValueError("must be a host name, with or without a port")
    return text


class HealthCheck(Table):
    """The gate."""

    kind: HealthKind = HealthKind.RUNNING
    timeout_secs: int = Field(default=30, ge=1, le=3600)
    poll_interval_secs: float = Field(default=1, gt=0, le=60)
    stable_secs: float = Field(default=10, ge=0, le=1800)
    baseline: bool = False
    """What failed before the update is not held against the new release."""

    start_period_secs: float = Field(default=0, ge=0, le=3600)
    """So long failures do not count towards `retries`, unless it was well already."""
    retries: int | None = Field(default=None, ge=1, le=1000)
    """So many failures in a row are a verdict; unset: only the deadline is."""
    probe_timeout_secs: float = Field(default=5, ge=0.1, le=60)

    url: Annotated[Text, AfterValidator(_url)] | None = None
    status: Annotated[
        tuple[Annotated[int, Field(ge=100, le=599)], ...], BeforeValidator(_several), Field(min_length=1)
    ] = ()
    """Empty: any from 200 to 299."""
    body: Annotated[Text, Field(max_length=1000)] | None = None
    """What has to stand in the first 64 KiB of the answer."""
    host: Annotated[Text, AfterValidator(_host_name)] | None = None
    """The name to ask for, in the Host header and in TLS; unset: what stands in `url`."""
    verify: bool = True
    """Whether the certificate has to be one that this device trusts, for this name."""
    address: Annotated[Text, AfterValidator(_address)] | None = None
    command: Annotated[tuple[str, ...], BeforeValidator(_command)] = ()

    @property
    def stable_s(self) -> float:
        """How long the new release has to stay up, or well: at most half of the deadline."""
        return min(self.stable_secs, self.timeout_secs / 2)

    @property
    def is_probed(self) -> bool:
        return self.kind in PROBED

    @property
    def endpoint(self) -> Endpoint | None:
        """Where it asks; None where it does not ask over the network."""
        if self.url is not None:
            return parse_url(self.url)
        return parse_address(self.address) if self.address is not None else None

    @property
    def words(self) -> str:
        """The check as people call it."""
        what = self.url or self.address or " ".join(self.command)
        return f"{self.kind.value} {what}".rstrip()

    @field_validator(*_KINDS_OF, mode="after")
    @classmethod
    def _has_a_use(cls, value: object, info: ValidationInfo) -> object:
        kind, kinds = info.data.get("kind"), _KINDS_OF[str(info.field_name)]
        if kind is not None and kind not in kinds:
            wanted = " or ".join(repr(str(one)) for one in kinds)
            raise ValueError(f"must not be there: it is for kind {wanted}, and kind is {str(kind)!r}")
        return value

    @model_validator(mode="after")
    def _is_whole(self) -> "HealthCheck":
        if self.is_probed and not (self.url or self.address or self.command):
            example = _EXAMPLES[self.kind]
            key = example.partition(" ")[0]
            raise ValueError(f"must have {key}: kind is {str(self.kind)!r}, such as {example}")
        if self.start_period_secs >= self.timeout_secs and self.start_period_secs > 0:
            raise ValueError(
                "start_period_secs must be less than timeout_secs, or nothing is ever asked in time"
            )
        if self.start_period_secs > 0 and self.retries is None:
            raise ValueError(
                "must have retries where start_period_secs is: without, only the deadline is a verdict"
            )
        self._check_tls()
        return self

    def _check_tls(self) -> None:
        is_tls = self.url is not None and self.url.lower().startswith("https:")
        if "verify" in self.model_fields_set and not is_tls:
            raise ValueError("verify must not be there: url does not begin with https:")
        if is_tls and self.verify and self.host is None and self.endpoint and self.endpoint.host == CONTAINER:
            raise ValueError(
                f"must have host, the name in the certificate, or verify = false: no certificate is for {CONTAINER}"
            )
