"""A state database of its own for each test."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from caissond.store.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A new one; `reopen` its path to see what is on the disk."""
    with closing(Database(tmp_path / "state.db")) as database:
        yield database
