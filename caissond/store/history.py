"""What happened: a row for every handled package, and the audit events in a hash chain.

Ordered by a counter, never by the clock, which may say 1970.
"""

import hashlib
import json
import sqlite3
from datetime import datetime

from caissond.errors import StoreError
from caissond.model.ids import UpdateId
from caissond.model.records import AuditEvent, AuditKind, Verdict
from caissond.store.database import Database

_FIRST_HASH = "0" * 64


class History:
    """Verdicts and audit events in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, verdict: Verdict, *, keep_running: bool = False) -> None:
        """Write a verdict down and close its running record, in one transaction. A verdict on the same update that
        was there before is replaced: a stuck rollback may end well later.

        Args:
            keep_running: leave the record open, for another try at settling it.

        Raises:
            StoreError: it is not written.
        """

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO history(update_id, body) VALUES(?, ?) "
                "ON CONFLICT(update_id) DO UPDATE SET body = excluded.body",
                (verdict.update_id, verdict.model_dump_json()),
            )
            for part in verdict.parts:
                connection.execute(
                    "INSERT OR IGNORE INTO part VALUES(?, ?)", (verdict.update_id, part.service)
                )
            if not keep_running:
                connection.execute("DELETE FROM running WHERE update_id = ?", (verdict.update_id,))

        self._database.transact(work)

    def newest(self, *, service: str | None = None, limit: int | None = None) -> tuple[Verdict, ...]:
        """Verdicts, newest first."""
        where = (
            "WHERE update_id IN (SELECT update_id FROM part WHERE service = ?)" if service is not None else ""
        )
        arguments = (*((service,) if service is not None else ()), -1 if limit is None else limit)
        with self._database.read() as connection:
            rows = connection.execute(
                f"SELECT body FROM history {where} ORDER BY seq DESC LIMIT ?", arguments
            ).fetchall()
        return tuple(Verdict.model_validate_json(body) for (body,) in rows)

    def find(self, prefix: str) -> Verdict | None:
        """The verdict whose id begins with `prefix` (as a person types it); None when none or several do."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT body FROM history WHERE substr(update_id, 1, ?) = ? LIMIT 2", (len(prefix), prefix)
            ).fetchall()
        return Verdict.model_validate_json(rows[0][0]) if len(rows) == 1 else None

    def audit(self, update_id: UpdateId, kind: AuditKind, message: str, *, at: datetime) -> None:
        """Append a link to the chain. Durable when it returns.

        Raises:
            StoreError: it is not written.
        """

        def work(connection: sqlite3.Connection) -> None:
            seq, before = _chain_end(connection)
            link = _link(seq + 1, update_id, at.isoformat(), kind, message, before)
            connection.execute(
                "INSERT INTO audit VALUES(?, ?, ?, ?, ?, ?)",
                (seq + 1, update_id, at.isoformat(), kind.value, message, link),
            )

        self._database.transact(work)

    def events(self, update_id: UpdateId) -> tuple[AuditEvent, ...]:
        """The audit events of an update, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT * FROM audit WHERE update_id = ? ORDER BY seq", (update_id,)
            ).fetchall()
        return tuple(_event(row) for row in rows)

    def verify(self) -> int:
        """Check the whole chain and return how many links it has.

        Raises:
            StoreError: `store.audit_broken`, with the first link that does not fit.
        """
        before, expected = _FIRST_HASH, 1
        with self._database.read() as connection:
            for seq, update_id, at, kind, message, link in connection.execute(
                "SELECT * FROM audit ORDER BY seq"
            ):
                if seq != expected or link != _link(seq, update_id, at, kind, message, before):
                    raise _broken(expected)
                before, expected = link, expected + 1
            if _chain_end(connection)[0] != expected - 1:
                raise _broken(expected)
        return expected - 1


def _chain_end(connection: sqlite3.Connection) -> tuple[int, str]:
    """The highest number ever given out (it outlives deleted rows) and the hash at the chain's end."""
    highest = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'audit'").fetchone()
    last = connection.execute("SELECT hash FROM audit ORDER BY seq DESC LIMIT 1").fetchone()
    return (highest[0] if highest else 0), (last[0] if last else _FIRST_HASH)


def _link(seq: int, update_id: str, at: str, kind: str, message: str, before: str) -> str:
    content = json.dumps(
        [seq, update_id, at, str(kind), message, before], ensure_ascii=True, separators=(",", ":")
    )
    return hashlib.sha256(content.encode()).hexdigest()


def _broken(seq: int) -> StoreError:
    return StoreError(
        f"cannot trust the audit chain: event {seq} is missing or changed", code="store.audit_broken"
    )


def _event(row: tuple[int, str, str, str, str, str]) -> AuditEvent:
    seq, update_id, at, kind, message, link = row
    return AuditEvent(
        seq=seq, update_id=UpdateId(update_id), at=datetime.fromisoformat(at), kind=AuditKind(kind),
        message=message, hash=link,
    )  # fmt: skip
