"""Which containers Docker brings back by itself after which end of it, found by experiment: docs/restart-policies.md.

python -m tests.bench.restart_policies          prints its tables, on this machine's Docker and on Docker 26
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker

from fixtures.engine import PrivateEngine, Version, private_engine
from fixtures.images import FOREVER, ImageRecipe, provide_image

Api = Any
"""docker-py's client of the raw API."""
POLICIES: dict[str, dict[str, object]] = {
    "no": {"Name": "no"},
    "always": {"Name": "always"},
    "unless-stopped": {"Name": "unless-stopped"},
    "on-failure": {"Name": "on-failure"},
    "on-failure:3": {"Name": "on-failure", "MaximumRetryCount": 3},
}
REVIVE = {"Name": "always"}
ENDS_WELL = ("sh", "-c", "trap 'exit 0' TERM; sleep 2147483647 & wait")
SETTLES_S = 4


def _runs(api: Api, container: str, _policy: dict[str, object]) -> None:
    api.start(container)


def _stopped(api: Api, container: str, policy: dict[str, object]) -> None:
    _runs(api, container, policy)
    api.stop(container)


def _stopped_then_always(api: Api, container: str, policy: dict[str, object]) -> None:
    _stopped(api, container, policy)
    api.update_container(container, restart_policy=REVIVE)


def _always_then_stopped(api: Api, container: str, policy: dict[str, object]) -> None:
    _runs(api, container, policy)
    api.update_container(container, restart_policy=REVIVE)
    api.stop(container)


def _came_back(api: Api, container: str, policy: dict[str, object]) -> None:
    """What the way back does to the old release."""
    _always_then_stopped(api, container, policy)
    api.start(container)
    api.update_container(container, restart_policy=policy)


def _took_over(api: Api, container: str, policy: dict[str, object]) -> None:
    """What the commit does to the new one."""
    api.update_container(container, restart_policy={"Name": "no"})
    api.start(container)
    api.update_container(container, restart_policy=policy)


HISTORIES: dict[str, Callable[[Api, str, dict[str, object]], None]] = {
    "runs": _runs,
    "stopped": _stopped,
    "stopped, then `always`": _stopped_then_always,
    "`always`, then stopped": _always_then_stopped,
    "the same, started, its own": _came_back,
    "`no`, started, its own": _took_over,
    "never started": lambda _api, _container, _policy: None,
}
ENDS: dict[str, Callable[[PrivateEngine], None]] = {
    "the power is cut": PrivateEngine.power_cut,
    "dockerd is killed alone": PrivateEngine.kill,
    "dockerd ends in order": PrivateEngine.stop,
}


@dataclass(frozen=True, slots=True)
class Trial:
    """One engine, one end of it."""

    version: Version
    end: str
    live_restore: bool = False

    def title(self, engine: str) -> str:
        return f"Docker {engine}{', live-restore' if self.live_restore else ''}: {self.end}"


def outcome(trial: Trial) -> tuple[str, dict[tuple[str, str, str], bool]]:
    """The engine's version, and by policy, history and exit code whether the container runs once Docker is back."""
    with _engine(trial) as (engine, client):
        version = str(client.version()["Version"])
        made = dict(_make_all(client.api))
        ENDS[trial.end](engine)
        engine.start()
        time.sleep(SETTLES_S)
        return version, {
            key: bool(client.api.inspect_container(id)["State"]["Running"]) for key, id in made.items()
        }


@contextmanager
def _engine(trial: Trial) -> Iterator[tuple[PrivateEngine, docker.DockerClient]]:
    flags = ["--live-restore"] if trial.live_restore else []
    with (
        private_engine("policy", version=trial.version, flags=flags) as engine,
        closing(docker.DockerClient(base_url=engine.host)) as client,
        tempfile.TemporaryDirectory() as folder,
    ):
        for reference, command in (("ends:143", FOREVER), ("ends:0", ENDS_WELL)):
            provide_image(client, Path(folder), ImageRecipe(reference=reference, version="1", cmd=command))
        yield engine, client


def _make_all(api: Api) -> Iterator[tuple[tuple[str, str, str], str]]:
    for name, policy in POLICIES.items():
        for history, prepare in HISTORIES.items():
            for image in ("ends:143", "ends:0"):
                config = api.create_host_config(restart_policy=policy)
                container = str(api.create_container(image, host_config=config)["Id"])
                prepare(api, container, policy)
                yield (name, history, image), container


def _cell(found: dict[tuple[str, str, str], bool], policy: str, history: str) -> str:
    after_143, after_0 = (found[policy, history, image] for image in ("ends:143", "ends:0"))
    if after_143 is after_0:
        return "up" if after_0 else "–"
    return "up after 143, not after 0" if after_143 else "up after 0, not after 143"


def _print(trial: Trial) -> None:
    version, found = outcome(trial)
    print(f"\n### {trial.title(version)}\n")
    print(f"| policy | {' | '.join(HISTORIES)} |\n|{'---|' * (len(HISTORIES) + 1)}")
    for policy in POLICIES:
        print(
            f"| {policy} | {' | '.join(_cell(found, policy, history) for history in HISTORIES)} |", flush=True
        )


def measure() -> None:
    """Print the tables."""
    for version in Version:
        for end in ENDS:
            _print(Trial(version, end))
        for end in ("the power is cut", "dockerd is killed alone"):
            _print(Trial(version, end, live_restore=True))
