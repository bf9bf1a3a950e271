"""The power goes during the gate: Docker alone brings the old release back, and caissond settles the rest."""

from pathlib import Path

import docker
import pytest

from fixtures.engine import PrivateEngine
from tests.docker.daemon_process import caissond
from tests.docker.rig import Rig, rig_on


@pytest.mark.parametrize("policy", ["no", "always", "unless-stopped", "on-failure"])
def test_docker_alone_revives_the_old_release(
    own_engine: PrivateEngine, own_client: docker.DockerClient, tmp_path: Path, policy: str
) -> None:
    with rig_on(tmp_path, own_client, own_engine.host) as rig:
        old = rig.run_old(restart_policy={"Name": policy})
        kill_during_the_gate(rig)
        own_engine.power_cut()
        own_engine.start()
        rig.client.containers.get(str(old.id)).reload()
        assert (rig.container().id, rig.container().status, rig.release()) == (old.id, "running", "1.0.0")
        rig.write_catalog(kind="running", stable_secs=0.3)
        with caissond(rig.root, rig.host) as daemon:
            daemon.wait_until_handled()
            daemon.stop()
        assert (rig.release(), rig.containers()) == ("1.1.0", [rig.name])
        assert rig.container().attrs["HostConfig"]["RestartPolicy"]["Name"] == policy


def kill_during_the_gate(rig: Rig) -> None:
    """caissond, while it watches 1.1.0."""
    rig.write_catalog(kind="running", timeout_secs=120, stable_secs=60)
    rig.paths.inbox.mkdir(parents=True)
    rig.package("1.1.0").rename(rig.paths.inbox / "release.edgepkg")
    with caissond(rig.root, rig.host) as daemon:
        daemon.wait_until_logged("watching it")
        daemon.process.kill()
        daemon.wait_for_death()
