"""A port that Docker holds for nobody once dockerd was killed between two writes of a container's start, and the power
came back. strace kills it at a given write, so that it is no matter of chance.
"""

import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from socket import socket

import docker
import docker.errors
import requests

from caissond.errors import DockerError
from caissond.host.docker import Docker
from caissond.host.held_port import port_held_for_nobody
from fixtures.engine import PrivateEngine
from tests.docker.rig import rig_on

_WRITES = range(9, 15)
"""Docker 20.10 leaves the port behind at the twelfth."""


def test_held_port_is_known_and_free_once_docker_was_started_again(
    own_engine: PrivateEngine, own_client: docker.DockerClient, tmp_path: Path
) -> None:
    port, held = _free_port(), 0
    with rig_on(tmp_path, own_client, own_engine.host) as rig:
        container = rig.run_old(restart_policy={"Name": "always"}, ports={"8080/tcp": port})
        caissons = Docker(timeout_s=60, load_stall_s=60, environment={"DOCKER_HOST": own_engine.host})
        for write in _WRITES:
            container.stop(timeout=0)
            with _killed_at(own_engine, write), suppress(requests.RequestException, docker.errors.APIError):
                container.start()
            own_engine.power_cut()
            own_engine.start()
            if problem := _problem_with_start(caissons, str(container.id)):
                assert port_held_for_nobody(caissons, problem) == port
                held += 1
                own_engine.stop()
                own_engine.start()
                caissons.start(str(container.id))
            container.reload()
            assert container.status == "running"
        assert (
            port_held_for_nobody(caissons, f"Bind for 0.0.0.0:{port} failed: port is already allocated")
            is None
        )
    assert held or not own_client.version()["Version"].startswith("20.10.")


def _problem_with_start(caissons: Docker, container: str) -> str:
    try:
        caissons.start(container)
    except DockerError as exc:
        return exc.message
    return ""


def _free_port() -> int:
    with closing(socket()) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def _killed_at(engine: PrivateEngine, write: int) -> Iterator[None]:
    """dockerd gets SIGKILL in its n-th fdatasync from now on."""
    inject = f"inject=fdatasync:signal=KILL:when={write}"
    strace = subprocess.Popen(
        [
            "strace",
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "trace=fdatasync",
            "-e",
            inject,
            "-p",
            str(engine.pid),
        ]
    )
    status = Path(f"/proc/{engine.pid}/status")
    while "TracerPid:\t0\n" in status.read_text():
        assert strace.poll() is None
        time.sleep(0.01)
    time.sleep(0.3)  # all of its threads
    try:
        yield
    finally:
        strace.kill()  # told to end, it would wait for what dockerd has started
        strace.wait()
