"""A port that Docker holds for no container, and the only cure there is: Docker has to be started again.

When the power goes, or dockerd ends, between two writes of a container's start, dockerd gives the container's ports at
its next start to an endpoint that it throws away right after (moby/libnetwork#1790; seen on 20.10, not on 26). Neither
it nor anybody else can start a container with these ports then.
"""

import os
import re

from caissond.errors import DockerError
from caissond.host.docker import Docker
from caissond.host.program import run_program

RESTART_S = 300.0
"""All other containers are stopped first, each in its own time."""
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
    taken = (used.get("PublicPort") for one in docker.list_containers() for used in one.get("Ports") or ())
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
        ended = run_program(
            ("systemctl", "--no-ask-password", "restart", "docker.service"),
            environment=path,
            timeout_s=RESTART_S,
        )
    except OSError as exc:
        raise DockerError(
            f"cannot start Docker again: systemctl: {exc.strerror}", code="docker.error"
        ) from exc
    if ended.code != 0:
        why = "it took too long" if ended.code is None else ended.errors.strip()[:300]
        raise DockerError(f"cannot start Docker again: {why}", code="docker.error")
