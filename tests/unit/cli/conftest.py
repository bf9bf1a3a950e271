"""A root with nothing but a catalog."""

from pathlib import Path

import pytest

from tests.unit.cli.command import CATALOG, NOWHERE, Command
from tests.unit.cli.release import fill_folder


@pytest.fixture
def caisson(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("DOCKER_HOST", NOWHERE)
    root = tmp_path / "root"
    (root / "etc/caisson").mkdir(parents=True)
    (root / "etc/caisson/services.toml").write_text(CATALOG)
    return Command(root, capsys)


@pytest.fixture
def folder(caisson: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The release engineer's, on a machine whose surroundings say nothing."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    return fill_folder(tmp_path, caisson.root)
