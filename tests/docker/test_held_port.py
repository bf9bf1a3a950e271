"""A port that Docker holds for nobody once dockerd was killed between two writes of a container's start, and the power
came back. strace kills it at one write after the other.
"""

from contextlib import closing, suppress
from pathlib import Path
from socket import socket

import docker
import docker.errors
import requests
from docker.models.containers import Container

from caissond.errors import DockerError
from caissond.host.docker import Docker
from caissond.host.held_port import port_held_for_nobody
from caissond.update.device import Device
from caissond.update.recovery import settle
from fixtures.engine import PrivateEngine
from tests.docker.killed_at import WRITES, killed_at
from tests.docker.rig import Rig, rig_on
from tests.docker.test_power_cut import kill_during_the_gate

_HOLDS_AT = 12
"""There Docker 20.10 leaves the port behind."""
_WRITES = range(_HOLDS_AT - 3, _HOLDS_AT + 3)


def test_held_port_is_known_and_free_once_docker_was_started_again(
    own_engine: PrivateEngine, own_client: docker.DockerClient, tmp_path: Path
) -> None:
    port, held = _free_port(), 0
    with rig_on(tmp_path, own_client, own_engine.host) as rig:
        container = rig.run_old(restart_policy={"Name": "always"}, ports={"8080/tcp": port})
        caissons = Docker(timeout_s=60, load_stall_s=60, environment={"DOCKER_HOST": own_engine.host})
        for write in _WRITES:
            container.stop(timeout=0)
            with (
                killed_at(own_engine, WRITES, write),
                suppress(requests.RequestException, docker.errors.APIError),
            ):
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


def test_old_release_runs_after_a_power_cut_though_its_port_was_held(
    own_engine: PrivateEngine, own_client: docker.DockerClient, tmp_path: Path
) -> None:
    """The power went on the way back, while the old release was being started."""
    restarts: list[str] = []
    with rig_on(tmp_path, own_client, own_engine.host) as rig:
        old = rig.run_old(restart_policy={"Name": "always"}, ports={"8080/tcp": _free_port()})
        kill_during_the_gate(rig)
        rig.client.containers.get(_new_name(rig)).stop(timeout=0)
        was_held = any(_is_held_after_cut(own_engine, old, write) for write in (_HOLDS_AT, *_WRITES))

        def restart() -> None:
            restarts.append("docker")
            own_engine.stop()
            own_engine.start()

        def adjust(device: Device) -> None:
            device.restart_docker = restart

        device = rig.device(adjust)
        settle(device)
        device.database.close()
        old.reload()
        assert (old.name, old.status, rig.containers()) == (rig.name, "running", [rig.name])
        assert restarts == (["docker"] if was_held else [])
        assert ("docker.port_held" in rig.codes()) is was_held
    assert was_held or not own_client.version()["Version"].startswith("20.10.")


def _is_held_after_cut(engine: PrivateEngine, container: Container, write: int) -> bool:
    """Cut the power at this write of its start. It is down already, or goes down now."""
    container.stop(timeout=0)
    with killed_at(engine, WRITES, write), suppress(requests.RequestException, docker.errors.APIError):
        container.start()
    engine.power_cut()
    engine.start()
    container.reload()
    return bool(container.status != "running")


def _new_name(rig: Rig) -> str:
    (name,) = [name for name in rig.containers() if name != rig.name]
    return name


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
