"""Every path hangs below one root, so that several Caissons live side by side."""

from dataclasses import asdict
from pathlib import Path

import pytest

from caissond.model.paths import Paths

PROPERTIES = ("inbox", "work", "receipts", "database", "lock", "daemon_lock", "media", "status")


def test_paths_of_a_device_are_where_they_are_said_to_be() -> None:
    paths = Paths.below()
    assert paths.config == Path("/etc/caisson/caissond.toml")
    assert paths.services == Path("/etc/caisson/services.toml")
    assert paths.inbox == Path("/var/lib/caisson/inbox")
    assert paths.database == Path("/var/lib/caisson/state.db")
    assert paths.status == Path("/run/caisson/status.json")
    assert paths.media == Path("/run/caisson/media")


def test_everything_is_below_another_root(tmp_path: Path) -> None:
    paths = Paths.below(tmp_path)
    below = [*asdict(paths).values(), *(getattr(paths, name) for name in PROPERTIES)]
    assert all(tmp_path in path.parents for path in below if isinstance(path, Path))
    assert len(set(below)) == len(below)


def test_what_is_named_besides_overrides_the_root(tmp_path: Path) -> None:
    paths = Paths.below(tmp_path, services=Path("/srv/services.toml"), state_dir=Path("/srv/state"))
    assert (paths.services, paths.lock) == (Path("/srv/services.toml"), Path("/srv/state/lock"))
    assert paths.work == Path("/srv/state/work")
    assert paths.config == tmp_path / "etc/caisson/caissond.toml"


def test_relative_paths_are_taken_from_where_we_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Paths.below(Path("root"), config=Path("mine.toml")).config == tmp_path / "mine.toml"
    assert Paths.below(Path("root")).state_dir == tmp_path / "root/var/lib/caisson"
