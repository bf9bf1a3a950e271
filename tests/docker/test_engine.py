"""The harness itself: private engines keep out of each other's way and leave nothing behind."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal

import docker
import pytest
from docker.models.containers import Container

from fixtures.engine import PrivateEngine, private_engine, sweep_abandoned
from fixtures.images import HEALTHY, SICK, Healthcheck, ImageRecipe, provide_image
from fixtures.remains import Belongings
from tests.docker.inventory import take_stock

Policy = Literal["no", "always"]
_RECIPE = ImageRecipe(reference="harness/sleeper:1", version="1")
_ABANDONING = """
import time
from fixtures.engine import private_engine
with private_engine("abandoned") as engine:
    print(engine.directory, flush=True)
    time.sleep(600)
"""


def _start(client: docker.DockerClient, folder: Path, policy: Policy = "no") -> Container:
    image = provide_image(client, folder, _RECIPE)
    client.networks.create("harness")
    return client.containers.run(
        image.reference,
        detach=True,
        network="harness",
        name=policy,
        restart_policy={"Name": "always"} if policy == "always" else None,
    )


def _belongings(engine: PrivateEngine) -> Belongings:
    assert engine.belongings is not None
    return engine.belongings


def _await(condition: Callable[[], bool], deadline_s: float = 120) -> None:
    deadline = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_second_engine_does_not_disturb_the_first(
    own_engine: PrivateEngine, own_client: docker.DockerClient, tmp_path: Path
) -> None:
    first = _start(own_client, tmp_path)
    with private_engine("other") as other, closing(docker.DockerClient(base_url=other.host)) as other_client:
        _start(other_client, tmp_path)
    assert first.exec_run("ping -c 1 no").exit_code == 0
    assert Path("/sys/class/net", _belongings(own_engine).tag).exists()


def test_a_closed_engine_leaves_nothing_behind(tmp_path: Path) -> None:
    with private_engine("brief") as engine:
        belongings = _belongings(engine)
        with closing(docker.DockerClient(base_url=engine.host)) as client:
            _start(client, tmp_path)
        engine.kill()
        assert {line.split()[0] for line in take_stock(belongings)} == {
            "process",
            "mount",
            "link",
            "cgroup",
            "folder",
        }
    assert take_stock(belongings) == []


def test_containers_outlive_a_killed_dockerd(
    own_engine: PrivateEngine, own_client: docker.DockerClient, tmp_path: Path
) -> None:
    container = _start(own_client, tmp_path)
    container.reload()
    pid = container.attrs["State"]["Pid"]
    own_engine.kill()
    assert Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(("policy", "status"), [("no", "exited"), ("always", "running")])
def test_after_a_power_cut_only_a_restart_policy_brings_a_container_back(
    own_engine: PrivateEngine, own_client: docker.DockerClient, tmp_path: Path, policy: Policy, status: str
) -> None:
    container = _start(own_client, tmp_path, policy)
    own_engine.power_cut()
    own_engine.start()
    container.reload()
    assert container.status == status


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A short path for engines that nobody else who makes one sweeps away first."""
    with tempfile.TemporaryDirectory(prefix="csn-") as folder:
        yield Path(folder)


def test_an_engine_whose_owner_was_killed_is_swept_away(elsewhere: Path) -> None:
    command, environment = [sys.executable, "-c", _ABANDONING], {**os.environ, "TMPDIR": str(elsewhere)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        belongings = Belongings.load(Path(owner.stdout.readline().strip()))
        owner.send_signal(signal.SIGKILL)
    assert take_stock(belongings)
    sweep_abandoned(belongings.directory.parent)
    assert take_stock(belongings) == []


@pytest.mark.parametrize(("healthcheck", "verdict"), [(HEALTHY, "healthy"), (SICK, "unhealthy")])
def test_a_health_check_of_a_fixture_image_comes_to_its_verdict(
    docker_client: docker.DockerClient, tmp_path: Path, healthcheck: Healthcheck, verdict: str
) -> None:
    recipe = ImageRecipe(reference=f"harness/{verdict}:1", version="1", healthcheck=healthcheck)
    image = provide_image(docker_client, tmp_path, recipe)
    container = docker_client.containers.run(image.reference, detach=True)
    try:
        _await(lambda: docker_client.containers.get(str(container.id)).health == verdict)
    finally:
        container.remove(force=True)
        docker_client.images.remove(image.reference)
