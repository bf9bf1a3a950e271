"""The seam strikes in a process that knows nothing of it, and before the change is made."""

import subprocess
import sys
from pathlib import Path

import pytest

from caissond.store.database import Database
from tests.matrix.points import STRUCK
from tests.matrix.strikes import Strike

PROGRAM = """
import sys
from pathlib import Path
from caissond.store.database import Database
from tests.matrix.points import Point
from tests.matrix.seam import EventLog, Seam
from tests.matrix.strikes import Strike

folder, log, point, strike = Path(sys.argv[1]), Path(sys.argv[2]), Point.parse(sys.argv[3]), Strike(sys.argv[4])
database = Database(folder / "state.db")
seam = Seam(EventLog(log), folder, point, strike)
seam.install()
seam.watch(database)
for text in ("one", "two"):
    database.execute("INSERT INTO hold VALUES(?, ?)", (text, "1.0.0"))
    try:
        (folder / text).mkdir()
    except OSError as exc:
        print(exc.strerror)
"""


def _run(folder: Path, point: str, strike: Strike) -> tuple[int, str, list[str]]:
    state, log = folder / "state", folder / "events"
    state.mkdir()
    command = [sys.executable, "-c", PROGRAM, str(state), str(log), point, strike]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.stderr
    return done.returncode, done.stdout, log.read_text().splitlines()


def test_process_is_killed_before_the_commit_is_done(tmp_path: Path) -> None:
    status, _, events = _run(tmp_path, "before commit INSERT hold #2", Strike.KILL)
    assert (status, events) == (
        -9,
        ["commit INSERT hold", "file os.mkdir one", f"{STRUCK}commit INSERT hold"],
    )
    assert _rows(tmp_path) == ["one"]


def test_process_is_killed_before_a_folder_is_made(tmp_path: Path) -> None:
    status, _, _ = _run(tmp_path, "before file os.mkdir one #1", Strike.KILL)
    assert (status, _rows(tmp_path), (tmp_path / "state/one").exists()) == (-9, ["one"], False)


@pytest.mark.parametrize(
    ("strike", "words"),
    [
        (Strike.NO_SPACE, "No space left on device\n"),
        (Strike.IO_ERROR, "Input/output error\n"),
        (Strike.READ_ONLY, "Read-only file system\n"),
    ],
)
def test_change_of_a_file_fails_as_the_disk_would_let_it(tmp_path: Path, strike: Strike, words: str) -> None:
    status, said, _ = _run(tmp_path, "before file os.mkdir two #1", strike)
    assert (status, said, (tmp_path / "state/two").exists()) == (0, words, False)


def _rows(folder: Path) -> list[str]:
    database = Database.read_only(folder / "state/state.db")
    with database.read() as connection:
        rows = [str(row[0]) for row in connection.execute("SELECT service FROM hold ORDER BY service")]
    database.close()
    return rows
