"""A port that Docker holds for no container, and the only cure there is: Docker has to be started again.

When the power goes, or dockerd ends, between two writes of a container's start, dockerd gives the container's ports at
its next start to an endpoint that it throws away right after (moby/libnetwork#1790; seen on 20.10, not on 26). Neither
it nor anybody else can start a container with these ports then.
"""

import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress

from caissond.errors import DockerError
from caissond.host.docker import Docker
from caissond.host.program import run_program

RESTART_S = 300.0
"""All containers are stopped first, each in its own time."""
_RESTART = (
    "systemctl", "--no-ask-password",
    # What has to be stopped with Docker stays up, and nothing waits for a caissond that is being started or stopped.
    "--job-mode=ignore-dependencies",
    "restart", "docker.service",
)  # fmt: skip
_HELD = re.compile(r"Bind for \S+:(\d+) failed: port is already allocated")
_SYSTEM_SOCKETS = ("", "unix:///var/run/docker.sock", "unix:///run/docker.sock")


def port_held_for_nobody(docker: Docker, problem: str) -> int | None:
    """The port of this host that a container's start could not have, though no running container has it; None where
    something else was wrong.
    """
    found = _HELD.search(problem)
    if found is None:
        return None
    port = int(found[1])
    # a stopped one may show the ports that it had when the power went
    running = (one for one in docker.list_containers() if one.get("State") in ("running", "paused"))
    taken = (used.get("PublicPort") for one in running for used in one.get("Ports") or ())
    return None if port in taken else port


def is_docker_of_systemd(docker: Docker) -> bool:
    """Whether this is the engine that `docker.service` runs."""
    return docker.environment.get("DOCKER_HOST", "") in _SYSTEM_SOCKETS


def restart_docker() -> None:
    """`systemctl restart docker.service`; returns when it is ready.

    Raises:
        DockerError: `docker.error`; it was not started again, or not in time.
    """
    path = {"PATH": os.environ.get("PATH", "/usr/bin:/bin")}
    try:
        ended = run_program(_RESTART, environment=path, timeout_s=RESTART_S)
    except OSError as exc:
        raise _cannot(f"systemctl: {exc.strerror}") from exc
    if ended.code != 0:
        raise _cannot("it took too long" if ended.code is None else ended.errors.strip()[:300])


def restart_around(docker: Docker, restart: Callable[[], None]) -> None:
    """Start Docker again, and then what ran before and what no restart policy brings back.

    Raises:
        DockerError: `docker.error`; it was not started again, or would have removed somebody's container.
    """
    running = [one["Id"] for one in docker.list_containers() if one.get("State") == "running"]
    for container in map(docker.find_container, running):
        if container and container["HostConfig"].get("AutoRemove"):
            raise _cannot(f"it would remove {container['Name'].lstrip('/')}, which was started with --rm")
    docker.close()
    restart()
    _bring_back(docker, running)
    _bring_back(docker, running)  # one may live in the network of another


def _bring_back(docker: Docker, containers: Iterable[str]) -> None:
    for container in map(docker.find_container, containers):
        if container and not container["State"]["Running"]:
            with suppress(DockerError):
                docker.start(container["Id"])


def _cannot(why: str) -> DockerError:
    return DockerError(f"cannot start Docker again: {why}", code="docker.error")
