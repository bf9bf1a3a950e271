"""The SQLite file: opening, migrating, durable transactions, and what happens when it is lost, damaged or full.

Every transaction is on the disk when it returns (`synchronous=FULL`). A damaged file is moved aside, never deleted.
Some space is held in reserve, so that a full disk does not stop an undo from being written down.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import StrEnum
from functools import partial
from pathlib import Path

from caissond.errors import CaissonError, StoreError, StoreFull

RESERVE_BYTES = 512 * 1024
_LOCK_WAIT_S = 10
_LITTLE_BYTES = 64 * 1024
_MAYBE_FULL = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)

_MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL);
    INSERT INTO meta VALUES('origin', 'new');
    CREATE TABLE running(update_id TEXT PRIMARY KEY, fixed TEXT NOT NULL, moving TEXT NOT NULL);
    CREATE TABLE history(
        seq INTEGER PRIMARY KEY AUTOINCREMENT, update_id TEXT NOT NULL UNIQUE, body TEXT NOT NULL);
    CREATE TABLE part(
        update_id TEXT NOT NULL, service TEXT NOT NULL, PRIMARY KEY(update_id, service)) WITHOUT ROWID;
    CREATE INDEX part_service ON part(service);
    CREATE TABLE audit(
        seq INTEGER PRIMARY KEY AUTOINCREMENT, update_id TEXT NOT NULL, at TEXT NOT NULL,
        kind TEXT NOT NULL, message TEXT NOT NULL, hash TEXT NOT NULL);
    CREATE INDEX audit_update ON audit(update_id);
    CREATE TABLE service(name TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE attempt(
        service TEXT NOT NULL, version TEXT NOT NULL, digest TEXT NOT NULL, count INTEGER NOT NULL,
        PRIMARY KEY(service, version, digest)) WITHOUT ROWID;
    CREATE TABLE quarantine(
        service TEXT NOT NULL, version TEXT NOT NULL, digest TEXT NOT NULL,
        code TEXT NOT NULL, update_id TEXT NOT NULL, at TEXT NOT NULL,
        PRIMARY KEY(service, version, digest)) WITHOUT ROWID;
    CREATE TABLE handled(
        sha256 TEXT NOT NULL, terms TEXT NOT NULL, fingerprint TEXT NOT NULL, outcome TEXT NOT NULL,
        PRIMARY KEY(sha256, terms)) WITHOUT ROWID;
    CREATE INDEX handled_fingerprint ON handled(fingerprint, terms);
    """,
    """
    CREATE TABLE downgrade(
        service TEXT NOT NULL, version TEXT NOT NULL, digest TEXT NOT NULL,
        PRIMARY KEY(service, version, digest)) WITHOUT ROWID;
    CREATE TABLE hold(service TEXT PRIMARY KEY, version TEXT NOT NULL) WITHOUT ROWID;
    DROP TABLE handled;
    CREATE TABLE handled(
        identity TEXT NOT NULL, terms TEXT NOT NULL, sha256 TEXT NOT NULL, outcome TEXT NOT NULL,
        PRIMARY KEY(identity, terms, sha256)) WITHOUT ROWID;
    """,
    """
    CREATE TABLE sighting(
        service TEXT NOT NULL, version TEXT NOT NULL, digest TEXT NOT NULL,
        at_s INTEGER NOT NULL, approved INTEGER NOT NULL,
        PRIMARY KEY(service, version, digest)) WITHOUT ROWID;
    """,
)


class Origin(StrEnum):
    """How the database came to be. It stands in the database until what was lost has been made anew, so that a
    restart in between does not take an empty one for a full one.
    """

    KEPT = "kept"
    NEW = "new"
    DAMAGED = "damaged"


class Database:
    """One open state database. Not shared between threads at the same time."""

    def __init__(self, path: Path, *, may_replace: bool = True) -> None:
        """Open or make the database.

        Args:
            may_replace: move a damaged file aside; only for who holds the lock, nobody else may be using it.

        Raises:
            StoreError: `store.too_new`, `store.failed`; `store.full` as StoreFull.
        """
        self.path = path
        self._reserve = path.with_suffix(".reserve")
        self.moved_to: Path | None = None
        with _translated(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = self._open_with_reserve(may_replace=may_replace)
            self._hold_reserve()

    @classmethod
    def read_only(cls, path: Path) -> "Database":
        """For looking: an existing file as it is, and an empty database in memory where there is none. Nothing is
        made on the disk.

        Raises:
            StoreError: `store.failed`.
        """
        database = cls.__new__(cls)
        database.path, database._reserve = path, path.with_suffix(".reserve")
        database.moved_to = None
        with _translated(path):
            exists = path.exists()
            database._connection = _connect(f"{path.as_uri()}?mode=rw" if exists else ":memory:")
            if not exists:
                _migrate(database._connection)
        return database

    @property
    def origin(self) -> Origin:
        with self.read() as connection:
            (value,) = connection.execute("SELECT value FROM meta WHERE key = 'origin'").fetchone()
        return Origin(value)

    def mark_kept(self) -> None:
        """What was lost has been made anew.

        Raises:
            StoreError: it is not written.
        """
        self.transact(lambda connection: _set_origin(connection, Origin.KEPT))

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is on the disk when the block has ended, or did not happen.

        Raises:
            StoreFull: `store.full`.
            StoreError: `store.failed`.
        """
        with _translated(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.commit()
            except BaseException:
                with suppress(sqlite3.Error):
                    self._connection.rollback()
                raise

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """The connection, for queries.

        Raises:
            StoreError: `store.failed`.
        """
        with _translated(self.path):
            yield self._connection

    def transact(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """Do `work` in a durable transaction; on a full disk once more, after giving the reserve up.

        Raises:
            StoreFull: `store.full`, the reserve is used up too.
            StoreError: `store.failed`.
        """
        try:
            with self.write() as connection:
                work(connection)
        except StoreFull:
            if not self._release_reserve():
                raise
            with self.write() as connection:
                work(connection)

    def execute(self, statement: str, values: Sequence[str | int]) -> None:
        """One statement as a transaction of its own, like `transact`."""
        self.transact(lambda connection: _discard(connection.execute(statement, values)))

    def _release_reserve(self) -> bool:
        with suppress(OSError):
            self._reserve.unlink()
            return True
        return False

    def _hold_reserve(self) -> None:
        try:
            descriptor = os.open(self._reserve, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
            finally:
                os.close(descriptor)
        except OSError:  # a disk as full as that has no reserve to hold; what was taken of it is given back
            self._release_reserve()

    def _open_with_reserve(self, *, may_replace: bool) -> sqlite3.Connection:
        """Opening takes some space too (the -shm file): on a full disk, that of the reserve."""
        attempt = self._open_or_replace if may_replace else partial(_open, self.path)
        try:
            return attempt()
        except sqlite3.Error as exc:
            if not _is_full(exc, self.path) or not self._release_reserve():
                raise
        return attempt()

    def _open_or_replace(self) -> sqlite3.Connection:
        try:
            return _open(self.path)
        except sqlite3.DatabaseError as exc:
            if isinstance(exc, sqlite3.OperationalError) and not _is_damage(exc):
                raise
        self.moved_to = _move_aside(self.path)
        connection = _open(self.path)
        connection.execute("BEGIN IMMEDIATE")
        _set_origin(connection, Origin.DAMAGED)
        connection.commit()
        return connection


def _discard(_cursor: sqlite3.Cursor) -> None:
    """Nothing is read from it."""


def _connect(name: str) -> sqlite3.Connection:
    return sqlite3.connect(
        name, uri=True, timeout=_LOCK_WAIT_S, isolation_level=None, check_same_thread=False
    )


def _open(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    connection = _connect(path.as_uri())
    try:
        _use_wal(connection)
        connection.execute("PRAGMA synchronous=FULL")
        (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if answer != "ok":
            raise sqlite3.DatabaseError(answer)
        _migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _use_wal(connection: sqlite3.Connection) -> None:
    """Two processes that switch the same new file at once: SQLite turns one away without waiting."""
    give_up_at = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > give_up_at:
                raise
        time.sleep(0.02)


def _set_origin(connection: sqlite3.Connection, origin: Origin) -> None:
    connection.execute("UPDATE meta SET value = ? WHERE key = 'origin'", (origin.value,))


def _migrate(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(_MIGRATIONS):
        text = f"cannot use a state database of version {version}, this build knows {len(_MIGRATIONS)}"
        raise StoreError(text, code="store.too_new")
    for script in _MIGRATIONS[version:]:
        for statement in script.split(";"):
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version={len(_MIGRATIONS)}")
    connection.commit()


def _move_aside(path: Path) -> Path:
    number = 1
    while (target := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    path.rename(target)
    for suffix in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(target.with_name(target.name + suffix))
    return target


def _is_full(exc: sqlite3.Error, path: Path) -> bool:
    """Where the -shm file does not fit, SQLite speaks of an I/O error."""
    kind = getattr(exc, "sqlite_errorcode", 0) & 0xFF
    return kind == sqlite3.SQLITE_FULL or (kind in _MAYBE_FULL and _free_bytes(path) < _LITTLE_BYTES)


def _free_bytes(path: Path) -> int:
    try:
        file_system = os.statvfs(path.parent)
    except OSError:  # no such folder is no full disk
        return _LITTLE_BYTES
    return file_system.f_bavail * file_system.f_frsize


def _is_damage(exc: sqlite3.Error) -> bool:
    damaged = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    return hasattr(exc, "sqlite_errorcode") and exc.sqlite_errorcode & 0xFF in damaged


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except CaissonError:
        raise
    except sqlite3.Error as exc:
        if _is_full(exc, path):
            raise StoreFull(f"cannot write {path}: no space is left", code="store.full") from exc
        raise StoreError(f"cannot use {path}: {exc}", code="store.failed") from exc
    except OSError as exc:
        raise StoreError(f"cannot use {path}: {exc.strerror}", code="store.failed") from exc
