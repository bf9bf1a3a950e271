"""The database outlives crashes, damage, a full disk, and two processes that want it at once."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from caissond.errors import StoreError, StoreFull
from caissond.store.database import RESERVE_BYTES, Database, Origin

PUT = "INSERT OR REPLACE INTO meta VALUES(?, ?)"


def put(database: Database, key: str, value: str = "here") -> None:
    with database.write() as connection:
        connection.execute(PUT, (key, value))


def get(database: Database, key: str) -> str | None:
    with database.read() as connection:
        row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return row[0] if row else None


def seen_by_another(path: Path, key: str) -> str | None:
    with closing(Database.read_only(path)) as other:
        return get(other, key)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a database may be; the state folder is not there yet."""
    return tmp_path / "state/state.db"


# what was written is there


def test_what_was_written_is_there_after_reopening(database: Database) -> None:
    put(database, "key")
    assert seen_by_another(database.path, "key") == "here"
    with closing(Database(database.path)) as again:
        assert get(again, "key") == "here"


def test_what_was_written_survives_a_kill_without_closing(path: Path) -> None:
    code = (
        "import os, pathlib, sys\n"
        "from caissond.store.database import Database\n"
        "database = Database(pathlib.Path(sys.argv[1]))\n"
        "with database.write() as connection:\n"
        f"    connection.execute({PUT!r}, ('key', 'here'))\n"
        "connection.execute('BEGIN')\n"
        f"connection.execute({PUT!r}, ('half', 'here'))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -9
    with closing(Database(path)) as again:
        assert (get(again, "key"), get(again, "half")) == ("here", None)


def test_every_transaction_waits_for_the_disk(database: Database) -> None:
    with database.read() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_failed_transaction_leaves_nothing(database: Database) -> None:
    with suppress(KeyboardInterrupt), database.write() as connection:
        connection.execute(PUT, ("key", "half"))
        raise KeyboardInterrupt
    assert get(database, "key") is None
    put(database, "key")


def test_error_of_the_database_is_a_store_error(database: Database) -> None:
    problem = r"cannot use .*state.db: no such table: nowhere"
    with pytest.raises(StoreError, match=problem) as failed, database.read() as connection:
        connection.execute("SELECT * FROM nowhere")
    assert failed.value.code == "store.failed"


def test_only_its_owner_may_read_it(database: Database) -> None:
    put(database, "secret")
    kept = {file.name: oct(file.stat().st_mode & 0o777) for file in database.path.parent.iterdir()}
    assert kept.keys() >= {"state.db", "state.reserve"}
    assert set(kept.values()) == {"0o600"}


def test_folder_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot use") as failed:
        Database(tmp_path / "file/state.db")
    assert failed.value.code == "store.failed"


# new, kept, damaged


def test_new_database_is_new_until_the_state_was_made_anew(path: Path) -> None:
    with closing(Database(path)) as database:
        assert database.origin is Origin.NEW
    with closing(Database(path)) as after_a_crash:
        assert after_a_crash.origin is Origin.NEW
        after_a_crash.mark_kept()
    with closing(Database(path)) as later:
        assert later.origin is Origin.KEPT
        assert later.moved_to is None


def overwrite(path: Path, content: bytes) -> None:
    for suffix in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).unlink()
    path.write_bytes(content)


@pytest.fixture
def damaged(path: Path) -> Path:
    """A database with a table whose pages are gone."""
    with closing(Database(path)) as database:
        for number in range(200):
            put(database, f"key {number}", "x" * 200)
    content = path.read_bytes()
    overwrite(path, content[:4096] + b"\xa5" * (len(content) - 4096))
    return path


def test_damaged_file_is_moved_aside_and_a_new_one_made(damaged: Path) -> None:
    content = damaged.read_bytes()
    with closing(Database(damaged)) as database:
        assert database.origin is Origin.DAMAGED
        assert database.moved_to == damaged.with_name("state.db.damaged-1")
        assert database.moved_to.read_bytes() == content
        put(database, "key")
    with closing(Database(damaged)) as again:
        assert again.origin is Origin.DAMAGED


def test_file_that_is_no_database_is_moved_aside(path: Path) -> None:
    path.parent.mkdir()
    for number in (1, 2):
        overwrite(path, b"not a database at all, but longer than its header is" * 100)
        with closing(Database(path)) as database:
            assert database.moved_to == path.with_name(f"state.db.damaged-{number}")


def test_damaged_file_stays_where_it_is_for_who_may_not_replace_it(damaged: Path) -> None:
    content = damaged.read_bytes()
    with pytest.raises(StoreError, match="cannot use") as failed:
        Database(damaged, may_replace=False)
    assert failed.value.code == "store.failed"
    assert damaged.read_bytes() == content


def test_database_of_a_newer_version_is_left_alone(path: Path) -> None:
    with closing(Database(path)) as database, database.write() as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="version 99, this build knows 3") as refused:
        Database(path)
    assert refused.value.code == "store.too_new"
    assert not list(path.parent.glob("*.damaged-*"))


# looking only


def test_looking_at_what_is_not_there_makes_nothing(tmp_path: Path) -> None:
    with closing(Database.read_only(tmp_path / "state/state.db")) as database:
        assert get(database, "key") is None
    assert list(tmp_path.iterdir()) == []


def test_looking_leaves_the_folder_as_it_was(path: Path) -> None:
    with closing(Database(path)) as database:
        put(database, "key")
    (path.parent / "state.reserve").unlink()
    before = sorted(path.parent.iterdir())
    assert seen_by_another(path, "key") == "here"
    assert sorted(path.parent.iterdir()) == before


def test_looking_at_a_damaged_file_is_a_store_error(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"no database" * 1000)
    with closing(Database.read_only(path)) as database, pytest.raises(StoreError, match="not a database"):
        get(database, "key")


# two at once


def test_two_processes_may_open_a_new_one_at_the_same_time(path: Path) -> None:
    code = (
        "import pathlib, sys\n"
        "from caissond.store.database import Database\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
        "database = Database(pathlib.Path(sys.argv[1]))\n"
        "with database.write() as connection:\n"
        f"    connection.execute({PUT!r}, (sys.argv[2], 'here'))\n"
    )
    waits, starts = os.pipe()  # all of them wait for its end
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(path), f"{number}"], stdin=waits, stdout=subprocess.PIPE
        )
        for number in range(6)
    ]
    os.close(waits)
    try:
        assert [process.stdout.readline() for process in processes if process.stdout] == [b"ready\n"] * 6
    finally:
        os.close(starts)
    for process in processes:
        process.communicate(timeout=120)
    assert [process.returncode for process in processes] == [0] * 6
    assert [seen_by_another(path, str(number)) for number in range(6)] == ["here"] * 6


@contextmanager
def held_elsewhere(path: Path, statements: str) -> Iterator[None]:
    """Another process is in a transaction for half a second."""
    code = (
        "import sqlite3, sys, time\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "for statement in sys.argv[2].split(';'): connection.execute(statement).fetchall()\n"
        "print('held', flush=True)\n"
        "time.sleep(0.5)\n"
        "connection.execute('COMMIT')\n"
    )
    command = [sys.executable, "-c", code, str(path), statements]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        yield


def test_writer_waits_for_another_one(database: Database) -> None:
    with held_elsewhere(database.path, "BEGIN IMMEDIATE"):
        put(database, "key")
    assert get(database, "key") == "here"


@pytest.mark.parametrize("how", ["BEGIN; SELECT * FROM sqlite_master", "BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_opening_waits_for_who_makes_the_database_just_now(path: Path, how: str) -> None:
    path.parent.mkdir()
    path.touch()
    with held_elsewhere(path, how), closing(Database(path)) as database:
        put(database, "key")


# a full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "caisson-test", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> None:
    with (folder / "ballast").open("wb", buffering=0) as ballast, suppress(OSError):
        while True:
            ballast.write(bytes(4096))


def until_full(database: Database) -> None:
    for number in range(1000):
        put(database, f"key {number}", "x" * 4000)


def test_full_disk_is_told_as_such_and_nothing_is_half_written(small_disk: Path) -> None:
    with closing(Database(small_disk / "state.db")) as database:
        put(database, "key", "before")
        fill(small_disk)
        with pytest.raises(StoreFull, match="no space is left") as full:
            until_full(database)
        assert full.value.code == "store.full"
        assert get(database, "key") == "before"


def test_reserve_lets_the_way_back_be_written_on_a_full_disk(small_disk: Path) -> None:
    with closing(Database(small_disk / "state.db")) as database:
        fill(small_disk)
        with pytest.raises(StoreFull):
            until_full(database)
        for number in range(20):
            database.transact(partial(_execute, value=f"{number} undone" + "x" * 1000))
        assert str(get(database, "way back")).startswith("19 undone")
        assert not (small_disk / "state.reserve").exists()


def _execute(connection: sqlite3.Connection, value: str) -> None:
    connection.execute(PUT, ("way back", value))


def test_full_disk_without_a_reserve_is_a_store_error(small_disk: Path) -> None:
    with closing(Database(small_disk / "state.db")) as database:
        (small_disk / "state.reserve").unlink()
        fill(small_disk)
        with pytest.raises(StoreFull):
            until_full(database)
        with pytest.raises(StoreFull):
            database.transact(lambda connection: _execute(connection, "x" * 100_000))


def test_reserve_is_taken_again_when_there_is_space(path: Path) -> None:
    Database(path).close()
    reserve = path.with_suffix(".reserve")
    reserve.write_bytes(b"")  # what a full disk leaves of it
    Database(path).close()
    assert reserve.stat().st_blocks * 512 >= RESERVE_BYTES


def test_new_database_on_a_full_disk_is_a_store_error(small_disk: Path) -> None:
    fill(small_disk)
    with pytest.raises(StoreError) as failed:
        Database(small_disk / "state.db")
    assert failed.value.code == "store.full"


def test_database_on_a_full_disk_can_be_opened_and_its_reserve_used(small_disk: Path) -> None:
    with closing(Database(small_disk / "state.db")) as database:
        put(database, "key")
    fill(small_disk)
    with closing(Database(small_disk / "state.db")) as again:
        again.transact(lambda connection: _execute(connection, "here"))
        assert get(again, "way back") == "here"
