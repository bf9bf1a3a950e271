"""Compose's commands are started by the daemon, so they have to live in its sandbox: it listens on nothing, for one."""

import sys
from pathlib import Path

import pytest

from caissond.host.compose import ComposeCli, ComposeFiles, resolve
from caissond.host.program import run_program
from fixtures.compose import ComposeKind, compose_environment, compose_kinds

REPOSITORY = Path(__file__).parents[2]
UNIT = REPOSITORY / "systemd/caissond.service"
FORBIDDEN = {
    "listen": "import socket; socket.create_server(('127.0.0.1', 0))",
    "write and execute": "import mmap; mmap.mmap(-1, 4096, prot=7)",
    "resources": "import os; os.nice(-1)",
    "raw packets": "import socket; socket.socket(socket.AF_PACKET)",
}


def confined(*command: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "tests.docker.sandbox", str(UNIT), *command)


@pytest.mark.parametrize("what", FORBIDDEN)
def test_sandbox_is_one(what: str) -> None:
    command = confined(sys.executable, "-c", FORBIDDEN[what])
    ended = run_program(command, environment={"PATH": "/usr/bin:/bin"}, timeout_s=60, folder=REPOSITORY)
    assert (ended.code, "Operation not permitted" in ended.errors) == (1, True), ended


@pytest.mark.parametrize("kind", compose_kinds())
def test_project_is_resolved_in_the_sandbox_of_the_daemon(kind: ComposeKind, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services:\n  web:\n    image: web:${TAG}\n")
    (tmp_path / ".env").write_text("TAG=7\n")
    cli = ComposeCli.find(compose_environment(kind, tmp_path / "programs"))
    environment = {**cli.environment, "PATH": f"{cli.environment['PATH']}:/usr/bin:/bin"}
    environment["PYTHONPATH"] = str(REPOSITORY)
    inside = ComposeCli(confined(*cli.command), cli.version, environment)
    files = ComposeFiles("site", (tmp_path / "compose.yaml",))
    assert resolve(inside, files) == resolve(cli, files)
