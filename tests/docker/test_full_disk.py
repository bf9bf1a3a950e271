"""The disk of Docker is full: refused before anything is begun where that can be foreseen, else the old one stays."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import docker
import pytest

from caissond.model.records import Outcome
from fixtures.engine import PrivateEngine, private_engine
from tests.docker.inventory import take_inventory
from tests.docker.rig import CRASHES, PATIENT_S, Rig, rig_on
from tests.docker.test_misbehaving import large_package

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a Docker engine")


@contextmanager
def small_data_root(size_mb: int) -> Iterator[PrivateEngine]:
    """An engine whose data root is a disk of this size."""
    with private_engine("small") as engine:
        engine.stop()
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "small", engine.data_root], check=True
        )
        engine.start()
        yield engine


@pytest.fixture
def small_rig(tmp_path: Path) -> Iterator[Rig]:
    with (
        small_data_root(128) as engine,
        closing(docker.DockerClient(base_url=engine.host)) as client,
        rig_on(tmp_path, client, engine.host) as rig,
    ):
        rig.write_catalog(kind="running", stable_secs=0.3)
        rig.run_old(restart_policy={"Name": "always"})
        yield rig


def data_root(rig: Rig) -> Path:
    return Path(rig.client.info()["DockerRootDir"])


def test_image_that_has_no_room_in_docker_waits_before_anything_is_begun(small_rig: Rig) -> None:
    old = small_rig.container().id
    verdict = small_rig.update(large_package(small_rig, 80))
    assert (verdict.outcome, verdict.code) == (Outcome.POSTPONED, "host.disk_full")
    assert (small_rig.container().id, small_rig.release()) == (old, "1.0.0")
    assert "update.started" not in small_rig.codes()


def test_disk_of_docker_that_becomes_full_in_the_load_costs_nothing(small_rig: Rig) -> None:
    before = take_inventory(small_rig.client)
    package = large_package(small_rig, 30)
    ballast = data_root(small_rig) / "ballast"
    small_rig.when("update.loading", lambda: _fill(ballast, leave_mb=20))
    verdict = small_rig.update(package)
    assert (verdict.outcome, small_rig.release()) == (Outcome.FAILED, "1.0.0")
    assert take_inventory(small_rig.client) == before
    ballast.unlink()
    assert small_rig.update(package).outcome is Outcome.SUCCEEDED
    assert (small_rig.release(), small_rig.containers()) == ("1.1.0", [small_rig.name])


def _fill(ballast: Path, *, leave_mb: int) -> None:
    disk = os.statvfs(ballast.parent)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, disk.f_bavail * disk.f_frsize - (leave_mb << 20))


@pytest.mark.parametrize("good", [True, False], ids=["good", "bad"])
def test_disk_of_docker_that_is_full_from_the_stop_on_does_not_cost_the_service(
    small_rig: Rig, good: bool
) -> None:
    """Docker writes its own records of containers there."""
    small_rig.write_catalog(kind="running", stable_secs=0.3 if good else PATIENT_S)
    package = small_rig.package("1.1.0", small_rig.image("1.1.0", cmd=CRASHES) if not good else None)
    ballast = data_root(small_rig) / "ballast"
    small_rig.when("update.stopping_old", lambda: _fill(ballast, leave_mb=0))
    small_rig.update(package)
    ballast.unlink()
    small_rig.settle()
    assert (small_rig.release() in ("1.0.0", "1.1.0"), small_rig.containers()) == (True, [small_rig.name])
    assert small_rig.container().attrs["HostConfig"]["RestartPolicy"]["Name"] == "always"
