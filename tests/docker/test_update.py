"""A package updates a service, is refused, or is rolled back: on a real engine, judged by what runs afterwards."""

import pytest

from caissond.model.records import Outcome
from fixtures.images import SICK
from fixtures.shapes import Shape
from tests.docker.inventory import take_inventory
from tests.docker.rig import CRASHES, CRASHES_LATER, PATIENT_S, Rig, told_by, told_by_run


def test_good_release_replaces_the_old_one(rig: Rig) -> None:
    rig.run_old(restart_policy={"Name": "unless-stopped"}, environment={"SITE": "north"})
    verdict = rig.update(rig.package("1.1.0"))
    assert verdict.outcome is Outcome.SUCCEEDED
    assert (rig.release(), rig.containers()) == ("1.1.0", [rig.name])
    attributes = rig.container().attrs
    assert attributes["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    assert {"SITE=north", "RELEASE=1.1.0"} <= set(attributes["Config"]["Env"])
    assert "RELEASE=1.0.0" not in attributes["Config"]["Env"]


def test_the_tag_moves_only_at_the_commit_and_the_old_image_is_kept(rig: Rig) -> None:
    old = rig.run_old()
    rig.update(rig.package("1.1.0"))
    assert rig.client.images.get(rig.reference("1.1.0")).id == rig.container().image.id  # type: ignore[union-attr]
    (kept,) = rig.private_tags()
    assert "/keep:" in kept
    assert rig.client.images.get(kept).id == old.attrs["Image"]


def test_only_one_previous_release_is_kept(rig: Rig) -> None:
    rig.run_old()
    for version in ("1.1.0", "1.2.0", "1.3.0"):
        assert rig.update(rig.package(version)).outcome is Outcome.SUCCEEDED
    (kept,) = rig.private_tags()
    assert rig.reference("1.2.0") in rig.client.images.get(kept).tags
    assert not rig.client.images.list(rig.reference("1.1.0"))


def test_unhealthy_release_rolls_back(rig: Rig) -> None:
    old = rig.run_old(restart_policy={"Name": "on-failure", "MaximumRetryCount": 4})
    verdict = rig.update(rig.package("2.0.0", rig.image("2.0.0", healthcheck=SICK)))
    assert (verdict.outcome, verdict.code) == (Outcome.ROLLED_BACK, "gate.unhealthy")
    assert rig.container().id == old.id
    assert (rig.release(), rig.containers(), rig.private_tags()) == ("1.0.0", [rig.name], [])
    policy = rig.container().attrs["HostConfig"]["RestartPolicy"]
    assert policy == {"Name": "on-failure", "MaximumRetryCount": 4}
    assert not rig.client.images.list(rig.reference("2.0.0"))


@pytest.mark.parametrize("command", [CRASHES, CRASHES_LATER], ids=["at once", "a little later"])
def test_release_that_exits_rolls_back(rig: Rig, command: tuple[str, ...]) -> None:
    rig.write_catalog(kind="running", stable_secs=PATIENT_S)
    rig.run_old(restart_policy={"Name": "always"})
    verdict = rig.update(rig.package("2.0.0", rig.image("2.0.0", cmd=command)))
    assert (verdict.outcome, verdict.code) == (Outcome.ROLLED_BACK, "gate.exited")
    assert (rig.release(), rig.containers()) == ("1.0.0", [rig.name])


def test_release_that_cannot_start_rolls_back_and_is_not_quarantined(rig: Rig) -> None:
    rig.run_old()
    broken = rig.image("2.0.0", cmd=("/no/such/program",))
    for _attempt in range(3):
        verdict = rig.update(rig.package("2.0.0", broken))
        assert (verdict.outcome, rig.release()) == (Outcome.ROLLED_BACK, "1.0.0")
    verdict = rig.update(rig.package("2.0.0", broken))
    assert (verdict.outcome, verdict.code) == (Outcome.REFUSED, "release.too_many_attempts")


def test_release_that_cannot_be_created_leaves_the_service_untouched(rig: Rig) -> None:
    old = rig.run_old()
    old.reload()
    started_at = old.attrs["State"]["StartedAt"]
    verdict = rig.update(rig.package("2.0.0", rig.image("2.0.0", cmd=())))
    assert verdict.outcome is Outcome.FAILED
    assert (rig.container().id, rig.container().attrs["State"]["StartedAt"]) == (old.id, started_at)
    assert (rig.containers(), rig.private_tags()) == ([rig.name], [])


def test_failed_release_is_quarantined(rig: Rig) -> None:
    rig.run_old()
    package = rig.package("2.0.0", rig.image("2.0.0", healthcheck=SICK))
    rig.update(package)
    verdict = rig.update(package)
    assert (verdict.outcome, verdict.code) == (Outcome.REFUSED, "release.quarantined")


def test_same_package_twice_is_nothing_to_do(rig: Rig) -> None:
    rig.run_old()
    package = rig.package("1.1.0")
    rig.update(package)
    new = rig.container()
    assert rig.update(package).outcome is Outcome.NOTHING_TO_DO
    assert rig.container().id == new.id


def test_release_is_put_back_when_somebody_replaced_the_container(rig: Rig) -> None:
    rig.run_old()
    package = rig.package("1.1.0")
    rig.update(package)
    rig.container().remove(force=True)
    rig.run_old()
    assert rig.update(package).outcome is Outcome.SUCCEEDED
    assert rig.release() == "1.1.0"


def test_older_release_is_refused_unless_the_operator_says_so(rig: Rig) -> None:
    rig.run_old()
    rig.update(rig.package("1.5.0"))
    older = rig.package("1.1.0")
    verdict = rig.update(older)
    assert (verdict.outcome, verdict.code) == (Outcome.REFUSED, "package.downgrade")
    assert rig.update(older, allow_downgrade=True).outcome is Outcome.SUCCEEDED
    assert rig.release() == "1.1.0"


def test_same_version_with_other_content_is_refused(rig: Rig) -> None:
    rig.run_old()
    rig.update(rig.package("1.1.0"))
    other = rig.package("1.1.0", rig.image("1.1.0", User="65534"))
    assert rig.update(other).code == "package.version_reused"


def test_stopped_service_gets_its_release_and_stays_stopped(rig: Rig) -> None:
    rig.run_old(restart_policy={"Name": "always"}).stop(timeout=1)
    verdict = rig.update(rig.package("1.1.0"))
    assert (verdict.outcome, verdict.parts[0].ungated) == (Outcome.SUCCEEDED, True)
    container = rig.container()
    assert (container.status, container.attrs["State"]["StartedAt"]) == ("created", "0001-01-01T00:00:00Z")
    assert container.attrs["HostConfig"]["RestartPolicy"]["Name"] == "always"
    assert rig.containers() == [rig.name]


@pytest.mark.parametrize("shape", Shape)
def test_every_shape_of_image_archive_is_applied(rig: Rig, shape: Shape) -> None:
    rig.run_old()
    assert rig.update(rig.package("1.1.0", rig.image("1.1.0", shape=shape))).outcome is Outcome.SUCCEEDED
    assert rig.release() == "1.1.0"


def test_anonymous_volume_keeps_its_data(rig: Rig) -> None:
    rig.run_old(volumes=["/data"]).exec_run(["sh", "-c", "echo precious > /data/file"])
    rig.update(rig.package("1.1.0"))
    rig.update(rig.package("1.2.0"))
    assert told_by(rig.container(), "cat", "/data/file") == b"precious\n"


def test_volumes_made_for_a_failed_release_are_removed(rig: Rig) -> None:
    rig.run_old()
    before = take_inventory(rig.client).volumes
    sick = rig.image("2.0.0", healthcheck=SICK, Volumes={"/cache": {}})
    assert rig.update(rig.package("2.0.0", sick)).outcome is Outcome.ROLLED_BACK
    assert take_inventory(rig.client).volumes == before


def test_service_is_found_by_its_name_on_its_network(rig: Rig) -> None:
    network = rig.client.networks.create(rig.name)
    try:
        rig.run_old(network=rig.name)
        rig.update(rig.package("1.1.0"))
        ask = ["sh", "-c", f"ping -c 1 -w 20 {rig.name}"]
        told = told_by_run(rig.client, rig.reference("1.1.0"), ask, network=rig.name)
        assert b"1 packets received" in told
    finally:
        rig.container().remove(force=True)
        network.remove()


def test_receipt_and_history_tell_what_happened(rig: Rig) -> None:
    rig.run_old()
    verdict = rig.update(rig.package("1.1.0"))
    texts = [path.read_text() for path in rig.paths.receipts.glob("*.txt")]
    assert any(text.startswith(f"UPDATED: {rig.name} now runs version 1.1.0") for text in texts)
    device = rig.device()
    kinds = [event.kind.value for event in device.history.events(verdict.update_id)]
    assert kinds == [
        "validation_started", "validation_accepted", "update_started", "image_import_started",
        "image_import_succeeded", "health_check_started", "health_check_passed", "update_committed",
    ]  # fmt: skip
    assert device.history.verify() == len(kinds)


def test_nothing_is_left_in_the_work_folder(rig: Rig) -> None:
    rig.run_old()
    rig.update(rig.package("1.1.0"))
    rig.update(rig.package("2.0.0", rig.image("2.0.0", healthcheck=SICK)))
    assert [path for path in rig.paths.work.rglob("*") if path.is_file()] == []
