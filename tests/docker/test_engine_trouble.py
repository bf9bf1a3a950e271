"""The engine is restarted, or slow, in the middle of an update."""

import time
from pathlib import Path

import docker

from caissond.model.records import Outcome
from fixtures.engine import PrivateEngine
from tests.docker.daemon_process import caissond
from tests.docker.rig import Rig, rig_on

SLOW_TO_STOP = ("sh", "-c", "trap 'sleep 6; exit 0' TERM; while :; do sleep 0.2; done")


def test_restart_of_docker_in_the_gate_does_not_quarantine(
    own_engine: PrivateEngine, own_client: docker.DockerClient, tmp_path: Path
) -> None:
    with rig_on(tmp_path, own_client, own_engine.host) as rig:
        rig.write_catalog(kind="running", timeout_secs=60, stable_secs=6)
        rig.run_old(restart_policy={"Name": "unless-stopped"})
        rig.paths.inbox.mkdir(parents=True)
        rig.package("1.1.0").rename(rig.paths.inbox / "release.edgepkg")
        with caissond(rig.root, rig.host) as daemon:
            daemon.wait_until_logged("watching it")
            own_engine.stop()
            own_engine.start()
            daemon.wait_until_handled()
            daemon.stop()
        assert (rig.release(), rig.containers()) == ("1.1.0", [rig.name])
        outcomes = [verdict.outcome for verdict in rig.device().history.newest()]
        assert outcomes == [Outcome.SUCCEEDED, Outcome.ROLLED_BACK]


def test_stop_that_was_under_way_at_a_kill_does_not_take_the_service_down(rig: Rig) -> None:
    rig.write_catalog(kind="running", stable_secs=0.5)
    rig.run_old(restart_policy={"Name": "always"}, command=list(SLOW_TO_STOP), stop_signal="SIGTERM")
    rig.paths.inbox.mkdir(parents=True)
    package = rig.package("1.1.0")
    package.rename(rig.paths.inbox / "release.edgepkg")
    with caissond(rig.root, rig.host) as daemon:
        daemon.wait_for("the stop", lambda: rig.running("sleep 6") == 1)
        daemon.process.kill()
        daemon.wait_for_death()
    (rig.paths.inbox / "release.edgepkg").unlink()
    (verdict,) = rig.settle()
    time.sleep(8)
    assert (verdict.outcome, rig.container().status, rig.release()) == (
        Outcome.ROLLED_BACK,
        "running",
        "1.0.0",
    )
