"""The records of running updates: written before a step's handler runs and again after it.

The large part of a record never changes and is written once; a step writes only its statuses.
"""

import json
from typing import Any

from caissond.model.records import Record
from caissond.store.database import Database

_MOVING = {"statuses", "failure", "stuck"}


class Journal:
    """Running updates in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, record: Record) -> None:
        """Write a new record down. Durable when it returns.

        Raises:
            StoreError: it is not written.
        """
        with self._database.write() as connection:
            connection.execute(
                "INSERT INTO running VALUES(?, ?, ?)",
                (record.update_id, record.model_dump_json(exclude=_MOVING), _moving(record)),
            )

    def save(self, record: Record) -> None:
        """Write down how far a record has come. Durable when it returns.

        Raises:
            StoreError: it is not written.
        """
        statement = "UPDATE running SET moving = ? WHERE update_id = ?"
        self._database.execute(statement, (_moving(record), record.update_id))

    def unfinished(self) -> tuple[Record, ...]:
        """The records that were begun and not closed, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute("SELECT fixed, moving FROM running ORDER BY rowid").fetchall()
        return tuple(_record(fixed, moving) for fixed, moving in rows)


def _moving(record: Record) -> str:
    return record.model_dump_json(include=_MOVING)


def _record(fixed: str, moving: str) -> Record:
    document: dict[str, Any] = {**json.loads(fixed), **json.loads(moving)}
    return Record.model_validate(document)
