"""Docker's data root is written to its disk, or it is said that it was not."""

from pathlib import Path

import pytest

from caissond.errors import DockerError
from caissond.host.sync import sync_filesystem


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
