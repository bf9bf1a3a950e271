"""The engine that the tests share, and the check that they left nothing on it."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import docker
import pytest

from fixtures.engine import Engine, PrivateEngine, Version, engine_for_tests, private_engine
from tests.docker.inventory import take_inventory
from tests.docker.rig import Rig, rig_on


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The file that takes longest begins first, or one process works at the end while the others wait."""
    items.sort(key=lambda item: item.path.name != "test_matrix.py")


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """As root an engine of our own, else the running one; fails the run when the tests left something on it."""
    with engine_for_tests() as engine, closing(docker.DockerClient(base_url=engine.host)) as client:
        before = take_inventory(client)
        yield engine
        left = take_inventory(client).since(before)
    assert not left, f"the tests left behind: {', '.join(left)}"


@pytest.fixture(scope="session")
def docker_client(engine: Engine) -> Iterator[docker.DockerClient]:
    """A client of the shared engine."""
    with closing(docker.DockerClient(base_url=engine.host)) as client:
        yield client


@pytest.fixture(scope="session")
def docker26() -> Iterator[PrivateEngine]:
    """An engine of Debian 13's Docker beside the shared one. Needs root."""
    if os.geteuid() != 0:
        pytest.skip("only root can start a Docker engine")
    with private_engine("d26", version=Version.DOCKER26) as engine:
        yield engine


@pytest.fixture
def own_engine() -> Iterator[PrivateEngine]:
    """An engine for this test alone, to be killed and restarted at will. Needs root."""
    if os.geteuid() != 0:
        pytest.skip("only root can start a Docker engine")
    with private_engine("own") as engine:
        yield engine


@pytest.fixture
def own_client(own_engine: PrivateEngine) -> Iterator[docker.DockerClient]:
    """A client of the test's own engine; it goes on working when the engine was restarted."""
    with closing(docker.DockerClient(base_url=own_engine.host)) as client:
        yield client


@pytest.fixture
def rig(engine: Engine, docker_client: docker.DockerClient, tmp_path: Path) -> Iterator[Rig]:
    """A managed service on the shared engine."""
    with rig_on(tmp_path, docker_client, engine.host) as rig:
        yield rig
