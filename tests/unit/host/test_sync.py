"""Docker's data root is written to its disk, or it is said that it was not."""

from pathlib import Path

import pytest

from caissond.errors import DockerError
from caissond.host.sync import folders_to_sync, sync_filesystem


def test_folder_s_disk_is_written(tmp_path: Path) -> None:
    beats: list[None] = []
    sync_filesystem(tmp_path, deadline_s=600, beat=lambda: beats.append(None))
    assert len(beats) <= 600


@pytest.mark.parametrize(
    ("name", "reason"), [("gone", "No such file or directory"), ("file", "Not a directory")]
)
def test_folder_that_is_not_there_is_not_synced(tmp_path: Path, name: str, reason: str) -> None:
    def beat() -> None:
        pass

    (tmp_path / "file").touch()
    with pytest.raises(DockerError, match=f"cannot sync .*{name}: {reason}") as failed:
        sync_filesystem(tmp_path / name, deadline_s=60, beat=beat)
    assert failed.value.code == "docker.sync_failed"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder of another file system."""
    other = Path("/dev/shm")
    assert other.stat().st_dev != tmp_path.stat().st_dev
    return other


def test_each_file_system_below_the_data_root_is_written_once(tmp_path: Path, elsewhere: Path) -> None:
    for name in ("containers", "image"):
        (tmp_path / name).mkdir()
    assert folders_to_sync(tmp_path, tmp_path / "containers") == (tmp_path,)
    (tmp_path / "overlay2").symlink_to(elsewhere)
    (tmp_path / "volumes").symlink_to(elsewhere)
    assert folders_to_sync(tmp_path) == (tmp_path, tmp_path / "overlay2")


def test_containerd_s_own_file_system_is_written_where_there_is_one(tmp_path: Path, elsewhere: Path) -> None:
    assert folders_to_sync(tmp_path, elsewhere) == (tmp_path, elsewhere)
    assert folders_to_sync(tmp_path, elsewhere / "nowhere") == (tmp_path,)
