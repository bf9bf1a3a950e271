"""How long a silence of the engine is announced to the watchdog before it begins."""

from typing import Any, cast

import pytest

from caissond.host.docker import Docker
from caissond.report.heartbeat import Heartbeat
from caissond.update.old_container import stop_container
from caissond.update.step_tools import Tools

WATCHDOG_S = 120


class SlowApi:
    """A client whose stop takes all of the grace time."""

    def __init__(self, now: list[float]) -> None:
        self._now = now

    def stop(self, _container: str, *, timeout: int) -> None:
        self._now[0] += timeout

    def close(self) -> None: ...


class JustDocker:
    """The part of the tools that a stop needs."""

    def __init__(self, docker: Docker) -> None:
        self.docker = docker
        self.stop_timeout_s = None


@pytest.mark.parametrize("grace_s", [10, 300, 3600])
def test_watchdog_is_fed_while_a_container_takes_its_time_to_stop(grace_s: int) -> None:
    now = [0.0]
    heartbeat, docker = Heartbeat(clock=lambda: now[0]), Docker(timeout_s=60, load_stall_s=60)
    docker.before_call = heartbeat.beat
    docker._client = cast(Any, SlowApi(now))
    container = {"Id": "x" * 64, "Config": {"StopTimeout": grace_s}}
    stop_container(cast(Tools, JustDocker(docker)), container)
    assert heartbeat.alive(now[0], WATCHDOG_S)
