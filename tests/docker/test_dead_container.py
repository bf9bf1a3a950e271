"""Docker cannot remove the old container that somebody prunes in the middle of an update: it is dead from then on, and
can neither be started nor changed. A file that nobody may delete does that.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import docker
import docker.errors
import pytest
from docker.models.containers import Container

from caissond.model.records import Outcome
from fixtures.engine import PrivateEngine
from tests.docker.rig import CRASHES, Rig, rig_on


@contextmanager
def undeletable(container: Container) -> Iterator[Path]:
    """A file that the container has written cannot be deleted."""
    container.exec_run(["touch", "/held"])
    container.reload()
    file = Path(container.attrs["GraphDriver"]["Data"]["UpperDir"], "held")
    subprocess.run(["chattr", "+i", file], check=True)
    try:
        yield file
    finally:
        if file.exists():
            subprocess.run(["chattr", "-i", file], check=True)


def remove_in_vain(container: Container) -> None:
    with suppress(docker.errors.APIError):
        container.remove()
    container.reload()
    assert container.attrs["State"]["Dead"]


@pytest.mark.parametrize(
    ("command", "outcome", "release"),
    [(("sleep", "100000"), Outcome.SUCCEEDED, "1.1.0"), (CRASHES, Outcome.ROLLED_BACK, "1.0.0")],
    ids=["good", "sick"],
)
def test_service_lives_on_though_its_old_container_is_dead(
    own_engine: PrivateEngine, own_client: docker.DockerClient, tmp_path: Path,
    command: tuple[str, ...], outcome: Outcome, release: str,
) -> None:  # fmt: skip
    with rig_on(tmp_path, own_client, own_engine.host) as rig:
        rig.write_catalog(kind="running", stable_secs=2)
        old = rig.run_old(restart_policy={"Name": "unless-stopped"})
        package = rig.package("1.1.0", rig.image("1.1.0", cmd=command, healthcheck=None))
        with undeletable(old):
            rig.when("update.checking", lambda: remove_in_vain(old))
            assert rig.update(package).outcome is outcome
            assert _runs(rig) == (release, "unless-stopped")
            own_engine.power_cut()
            own_engine.start()
            rig.settle()
            assert _runs(rig) == (release, "unless-stopped")
        rig.settle()
        assert rig.containers() == [rig.name]


def _runs(rig: Rig) -> tuple[str, str]:
    container = rig.container()
    return rig.release(), container.attrs["HostConfig"]["RestartPolicy"]["Name"]
