"""A root with nothing but a catalog."""

from pathlib import Path

import pytest

from tests.unit.cli.command import CATALOG, NOWHERE, Command


@pytest.fixture
def caisson(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("DOCKER_HOST", NOWHERE)
    root = tmp_path / "root"
    (root / "etc/caisson").mkdir(parents=True)
    (root / "etc/caisson/services.toml").write_text(CATALOG)
    return Command(root, capsys)
