"""A port that Docker holds for no container, and the only cure there is: Docker has to be started again.

When the power goes, or dockerd ends, between two writes of a container's start, dockerd gives the container's ports at
its next start to an endpoint that it throws away right after (moby/libnetwork#1790; seen on 20.10, not on 26). Neither
it nor anybody else can start a container with these ports then.
"""

import os
import re
import time
from collections.abc import Callable, Iterable

from caissond.errors import CaissonError, DockerError
from caissond.host.docker import Docker
from caissond.host.program import run_program

RESTART_S = 300.0
"""All containers are stopped first, each in its own time."""
_ANSWER_S = 60.0
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
        DockerError: `docker.error`; it was not started again, or something would have been lost with it.
    """
    present = docker.list_containers()
    for one in present:
        _check_is_not_lost(docker, one["Id"])
    docker.close()
    try:
        restart()
    finally:
        _await_answer(docker)
        _bring_back(docker, [one["Id"] for one in reversed(present) if one.get("State") == "running"])


def _check_is_not_lost(docker: Docker, container: str) -> None:
    found = docker.find_container(container)
    if found is None:
        return
    name = found["Name"].lstrip("/")
    if found["HostConfig"].get("AutoRemove"):
        raise _cannot(f"it would remove {name}, which was made with --rm")
    if found["State"].get("Paused"):
        raise _cannot(f"it would end {name}, which is paused")


def _await_answer(docker: Docker) -> None:
    """It may come up though systemctl says otherwise, or not in time."""
    end = time.monotonic() + _ANSWER_S
    while not docker.answers() and time.monotonic() < end:
        time.sleep(1)


def _bring_back(docker: Docker, oldest_first: Iterable[str]) -> None:
    """Again and again, until no more can be started: one may need another one."""
    left = [container for container in oldest_first if _is_down(docker, container)]
    while left:
        failed = [container for container in left if not _starts(docker, container)]
        if len(failed) == len(left):
            return
        left = failed


def _is_down(docker: Docker, container: str) -> bool:
    try:
        found = docker.find_container(container)
    except CaissonError:
        return False
    return found is not None and not found["State"]["Running"]


def _starts(docker: Docker, container: str) -> bool:
    try:
        docker.start(container)
    except CaissonError:
        return False
    return True


def _cannot(why: str) -> DockerError:
    return DockerError(f"cannot start Docker again: {why}", code="docker.error")
