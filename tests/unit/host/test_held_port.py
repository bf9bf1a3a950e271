"""Starting Docker again: only the one that systemd runs, and told in a sentence where it did not work."""

from pathlib import Path

import pytest

from caissond.errors import DockerError
from caissond.host import held_port
from caissond.host.docker import Docker
from caissond.host.held_port import is_docker_of_systemd, restart_docker


@pytest.mark.parametrize(
    ("environment", "is_it"),
    [
        ({}, True),
        ({"DOCKER_HOST": "unix:///run/docker.sock"}, True),
        ({"DOCKER_HOST": "unix:///run/user/1000/docker.sock"}, False),
        ({"DOCKER_HOST": "tcp://10.0.0.1:2375"}, False),
    ],
)
def test_only_the_engine_at_the_usual_socket_is_systemds(environment: dict[str, str], is_it: bool) -> None:
    assert is_docker_of_systemd(Docker(timeout_s=1, load_stall_s=1, environment=environment)) is is_it


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a systemctl of our own writes down what it is asked."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    _systemctl(tmp_path, 'echo "$*" >>"${0%/*}/said"')
    return tmp_path / "said"


def _systemctl(folder: Path, text: str) -> None:
    program = folder / "systemctl"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)


def test_docker_is_started_again_by_systemd(said: Path) -> None:
    restart_docker()
    assert said.read_text() == "--no-ask-password --job-mode=ignore-dependencies restart docker.service\n"


def test_what_systemd_says_is_told(said: Path) -> None:
    _systemctl(said.parent, 'echo "Unit docker.service not found." >&2; exit 5')
    with pytest.raises(DockerError, match=r"^cannot start Docker again: Unit docker.service not found.$"):
        restart_docker()


def test_restart_that_takes_too_long_is_told(said: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_port, "RESTART_S", 0.2)
    _systemctl(said.parent, "sleep 60")
    with pytest.raises(DockerError, match="it took too long"):
        restart_docker()


def test_device_without_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DockerError, match="systemctl: No such file"):
        restart_docker()
