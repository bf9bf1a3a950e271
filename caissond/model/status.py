"""What goes on right now, as `run/caisson/status.json` says it to the command line and to other programs."""

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from caissond.model.records import Outcome


class DaemonState(StrEnum):
    STARTING = "starting"
    IDLE = "idle"
    WORKING = "working"
    WAITING_FOR_DOCKER = "waiting_for_docker"
    RECOVERING = "recovering"
    STOPPING = "stopping"

    @property
    def words(self) -> str:
        return self.value.replace("_", " ")


class _Lenient(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class PhaseProgress(_Lenient):
    """How far a phase is; `total_bytes` is 0 while it is not known."""

    done_bytes: int = Field(ge=0)
    total_bytes: int = Field(ge=0)


class LastPackage(_Lenient):
    """How it ended for the package before."""

    package: str
    outcome: Outcome
    code: str = ""
    at: datetime


class StatusReport(_Lenient):
    """The file's content. A reader passes over what it does not know; a change of meaning changes `schema`."""

    schema_number: Literal[1] = Field(default=1, alias="schema")
    pid: int
    daemon_version: str
    state: DaemonState
    text: str = ""
    package: str = ""
    service: str = ""
    version: str = ""
    """Of the package that is handled."""
    phase: str = ""
    progress: PhaseProgress | None = None
    last: LastPackage | None = None
    updated_at: datetime
