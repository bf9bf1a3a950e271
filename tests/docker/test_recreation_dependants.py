"""What lives in a service's network (`container:X`) is refused unless declared, then made again: on a real engine."""

import pytest

from caissond.model.records import Outcome, Verdict
from fixtures.images import FOREVER, SICK
from tests.docker.rig import CRASHES, PATIENT_S, Rig, told_by

ALONE = ["lo"]


@pytest.fixture
def sidecar(rig: Rig) -> str:
    """A running service, and a container that lives in its network and processes."""
    rig.write_catalog(kind="running", stable_secs=PATIENT_S)
    rig.run_old()
    name = f"{rig.name}-sidecar"
    mode = f"container:{rig.name}"
    rig.client.containers.run(
        rig.reference("1.0.0"), name=name, detach=True, network_mode=mode, pid_mode=mode,
        environment={"SITE": "north"}, restart_policy={"Name": "on-failure", "MaximumRetryCount": 2},
    )  # fmt: skip
    return name


def declare(rig: Rig, *names: str) -> None:
    text = rig.paths.services.read_text()
    declared = ", ".join(f'"{name}"' for name in names)
    rig.paths.services.write_text(
        text.replace("[services.docker]\n", f"[services.docker]\ndependants = [{declared}]\n")
    )


def links(rig: Rig, name: str) -> list[str]:
    """The network interfaces that a container sees."""
    return sorted(told_by(rig.client.containers.get(name), "ls", "/sys/class/net").decode().split())


def joined(rig: Rig, name: str) -> str:
    return str(rig.client.api.inspect_container(name)["HostConfig"]["NetworkMode"])


def update(rig: Rig, *, good: bool = True) -> Verdict:
    image = rig.image("1.1.0", healthcheck=None, cmd=FOREVER if good else CRASHES)
    return rig.update(rig.package("1.1.0", image))


def test_dependant_that_is_not_declared_refuses_the_update(rig: Rig, sidecar: str) -> None:
    started_at = rig.container().attrs["State"]["StartedAt"]
    verdict = update(rig)
    assert (verdict.outcome, verdict.code) == (Outcome.REFUSED, "service.has_dependants")
    assert sidecar in verdict.message
    assert rig.container().attrs["State"]["StartedAt"] == started_at


def test_declared_dependant_lives_in_the_new_release(rig: Rig, sidecar: str) -> None:
    declare(rig, sidecar)
    before = rig.client.api.inspect_container(sidecar)
    assert update(rig).outcome is Outcome.SUCCEEDED
    assert rig.containers() == [rig.name, sidecar]
    after = rig.client.api.inspect_container(sidecar)
    assert (joined(rig, sidecar), links(rig, sidecar)) == (
        f"container:{rig.container().id}",
        links(rig, rig.name),
    )
    assert links(rig, sidecar) != ALONE
    assert after["HostConfig"]["PidMode"] == f"container:{rig.container().id}"
    for key in ("Env", "Cmd"):
        assert after["Config"][key] == before["Config"][key]
    assert after["HostConfig"]["RestartPolicy"] == before["HostConfig"]["RestartPolicy"]


def test_declared_dependant_is_as_before_after_a_rollback(rig: Rig, sidecar: str) -> None:
    declare(rig, sidecar)
    before = rig.client.api.inspect_container(sidecar)
    assert update(rig, good=False).outcome is Outcome.ROLLED_BACK
    after = rig.client.api.inspect_container(sidecar)
    assert (after["Id"], after["State"]["Running"]) == (before["Id"], True)
    assert after["HostConfig"]["RestartPolicy"] == before["HostConfig"]["RestartPolicy"]
    assert links(rig, sidecar) == links(rig, rig.name) != ALONE
    assert rig.containers() == [rig.name, sidecar]


def test_dependant_is_made_again_for_an_old_release_that_had_to_be(rig: Rig, sidecar: str) -> None:
    declare(rig, sidecar)
    rig.when("update.checking", lambda: rig.client.containers.prune())
    image = rig.image("2.0.0", healthcheck=SICK)
    rig.write_catalog(kind="container_health")
    declare(rig, sidecar)
    assert rig.update(rig.package("2.0.0", image)).outcome is Outcome.ROLLED_BACK
    assert joined(rig, sidecar) == f"container:{rig.container().id}"
    assert links(rig, sidecar) == links(rig, rig.name) != ALONE


def test_container_with_a_link_to_the_service_is_linked_to_the_new_release(rig: Rig) -> None:
    rig.write_catalog(kind="running", stable_secs=0.5)
    rig.run_old()
    linked = f"{rig.name}-linked"
    rig.client.containers.run(rig.reference("1.0.0"), name=linked, detach=True, links={rig.name: "friend"})
    assert update(rig).code == "service.has_dependants"
    declare(rig, linked)
    assert update(rig).outcome is Outcome.SUCCEEDED
    container = rig.client.containers.get(linked)
    address = rig.container().attrs["NetworkSettings"]["IPAddress"]
    assert f"{address}\tfriend" in told_by(container, "cat", "/etc/hosts").decode()
    container.restart(timeout=1)
    assert rig.client.api.inspect_container(linked)["HostConfig"]["Links"] == [
        f"/{rig.name}:/{linked}/friend"
    ]


def test_dependant_that_was_stopped_stays_stopped(rig: Rig, sidecar: str) -> None:
    declare(rig, sidecar)
    rig.client.containers.get(sidecar).stop(timeout=1)
    assert update(rig).outcome is Outcome.SUCCEEDED
    assert rig.client.containers.get(sidecar).status == "created"
    assert joined(rig, sidecar) == f"container:{rig.container().id}"


def test_dependant_in_a_dependant_refuses_the_update(rig: Rig, sidecar: str) -> None:
    declare(rig, sidecar)
    further = f"{rig.name}-further"
    rig.client.containers.run(
        rig.reference("1.0.0"), name=further, detach=True, pid_mode=f"container:{sidecar}"
    )  # fmt: skip
    assert update(rig).code == "service.has_dependants"
