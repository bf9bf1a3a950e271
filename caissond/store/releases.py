"""What is known of releases: which one a service runs, which failed here, how often one was tried, what was handled."""

from dataclasses import dataclass
from datetime import datetime

from caissond.model.ids import UpdateId
from caissond.model.records import Installed, Outcome, Release
from caissond.store.database import Database


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A release that failed here and is not tried again."""

    service: str
    version: str
    digest: str
    code: str
    update_id: UpdateId
    at: datetime


class Releases:
    """Installed, quarantined, attempted and handled, in the database. All writes are durable when they return and
    raise StoreError when they could not be done.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def installed(self, service: str) -> Installed | None:
        """What the last commit of this service brought; None before the first."""
        with self._database.read() as connection:
            row = connection.execute("SELECT body FROM service WHERE name = ?", (service,)).fetchone()
        return Installed.model_validate_json(row[0]) if row else None

    def save_installed(self, installed: Installed) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO service VALUES(?, ?)",
            (installed.release.service, installed.model_dump_json()),
        )

    def forget_installed(self, service: str) -> None:
        self._database.execute("DELETE FROM service WHERE name = ?", (service,))

    def all_installed(self) -> tuple[Installed, ...]:
        with self._database.read() as connection:
            rows = connection.execute("SELECT body FROM service ORDER BY name").fetchall()
        return tuple(Installed.model_validate_json(body) for (body,) in rows)

    def quarantine(self, release: Release, *, code: str, update_id: UpdateId, at: datetime) -> None:
        """Never try this release again on its own."""
        self._database.execute(
            "INSERT OR REPLACE INTO quarantine VALUES(?, ?, ?, ?, ?, ?)",
            (*_key(release), code, update_id, at.isoformat()),
        )

    def quarantined(self, release: Release) -> Quarantined | None:
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT * FROM quarantine WHERE service = ? AND version = ? AND digest = ?", _key(release)
            ).fetchone()
        if row is None:
            return None
        service, version, digest, code, update_id, at = row
        return Quarantined(service, version, digest, code, UpdateId(update_id), datetime.fromisoformat(at))

    def attempts(self, release: Release) -> int:
        """How often an update to this release was begun without coming to a verdict."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT count FROM attempt WHERE service = ? AND version = ? AND digest = ?", _key(release)
            ).fetchone()
        return int(row[0]) if row else 0

    def count_attempt(self, release: Release) -> None:
        self._database.execute(
            "INSERT INTO attempt VALUES(?, ?, ?, 1) ON CONFLICT DO UPDATE SET count = count + 1",
            _key(release),
        )

    def clear_attempts(self, release: Release) -> None:
        self._database.execute(
            "DELETE FROM attempt WHERE service = ? AND version = ? AND digest = ?", _key(release)
        )

    def remember_handled(self, sha256: str, *, terms: str, fingerprint: str, outcome: Outcome) -> None:
        """A package that lies on a medium had its turn.

        Args:
            sha256: of the whole file.
            terms: the catalog and trust settings it was judged by; under other terms it gets another turn.
            fingerprint: of its size and manifest, cheap to find again.
        """
        self._database.execute(
            "INSERT OR REPLACE INTO handled VALUES(?, ?, ?, ?)",
            (sha256, terms, fingerprint, outcome.value),
        )

    def maybe_handled(self, fingerprint: str, *, terms: str) -> bool:
        """Whether a package with this fingerprint had its turn: worth hashing the file for."""
        with self._database.read() as connection:
            query = "SELECT 1 FROM handled WHERE fingerprint = ? AND terms = ? LIMIT 1"
            return connection.execute(query, (fingerprint, terms)).fetchone() is not None

    def handled(self, sha256: str, *, terms: str) -> bool:
        with self._database.read() as connection:
            query = "SELECT 1 FROM handled WHERE sha256 = ? AND terms = ?"
            return connection.execute(query, (sha256, terms)).fetchone() is not None


def _key(release: Release) -> tuple[str, str, str]:
    return release.service, release.version, release.digest
