"""The invariant of the containers: each under its own name, as it was asked to be, and all of them of one release."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from caissond.update.containers import COMPOSE_LABEL
from tests.matrix.catalog import compose_labels
from tests.matrix.lab import Lab
from tests.matrix.outlook import Outlook
from tests.matrix.scenario import Way
from tests.matrix.target import DATABASE, NEW, OLD, Target, reference

Inspect = dict[str, Any]


def of_containers(lab: Lab, outlook: Outlook) -> Iterator[str]:
    """There are those of the scenario, and no others."""
    scenario = outlook.scenario
    names = sorted(name.lstrip("/") for one in lab.api.containers(all=True) for name in one["Names"])
    if names != sorted(scenario.names):
        yield f"there are the containers {names}"
    versions = set()
    for target in scenario.targets:
        there = [name for name in target.containers if name in names]
        versions |= {lab.told_version(name) for name in there}
        for name in there:
            yield from _of_service(lab, outlook, target, name)
        for name in target.dependants:
            if there and name in names:
                yield from _of_dependant(lab, outlook, target, name)
    for name in scenario.bystanders:
        if name in names:
            yield from _of_bystander(lab, name)
    if len(versions) > 1:
        yield f"they run {' and '.join(sorted(versions))}"


def _of_service(lab: Lab, outlook: Outlook, target: Target, name: str) -> Iterator[str]:
    """Whole, and wholly one release."""
    container, version = lab.inspect(name), lab.told_version(name)
    yield from _of_state(outlook, container, name, is_running=not target.runs_once)
    if outlook.which(version) not in outlook.ends:
        yield f"{name} runs {version}"
    yield from _of_one_release(lab, container, target, version)
    yield from _of_tags(lab, outlook, container, target, version)
    if target.is_composed:
        yield from _of_compose(container)
    if target.runs_once:
        yield from _of_work(lab, container, name)


def _of_state(outlook: Outlook, container: Inspect, name: str, *, is_running: bool) -> Iterator[str]:
    scenario = outlook.scenario
    if container["State"]["Running"] is not (is_running and not scenario.stopped):
        yield f"{name} is {container['State']['Status']}"
    policy = container["HostConfig"]["RestartPolicy"]["Name"]
    if policy != scenario.policy:
        yield f"the restart policy of {name} is {policy}, not {scenario.policy}"


def _of_one_release(lab: Lab, container: Inspect, target: Target, version: str) -> Iterator[str]:
    config = container["Config"]
    if not {"SITE=north", f"RELEASE={version}"} <= set(config["Env"]) or len(config["Env"]) != 3:
        yield f"the environment of {version} is {config['Env']}"
    labels = config["Labels"]
    if labels.get("site") != "north" or labels.get("io.caisson.version", version) != version:
        yield f"the labels of {version} are {labels}"
    tag = reference(target.name, version)
    if (tagged := lab.tagged(tag)) != container["Image"]:
        yield f"{tag} is {tagged}, not {container['Image']}"


def _of_tags(
    lab: Lab, outlook: Outlook, container: Inspect, target: Target, version: str
) -> Iterator[str]:  # fmt: skip
    """What does not run has no name either, if a package brought it."""
    tag = reference(target.name, NEW)
    if outlook.scenario.way is not Way.ROLLBACK and version != NEW and lab.tagged(tag) is not None:
        yield f"there is {tag}, and {version} runs"
    if target.is_composed and (tagged := lab.tagged(target.image_name)) != container["Image"]:
        yield f"{target.image_name}, which the Compose file names, is {tagged}, not {container['Image']}"


def _of_compose(container: Inspect) -> Iterator[str]:
    """The next `compose up` finds what it asks for."""
    labels = {
        name: value for name, value in container["Config"]["Labels"].items() if name.startswith(COMPOSE_LABEL)
    }
    if labels != compose_labels(container["Name"].lstrip("/"), container["Image"]):
        yield f"Compose is told {labels}, and {container['Image']} runs"


def _of_work(lab: Lab, container: Inspect, name: str) -> Iterator[str]:
    """Done, well, once; that of the old release was, before."""
    state = container["State"]
    if (state["Status"], state["ExitCode"]) != ("exited", 0):
        yield f"{name} is {state['Status']} with exit code {state['ExitCode']}"
    for one in sorted({container["Id"], lab.first[name]}):
        if (starts := _starts(lab, one)) != 1:
            yield f"the work of {'the old' if one == lab.first[name] else 'the new'} {name} was done {starts} times"


def _starts(lab: Lab, container: str) -> int:
    """How often Docker has started it."""
    filters = {"container": container, "event": "start"}
    return len(list(lab.api.events(since=0, until=f"{time.time():.9f}", filters=filters, decode=True)))


def _of_dependant(lab: Lab, outlook: Outlook, target: Target, name: str) -> Iterator[str]:
    """It lives where the service does; beside the old release it is the old one itself."""
    container, service = lab.inspect(name), lab.inspect(target.containers[0])
    yield from _of_state(outlook, container, name, is_running=True)
    if container["HostConfig"]["NetworkMode"] != f"container:{service['Id']}":
        yield f"{name} is bound to {container['HostConfig']['NetworkMode']}, not to {service['Id']}"
    elif _network(container) != _network(service):
        yield f"{name} runs in a network without {target.name}"
    was_old = service["Id"] == lab.first[target.containers[0]]
    if was_old is not (container["Id"] == lab.first[name]):
        yield f"{name} is {'another' if was_old else 'the old'} one"


def _network(container: Inspect) -> str:
    """The network namespace that its first process is in."""
    path = Path(f"/proc/{container['State']['Pid']}/ns/net")
    return str(path.readlink()) if container["State"]["Running"] else ""


def _of_bystander(lab: Lab, name: str) -> Iterator[str]:
    """Nobody has touched it, or the name of its image."""
    container = lab.inspect(name)
    if container["Id"] != lab.first[name] or not container["State"]["Running"]:
        yield f"{name}, which no package is for, is {container['State']['Status']}, and was {lab.first[name]}"
    tag = reference(DATABASE.name, OLD)
    if (tagged := lab.tagged(tag)) != container["Image"]:
        yield f"{tag}, which no package is for, is {tagged}"
