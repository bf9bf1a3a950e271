"""A state folder that lost its database, or has a damaged one: made anew from Docker's labels."""

from pathlib import Path

import pytest

from caissond.model.records import Outcome
from tests.docker.daemon_process import caissond
from tests.docker.rig import Rig


@pytest.fixture
def updated(rig: Rig) -> Rig:
    """A service that runs 1.1.0 by an update."""
    rig.write_catalog(kind="running", stable_secs=0.3)
    rig.run_old(restart_policy={"Name": "always"})
    assert rig.update(rig.package("1.1.0")).outcome is Outcome.SUCCEEDED
    return rig


def _drop(rig: Rig) -> None:
    path = rig.package("1.1.0")
    rig.paths.inbox.mkdir(exist_ok=True)
    path.rename(rig.paths.inbox / path.name)


def test_deleted_database_is_rebuilt_and_the_same_package_is_nothing_to_do(updated: Rig) -> None:
    before = updated.container().id
    for path in updated.paths.state_dir.glob("state.*"):
        path.unlink()
    _drop(updated)
    with caissond(updated.root, updated.host) as daemon:
        daemon.wait_until_handled()
        assert f"state made anew from Docker's labels: {updated.name} 1.1.0" in daemon.log()
    (verdict,) = updated.device().history.newest()
    assert (verdict.outcome, verdict.code) == (Outcome.NOTHING_TO_DO, "release.already_installed")
    assert (updated.container().id, updated.containers()) == (before, [updated.name])


def test_damaged_database_is_moved_aside_told_and_rebuilt(updated: Rig) -> None:
    damaged = b"nonsense" * 4096
    updated.paths.database.write_bytes(damaged)
    _drop(updated)
    with caissond(updated.root, updated.host) as daemon:
        daemon.wait_until_handled()
        assert f"{updated.paths.database} was damaged, moved to state.db.damaged-1" in daemon.log()
        assert daemon.stop() == 0
    assert updated.paths.database.with_name("state.db.damaged-1").read_bytes() == damaged
    assert [verdict.outcome for verdict in updated.device().history.newest()] == [Outcome.NOTHING_TO_DO]


def test_database_lost_in_the_middle_of_an_update_is_rebuilt_and_the_old_release_runs(rig: Rig) -> None:
    rig.write_catalog(kind="running", stable_secs=0.3)
    old = rig.run_old(restart_policy={"Name": "unless-stopped"})
    package = rig.package("1.1.0")
    rig.paths.inbox.mkdir(parents=True)
    package.rename(rig.paths.inbox / package.name)
    with caissond(rig.root, rig.host, kill_at=12) as daemon:
        assert daemon.wait_for_death() == -9
    _delete(rig.paths.state_dir)
    with caissond(rig.root, rig.host) as daemon:
        daemon.wait_until_logged("is ready")
        assert f"{rig.name} in the middle of an update to 1.1.0" in daemon.log()
        daemon.stop()
    policy = rig.container().attrs["HostConfig"]["RestartPolicy"]["Name"]
    assert (rig.container().id, rig.release(), policy) == (old.id, "1.0.0", "unless-stopped")
    assert rig.containers() == [rig.name]


def _delete(state: Path) -> None:
    """The state folder is lost, with the inbox."""
    for path in sorted(state.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
