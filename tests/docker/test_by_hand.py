"""What people do by hand in the middle of an update, or between two: the service is never lost."""

import io
import tarfile

import docker.errors
import pytest

from caissond.model.records import Outcome
from fixtures.images import SICK, load_image
from tests.docker.rig import CRASHES, Rig, told_by


def test_old_container_pruned_during_the_gate_is_made_again(rig: Rig) -> None:
    old = rig.run_old(environment={"SITE": "north"}, restart_policy={"Name": "always"}, volumes=["/data"])
    old.exec_run(["sh", "-c", "echo precious > /data/file"])
    rig.when("update.checking", lambda: (rig.client.containers.prune(), rig.client.images.prune()))
    verdict = rig.update(rig.package("2.0.0", rig.image("2.0.0", healthcheck=SICK)))
    assert (verdict.outcome, rig.release(), rig.containers()) == (Outcome.ROLLED_BACK, "1.0.0", [rig.name])
    made_again = rig.container()
    assert made_again.id != old.id
    assert "SITE=north" in made_again.attrs["Config"]["Env"]
    assert made_again.attrs["HostConfig"]["RestartPolicy"]["Name"] == "always"
    assert told_by(made_again, "cat", "/data/file") == b"precious\n"


def test_images_pruned_during_the_load_do_not_matter(rig: Rig) -> None:
    rig.run_old()
    rig.when("update.stopping_old", lambda: rig.client.images.prune(filters={"dangling": True}))
    assert rig.update(rig.package("1.1.0")).outcome is Outcome.SUCCEEDED


def test_new_container_removed_by_hand_rolls_back(rig: Rig) -> None:
    rig.run_old()

    def remove_new() -> None:
        (new,) = (name for name in rig.containers() if "-caisson-new-" in name)
        rig.client.api.remove_container(new, force=True)

    rig.when("update.checking", remove_new)
    verdict = rig.update(rig.package("1.1.0"))
    assert (verdict.outcome, rig.release(), rig.containers()) == (Outcome.ROLLED_BACK, "1.0.0", [rig.name])


def test_service_that_died_after_its_commit_can_still_be_updated(rig: Rig) -> None:
    rig.run_old()
    rig.when("update.checking", lambda: None)
    device = rig.device()
    rig.update(rig.package("1.1.0"))
    rig.container().stop(timeout=1)
    rig.client.containers.create(rig.reference("1.0.0"), name=f"{rig.name}-caisson-old-{_newest_id(rig)}")
    rig.container().start()
    assert rig.update(rig.package("1.2.0")).outcome is Outcome.SUCCEEDED
    assert rig.containers() == [rig.name]
    device.database.close()


def _newest_id(rig: Rig) -> str:
    return str(rig.device().history.newest(limit=1)[0].update_id[:8])


def test_service_started_with_rm_is_refused_untouched(rig: Rig) -> None:
    old = rig.run_old(auto_remove=True)
    verdict = rig.update(rig.package("1.1.0"))
    assert (verdict.outcome, verdict.code) == (Outcome.REFUSED, "service.auto_remove")
    assert rig.container().id == old.id


def test_package_for_a_paused_service_waits_until_it_goes_on(rig: Rig) -> None:
    rig.run_old().pause()
    package = rig.package("1.1.0")
    verdict = rig.update(package)
    assert (verdict.outcome, verdict.code) == (Outcome.POSTPONED, "service.paused")
    assert rig.container().status == "paused"
    rig.container().unpause()
    assert rig.update(package).outcome is Outcome.SUCCEEDED


def test_service_whose_network_others_share_is_refused(rig: Rig) -> None:
    rig.run_old()
    rig.client.containers.run(
        rig.reference("1.0.0"), name=f"{rig.name}-sidecar", network_mode=f"container:{rig.name}", detach=True
    )
    assert rig.update(rig.package("1.1.0")).code == "service.has_dependants"


def test_container_of_another_caisson_is_refused(rig: Rig) -> None:
    image = rig.image("1.0.0")
    load_image(rig.client, image.path)
    labels = {"io.caisson.state": "/somewhere/else"}
    rig.client.containers.run(image.reference, name=rig.name, labels=labels, detach=True)
    assert rig.update(rig.package("1.1.0")).code == "service.claimed_elsewhere"


def test_tag_of_a_foreign_container_cannot_be_moved(rig: Rig) -> None:
    rig.run_old()
    image = rig.image("3.0.0", cmd=("sh", "-c", "sleep 1000"))
    load_image(rig.client, image.path)
    rig.client.containers.run(image.reference, name=f"{rig.name}-foreign", detach=True)
    verdict = rig.update(rig.package("3.0.0", rig.image("3.0.0")))
    assert (verdict.outcome, verdict.code) == (Outcome.REFUSED, "package.reference_taken")
    assert rig.client.images.get(image.reference).id == image.image_id
    rig.client.api.remove_container(f"{rig.name}-foreign", force=True)


def test_missing_container_is_refused(rig: Rig) -> None:
    assert rig.update(rig.package("1.1.0")).code == "service.missing"
    with pytest.raises(docker.errors.NotFound):
        rig.container()


def test_name_that_begins_somebody_elses_id_is_no_match(rig: Rig) -> None:
    stranger = rig.run_old()
    rig.paths.services.write_text(
        rig.paths.services.read_text().replace(f'"{rig.name}"', f'"{stranger.id[:6]}"')  # type: ignore[index]
    )
    package = rig.package("1.1.0", service=str(stranger.id)[:6])
    assert rig.update(package).code == "service.missing"
    assert rig.container().id == stranger.id


def test_old_release_that_is_not_well_itself_does_not_hold_up_the_next_one(rig: Rig) -> None:
    old = rig.run_old(
        healthcheck={"test": ["CMD", "test", "!", "-e", "/broken"], "interval": 10**9, "retries": 1}
    )
    rig.when("update.checking", lambda: _break(rig, str(old.id)))
    verdict = rig.update(rig.package("2.0.0", rig.image("2.0.0", cmd=CRASHES)))
    assert (verdict.outcome, verdict.unsettled) == (Outcome.ROLLBACK_FAILED, False)
    assert (rig.containers(), rig.container().status) == ([rig.name], "running")
    rig.container().exec_run(["rm", "/broken"])
    assert rig.update(rig.package("2.1.0")).outcome is Outcome.SUCCEEDED


def _break(rig: Rig, container: str) -> None:
    """Make the stopped old container unhealthy from its next start on."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("broken"))
    rig.client.api.put_archive(container, "/", archive.getvalue())
