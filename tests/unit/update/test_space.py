"""Room for an image: folders, file systems and what is always left."""

import os
from pathlib import Path

import pytest

from caissond.errors import Refusal
from caissond.update.space import SPARE_BYTES, check_space


def free_bytes(folder: Path) -> int:
    file_system = os.statvfs(folder)
    return file_system.f_bavail * file_system.f_frsize


def test_space_that_is_there_is_enough(tmp_path: Path) -> None:
    check_space(((tmp_path, 1000), (tmp_path / "not here", 1 << 60)))


def test_folders_on_one_disk_share_its_space(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    half = free_bytes(tmp_path) // 2 + SPARE_BYTES
    check_space(((tmp_path, half),))
    with pytest.raises(Refusal, match=r"has \d+ MiB free, \d+ MiB are needed") as refused:
        check_space(((tmp_path, half), (tmp_path / "other", half)))
    assert refused.value.code == "host.disk_full"


def test_some_space_is_always_left(tmp_path: Path) -> None:
    with pytest.raises(Refusal):
        check_space(((tmp_path, free_bytes(tmp_path) - SPARE_BYTES // 2),))
