"""`caisson compose` with both real commands on a real engine: it does what Compose does, and fetches nothing."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import docker
import pytest

from fixtures.compose import compose_kinds
from fixtures.engine import Engine
from tests.docker.compose_rig import ComposeRig, compose_rig_on
from tests.docker.daemon_process import caissond

PROGRAM = [sys.executable, "-c", "from caissond.cli.entry import main; main()"]


@pytest.fixture(params=compose_kinds())
def project(
    request: pytest.FixtureRequest, engine: Engine, docker_client: docker.DockerClient, tmp_path: Path
) -> Iterator[ComposeRig]:
    with compose_rig_on(tmp_path, docker_client, engine.host, request.param) as rig:
        yield rig


class Registry:
    """Counts who asks it for images, and has none."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        registry = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry.asked.append(self.path)
                self.send_error(404)

            do_HEAD = do_GET

            def log_message(self, *_words: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.address = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def registry() -> Iterator[Registry]:
    registry = Registry()
    yield registry
    registry.close()


def caisson_compose(rig: ComposeRig, *arguments: str) -> tuple[int, str, str]:
    command = [*PROGRAM, "--root", str(rig.root), "compose", rig.name, "--", *arguments]
    done = subprocess.run(command, env=rig.environment, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


def test_project_is_made_looked_at_and_removed(project: ComposeRig) -> None:
    project.make()
    made = project.ids("web")
    assert caisson_compose(project, "down", "-t", "0")[0] == 0
    assert project.ids("web") == []
    assert caisson_compose(project, "up", "-d")[0] == 0
    again = project.ids("web")
    assert len(again) == 1
    assert again != made
    assert caisson_compose(project, "ps", "-q", "web")[1].split() == again


def test_what_runs_inside_decides_the_exit_code(project: ComposeRig) -> None:
    project.make()
    slowly = "cat /version; sleep 1"  # of what ends at once, Docker 20.10 may lose the output
    assert caisson_compose(project, "exec", "-T", "web", "sh", "-c", slowly)[:2] == (0, "1.0.0\n")
    assert caisson_compose(project, "exec", "-T", "web", "sh", "-c", "exit 7")[0] == 7
    assert caisson_compose(project, "run", "--rm", "-T", "web", "sh", "-c", "exit 3")[0] == 3


@pytest.mark.parametrize("command", [("up", "-d"), ("create",), ("run", "--rm", "web"), ("scale", "web=2")])
def test_missing_image_is_not_fetched(
    project: ComposeRig, registry: Registry, command: tuple[str, ...]
) -> None:
    missing = f"{registry.address}/gone:1"
    project.file.write_text(project.file.read_text().replace(project.image_name, missing))
    code, _, said = caisson_compose(project, *command)
    refused = project.kind == "v1" or command[0] not in ("up", "create")
    assert (code, "compose.image_missing" in said) == (2, True) if refused else code != 0
    assert missing in said if refused else "no such image" in said.lower()
    assert registry.asked == []
    assert caisson_compose(project, "pull", "web")[0] != 0  # who asks for it gets it
    assert registry.asked


@pytest.mark.parametrize("command", [("up", "-d"), ("run", "--rm", "web")])
def test_pull_policy_of_the_file_does_not_fetch_either(
    project: ComposeRig, registry: Registry, command: tuple[str, ...]
) -> None:
    project.make()
    image = f"{registry.address}/there:1"
    project.client.images.get(project.image_name).tag(image)
    text = project.file.read_text().replace(project.image_name, f"{image}\n    pull_policy: always")
    project.file.write_text(text)
    code, _, said = caisson_compose(project, *command, *(() if command[0] == "up" else ("true",)))
    project.client.images.remove(image, force=True)
    refused = project.kind == "v1" or command[0] == "run"
    assert (code, image in said) == (2, True) if refused else code == 0
    assert registry.asked == []


def test_daemon_tells_at_its_start_and_at_a_reload_that_compose_is_missing(project: ComposeRig) -> None:
    """Once each time."""
    with caissond(project.root, project.host, PATH="/nonexistent") as daemon:
        daemon.wait_until_logged("is ready")
        assert daemon.log().count("E-531  cannot update Compose services: neither docker compose nor") == 1
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("the second time", lambda: daemon.log().count("  E-531  ") == 2)
    there = project.environment
    with caissond(
        project.root, project.host, PATH=there["PATH"], DOCKER_CONFIG=there["DOCKER_CONFIG"]
    ) as daemon:
        daemon.wait_until_logged("is ready")
        assert "Compose" not in daemon.log()
