"""The replacement is what somebody asked for, on the new image's defaults: real updates, inspected before and after."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest

from caissond.model.records import Outcome
from fixtures.engine import Engine, PrivateEngine
from fixtures.images import SICK, load_image
from tests.docker.recreation import (
    NEW_CHECK,
    NEW_DEFAULTS,
    OLD_CHECK,
    OLD_DEFAULTS,
    Inspect,
    Neighbourhood,
    anonymous_volumes,
    asked_for,
    differences,
    neighbourhood,
    without_anonymous,
    without_names,
)
from tests.docker.recreation_cases import CASES, FOREVER, REPRESENTATIVE, Case
from tests.docker.rig import Rig, rig_on, told_by

SETTINGS = "[trust]\nallow_unsigned = true\n\n[docker]\nstop_timeout_secs = 1\n"


@pytest.fixture(scope="module")
def around(
    engine: Engine, docker_client: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Neighbourhood]:
    """What containers are asked to have to do with, on the shared engine."""
    with neighbourhood(docker_client, engine, "around", tmp_path_factory.mktemp("around")) as there:
        yield there


@pytest.fixture(scope="module")
def around26(docker26: PrivateEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neighbourhood]:
    """The same on Docker 26."""
    client = docker.DockerClient(base_url=docker26.host)
    with neighbourhood(client, docker26, "around", tmp_path_factory.mktemp("around26")) as there:
        yield there
    client.close()


@dataclass
class Updated:
    """The inspects of a service before and after a good update, and of what the same words make of the new image."""

    old: Inspect
    new: Inspect
    control: Inspect


def started(rig: Rig, around: Neighbourhood, case: Case) -> Inspect:
    """The service, made by these words."""
    rig.write_settings(SETTINGS)
    rig.write_catalog(kind="running", stable_secs=0)
    image = rig.image("1.0.0", cmd=FOREVER, healthcheck=OLD_CHECK, **OLD_DEFAULTS)
    load_image(rig.client, image.path)
    around.create(rig.name, case.options, image.reference, case.command)
    for line in case.then:
        around.cli(*around.filled(line, rig.name))
    if case.runs:
        around.cli("start", rig.name)
    return around.inspect(rig.name)


def update(rig: Rig) -> None:
    image = rig.image("1.1.0", cmd=(*FOREVER, "new"), healthcheck=NEW_CHECK, **NEW_DEFAULTS)
    verdict = rig.update(rig.package("1.1.0", image))
    assert verdict.outcome is Outcome.SUCCEEDED, verdict.message


def updated(rig: Rig, around: Neighbourhood, case: Case) -> Updated:
    """Make the service by these words, and update it.

    Raises:
        AssertionError: the update did not succeed, or the service does not do what it did.
    """
    old = started(rig, around, case)
    update(rig)
    new = around.inspect(rig.name)
    assert new["Id"] != old["Id"]
    assert new["State"]["Running"] is case.runs
    return Updated(old, new, _control(rig, around, case))


def _control(rig: Rig, around: Neighbourhood, case: Case) -> Inspect:
    name = f"{rig.name}-control"
    around.create(name, case.options, rig.reference("1.1.0"), case.command)
    try:
        for line in case.then:
            around.cli(*around.filled(line, name))
        return around.inspect(name)
    finally:
        around.remove(name)


def check(seen: Updated, name: str) -> None:
    """Everything but what must differ is the same.

    Raises:
        AssertionError: something is not; all of it is named.
    """
    control = without_anonymous(without_names(asked_for(seen.control), name, f"{name}-control"))
    new = without_anonymous(without_names(asked_for(seen.new), name))
    control["Config"]["Hostname"] = (
        new["Config"]["Hostname"] if _shares_name(seen) else control["Config"]["Hostname"]
    )
    assert differences(control, new) == []
    volumes_before, volumes_after = anonymous_volumes(seen.old), anonymous_volumes(seen.new)
    assert volumes_before.items() <= volumes_after.items()
    old = asked_for(seen.old)
    kept = ("NetworkMode", "RestartPolicy", "PortBindings", "Links")
    assert [old["HostConfig"][key] for key in kept] == [
        asked_for(seen.new)["HostConfig"][key] for key in kept
    ]


def _shares_name(seen: Updated) -> bool:
    """Docker writes the name of the host, or of the container it joins, into `Config` at the start only."""
    mode = seen.new["HostConfig"]["NetworkMode"]
    return bool(
        mode == "host" or mode.startswith("container:") or seen.new["HostConfig"]["UTSMode"] == "host"
    )


@pytest.mark.parametrize("case", CASES)
def test_replacement_is_what_the_same_words_make_of_the_new_image(
    rig: Rig, around: Neighbourhood, case: str
) -> None:
    check(updated(rig, around, CASES[case]), rig.name)


@pytest.mark.parametrize("case", REPRESENTATIVE)
def test_replacement_is_what_the_same_words_make_of_the_new_image_on_docker_26(
    docker26: PrivateEngine, around26: Neighbourhood, tmp_path: Path, case: str
) -> None:
    with rig_on(tmp_path, around26.client, docker26.host) as rig:
        check(updated(rig, around26, CASES[case]), rig.name)


def test_data_of_named_and_anonymous_volumes_is_there_afterwards(rig: Rig, around: Neighbourhood) -> None:
    options = ("-v", "{VOL}-kept:/named", "-v", "/anonymous", "--mount", "type=volume,dst=/mounted")
    places = ("/named", "/anonymous", "/mounted", "/data")
    started(rig, around, Case(options))
    for place in places:
        around.cli("exec", rig.name, "sh", "-c", f"echo precious > {place}/file")
    update(rig)
    for place in places:
        assert told_by(rig.container(), "cat", f"{place}/file") == b"precious\n"


def test_published_port_stays_published_when_the_new_image_does_not_expose_it(
    rig: Rig, around: Neighbourhood
) -> None:
    started(rig, around, Case(("-p", "127.0.0.1::81")))
    update(rig)
    (binding,) = around.inspect(rig.name)["NetworkSettings"]["Ports"]["81/tcp"]
    assert (binding["HostIp"], int(binding["HostPort"]) > 0) == ("127.0.0.1", True)


def test_second_update_changes_nothing_of_what_was_asked_for(rig: Rig, around: Neighbourhood) -> None:
    """Nothing is added each time: no alias, no volume, no default of an image that is gone."""
    started(rig, around, CASES["two networks"])
    update(rig)
    once = asked_for(around.inspect(rig.name))
    volumes = anonymous_volumes(around.inspect(rig.name))
    same = rig.image("1.2.0", cmd=(*FOREVER, "new"), healthcheck=NEW_CHECK, **NEW_DEFAULTS)
    assert rig.update(rig.package("1.2.0", same)).outcome is Outcome.SUCCEEDED
    twice = around.inspect(rig.name)
    assert anonymous_volumes(twice) == volumes
    assert differences(without_anonymous(once), without_anonymous(asked_for(twice))) == []


def test_tag_that_both_releases_have_names_the_old_one_after_a_rollback(rig: Rig) -> None:
    """Or the next `compose up` would bring the bad image back."""
    old = rig.run_old()
    tag = rig.reference("1.0.0")
    bad = rig.image("2.0.0", healthcheck=SICK)
    assert rig.update(rig.package("2.0.0", bad, reference=tag)).outcome is Outcome.ROLLED_BACK
    assert rig.client.images.get(tag).id == old.attrs["Image"]
