"""A Compose service on a real engine, with both real commands: updated as one, and left so by the next `compose up`."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from caissond.model.records import Outcome
from caissond.update.going_back import go_back
from fixtures.compose import ComposeKind, compose_kinds
from fixtures.engine import Engine
from fixtures.images import Healthcheck
from tests.docker.compose_rig import ComposeRig, compose_rig_on
from tests.docker.daemon_process import caissond
from tests.docker.rig import CRASHES, CRASHES_LATER, PATIENT_S

DONE, FAILS = ("sh", "-c", "exit 0"), ("sh", "-c", "exit 3")


@pytest.fixture(params=compose_kinds())
def project(
    request: pytest.FixtureRequest, engine: Engine, docker_client: docker.DockerClient, tmp_path: Path
) -> Iterator[ComposeRig]:
    with compose_rig_on(tmp_path, docker_client, engine.host, request.param) as rig:
        yield rig


@pytest.fixture
def project2(engine: Engine, docker_client: docker.DockerClient, tmp_path: Path) -> Iterator[ComposeRig]:
    """Where the command makes no difference."""
    with compose_rig_on(tmp_path, docker_client, engine.host, ComposeKind.V2) as rig:
        yield rig


def test_new_release_is_what_compose_finds_and_leaves_alone(project: ComposeRig) -> None:
    """Compose 2 changes nothing at all; version 1 makes the container once more, of the same image."""
    project.make()
    asked_for, others = project.config(), project.ids("db")
    verdict = project.update(project.package("2.0.0"))
    assert (verdict.outcome, project.releases()) == (Outcome.SUCCEEDED, ["2.0.0"])
    assert (project.config(), project.ids("db")) == (asked_for, others)
    updated = project.ids("web")
    project.up()
    assert (project.releases(), project.ids("db")) == (["2.0.0"], others)
    if project.kind is ComposeKind.V2:
        assert project.ids("web") == updated
    project.up("--force-recreate")
    assert project.releases() == ["2.0.0"]
    assert project.update(project.package("2.0.0")).outcome is Outcome.NOTHING_TO_DO


def test_bad_release_is_not_brought_back_by_the_next_up(project: ComposeRig) -> None:
    project.write_compose_catalog(stable_secs=PATIENT_S)
    project.make()
    before = project.ids("web")
    verdict = project.update(project.package("2.0.0", project.image("2.0.0", cmd=CRASHES)))
    assert (verdict.outcome, verdict.code) == (Outcome.ROLLED_BACK, "gate.exited")
    assert (project.ids("web"), project.releases()) == (before, ["1.0.0"])
    project.up()
    assert project.ids("web") == before
    project.up("--force-recreate")
    assert project.releases() == ["1.0.0"]


def test_scaled_service_is_updated_as_one(project: ComposeRig) -> None:
    project.make(scale=3)
    verdict = project.update(project.package("2.0.0"))
    assert (verdict.outcome, project.releases()) == (Outcome.SUCCEEDED, ["2.0.0"] * 3)
    project.up("--scale", "web=3")
    assert project.releases() == ["2.0.0"] * 3
    project.up("--scale", "web=4")
    assert project.releases() == ["2.0.0"] * 4


def test_exit_of_one_container_takes_all_back(project2: ComposeRig) -> None:
    """`compose ps` hides what has exited; the gate does not."""
    project2.write_compose_catalog(stable_secs=PATIENT_S)
    project2.make(scale=2)
    before = project2.ids("web")
    only_one = ("sh", "-c", "sleep 0.3; if mkdir /data/first; then exit 3; fi; sleep 1000")
    verdict = project2.update(project2.package("2.0.0", project2.image("2.0.0", cmd=only_one)))
    assert (verdict.outcome, verdict.code) == (Outcome.ROLLED_BACK, "gate.exited")
    assert (project2.ids("web"), project2.releases()) == (before, ["1.0.0"] * 2)


def test_rollback_by_hand_and_back_again_moves_the_name_of_the_file(project2: ComposeRig) -> None:
    project2.make()
    project2.update(project2.package("2.0.0"))
    assert go_back(project2.device(), project2.name).outcome is Outcome.SUCCEEDED
    assert project2.releases() == ["1.0.0"]
    project2.up("--force-recreate")
    assert project2.releases() == ["1.0.0"]
    assert project2.update(project2.package("2.1.0")).outcome is Outcome.SUCCEEDED
    project2.up("--force-recreate")
    assert project2.releases() == ["2.1.0"]


def test_nothing_is_ever_pulled(project2: ComposeRig) -> None:
    """The file says to pull always, from where nobody answers."""
    project2.make()
    text = project2.file.read_text().replace("image: ", "pull_policy: always\n    image: ")
    project2.file.write_text(text)
    assert project2.update(project2.package("2.0.0")).outcome is Outcome.SUCCEEDED
    assert project2.releases() == ["2.0.0"]


def test_image_name_may_come_from_the_environment_file(project: ComposeRig) -> None:
    project.file.with_name(".env").write_text(f"IMAGE={project.image_name}\n")
    project.file.write_text(project.file.read_text().replace(project.image_name, "${IMAGE}"))
    project.make()
    assert project.update(project.package("2.0.0")).outcome is Outcome.SUCCEEDED
    project.up("--force-recreate")
    assert project.releases() == ["2.0.0"]


def test_file_that_does_not_resolve_refuses_the_update(project: ComposeRig) -> None:
    project.make()
    before, text = project.ids("web"), project.file.read_text()
    project.file.write_text(text.replace("restart: unless-stopped", "no_such_key: [1"))
    verdict = project.update(project.package("2.0.0"))
    project.file.write_text(text)
    assert (verdict.outcome, verdict.code) == (Outcome.REFUSED, "compose.invalid")
    assert (project.ids("web"), project.private_tags()) == (before, [])


def test_service_in_another_one_s_network_is_made_again_with_it(project: ComposeRig) -> None:
    """`network_mode: service:web`."""
    text = project.file.read_text().replace(
        "restart: always", "restart: always\n    network_mode: service:web"
    )
    project.file.write_text(text)
    project.make()
    refused = project.update(project.package("2.0.0"))
    assert (refused.outcome, refused.code) == (Outcome.REFUSED, "service.has_dependants")
    project.write_compose_catalog(more='dependants = ["db"]')
    assert project.update(project.package("2.0.0")).outcome is Outcome.SUCCEEDED
    assert project.of("db")[0]["HostConfig"]["NetworkMode"] == f"container:{project.ids('web')[0]}"
    assert (project.releases(), project.of("db")[0]["State"]["Running"]) == (["2.0.0"], True)
    if project.kind is ComposeKind.V2:  # version 1 makes web anew, and leaves db behind (docs/compose.md)
        web = project.ids("web")
        project.up()
        assert project.ids("web") == web
        assert project.of("db")[0]["HostConfig"]["NetworkMode"] == f"container:{web[0]}"


def once(project: ComposeRig) -> None:
    """`web` has something to do and ends."""
    text = project.file.read_text().replace(
        "restart: unless-stopped", 'restart: "no"\n    command: [sh, -c, exit 0]'
    )
    project.file.write_text(text)
    project.write_compose_catalog(kind="completed")
    project.make()
    project.client.api.wait(project.ids("web")[0])


def test_one_shot_service_is_run_once_and_kept_when_it_ended_well(project: ComposeRig) -> None:
    once(project)
    verdict = project.update(project.package("2.0.0"))
    assert (verdict.outcome, verdict.parts[0].ungated) == (Outcome.SUCCEEDED, False)
    (new,) = project.of("web")
    assert (new["State"]["Status"], new["State"]["ExitCode"]) == ("exited", 0)
    assert new["Image"] == project.client.images.get(project.reference("2.0.0")).id


def test_one_shot_service_that_fails_is_rolled_back_and_the_old_one_not_run_again(
    project2: ComposeRig,
) -> None:
    text = project2.file.read_text().replace("restart: unless-stopped", 'restart: "no"')
    project2.file.write_text(text)
    project2.write_compose_catalog(kind="completed")
    project2.make(cmd=DONE)
    (old,) = project2.of("web")
    project2.client.api.wait(old["Id"])
    finished = project2.of("web")[0]["State"]["StartedAt"]
    verdict = project2.update(project2.package("2.0.0", project2.image("2.0.0", cmd=FAILS)))
    assert (verdict.outcome, verdict.code) == (Outcome.ROLLED_BACK, "gate.exited")
    assert [(one["Id"], one["State"]["StartedAt"]) for one in project2.of("web")] == [(old["Id"], finished)]


def test_release_that_becomes_unhealthy_is_rolled_back(project2: ComposeRig) -> None:
    project2.write_compose_catalog(stable_secs=2 * PATIENT_S)
    project2.make()
    sick = Healthcheck(test=("CMD", "false"), interval_s=0.2, retries=1)
    image = project2.image("2.0.0", healthcheck=sick)
    assert project2.update(project2.package("2.0.0", image)).code == "gate.unhealthy"
    assert project2.releases() == ["1.0.0"]


@pytest.mark.parametrize("point", range(1, 15, 3))
@pytest.mark.parametrize("cmd", [None, CRASHES_LATER], ids=["good", "sick"])
def test_scaled_service_is_never_half_new_after_a_kill(
    project2: ComposeRig, point: int, cmd: tuple[str, ...] | None
) -> None:
    project2.write_compose_catalog(stable_secs=PATIENT_S if cmd else 0.5)
    project2.make(scale=2)
    image = project2.image("2.0.0", cmd=cmd) if cmd else project2.image("2.0.0")
    project2.paths.inbox.mkdir(parents=True, exist_ok=True)
    shutil.copy(project2.package("2.0.0", image), project2.paths.inbox / "release.edgepkg")
    path, config = project2.environment["PATH"], project2.environment["DOCKER_CONFIG"]
    with caissond(project2.root, project2.host, kill_at=point, PATH=path, DOCKER_CONFIG=config) as daemon:
        assert daemon.wait_for_death() == -9, daemon.log()
    with caissond(project2.root, project2.host, PATH=path, DOCKER_CONFIG=config) as daemon:
        daemon.wait_until_handled()
        assert daemon.stop() == 0
    assert project2.releases() == (["1.0.0"] * 2 if cmd else ["2.0.0"] * 2)
    updated = project2.ids("web")
    project2.up("--scale", "web=2")
    assert project2.ids("web") == updated
    assert project2.device().journal.unfinished() == ()
