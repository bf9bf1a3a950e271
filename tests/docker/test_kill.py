"""caissond is killed at every step boundary of a good and of a bad update: the service runs one whole release."""

import shutil
from pathlib import Path

import pytest

from caissond.model.records import Outcome
from tests.docker.daemon_process import caissond
from tests.docker.rig import CRASHES, PATIENT_S, Rig

STEPS = 7
GOOD_POINTS = 1 + 2 * STEPS
BAD_POINTS = 1 + 2 * (STEPS - 1) - 1 + 2 * (STEPS - 1)


def _kill_then_restart(rig: Rig, package: Path, point: int) -> None:
    rig.paths.inbox.mkdir(parents=True, exist_ok=True)
    shutil.copy(package, rig.paths.inbox / "release.edgepkg")
    with caissond(rig.root, rig.host, kill_at=point) as daemon:
        assert daemon.wait_for_death() == -9, daemon.log()
    with caissond(rig.root, rig.host) as daemon:
        daemon.wait_until_handled()
        assert daemon.stop() == 0


def _check_settled(rig: Rig) -> None:
    assert rig.containers() == [rig.name]
    container = rig.container()
    assert container.status == "running"
    assert container.attrs["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    device = rig.device()
    assert device.journal.unfinished() == ()
    assert device.history.verify() > 0
    assert not any("/ingest:" in tag for tag in rig.private_tags())
    assert not rig.paths.work.exists() or not list(rig.paths.work.iterdir())


@pytest.mark.parametrize("point", range(1, GOOD_POINTS + 1))
def test_killed_good_update_ends_in_one_whole_release(rig: Rig, point: int) -> None:
    rig.write_catalog(kind="running", stable_secs=0.3)
    rig.run_old(restart_policy={"Name": "unless-stopped"})
    _kill_then_restart(rig, rig.package("1.1.0"), point)
    _check_settled(rig)
    assert rig.release() == "1.1.0"
    assert Outcome.SUCCEEDED in {verdict.outcome for verdict in rig.device().history.newest()}


@pytest.mark.parametrize("point", range(1, BAD_POINTS + 1))
def test_killed_bad_update_ends_in_the_old_release(rig: Rig, point: int) -> None:
    rig.write_catalog(kind="running", stable_secs=PATIENT_S)
    old = rig.run_old(restart_policy={"Name": "unless-stopped"})
    _kill_then_restart(rig, rig.package("2.0.0", rig.image("2.0.0", cmd=CRASHES)), point)
    _check_settled(rig)
    assert (rig.release(), rig.container().id, rig.private_tags()) == ("1.0.0", old.id, [])
    assert "gate.exited" in {verdict.code for verdict in rig.device().history.newest()}
