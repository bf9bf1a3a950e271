"""What is known of releases: which one a service runs, which failed here, how often one was tried, what was handled."""

from dataclasses import dataclass
from datetime import UTC, datetime

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

    def all_quarantined(self) -> tuple[Quarantined, ...]:
        """In the order of services and versions."""
        with self._database.read() as connection:
            rows = connection.execute("SELECT * FROM quarantine ORDER BY service, version").fetchall()
        return tuple(_quarantined(row) for row in rows)

    def clear_quarantine(self, service: str | None = None, version: str | None = None) -> int:
        """Give releases another chance; all of them, or a service's, or one. Returns how many there were."""
        chosen = [
            one
            for one in self.all_quarantined()
            if service in (None, one.service) and version in (None, one.version)
        ]
        for one in chosen:
            self._database.execute(
                "DELETE FROM quarantine WHERE service = ? AND version = ? AND digest = ?",
                (one.service, one.version, one.digest),
            )
        self.forget_handled()
        return len(chosen)

    def quarantined(self, release: Release) -> Quarantined | None:
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT * FROM quarantine WHERE service = ? AND version = ? AND digest = ?", _key(release)
            ).fetchone()
        return _quarantined(row) if row else None

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

    def forgive_attempt(self, service: str, version: str, digest: str) -> None:
        """The last one was nobody's fault."""
        self._database.execute(
            "UPDATE attempt SET count = count - 1 WHERE service = ? AND version = ? AND digest = ? AND count > 0",
            (service, version, digest),
        )

    def clear_attempts(self, release: Release) -> None:
        self._database.execute(
            "DELETE FROM attempt WHERE service = ? AND version = ? AND digest = ?", _key(release)
        )

    def use_downgrade(self, release: Release) -> None:
        """The package's leave to go back to this release is used up."""
        self._database.execute("INSERT OR IGNORE INTO downgrade VALUES(?, ?, ?)", _key(release))

    def downgrade_used(self, release: Release) -> bool:
        with self._database.read() as connection:
            query = "SELECT 1 FROM downgrade WHERE service = ? AND version = ? AND digest = ?"
            return connection.execute(query, _key(release)).fetchone() is not None

    def hold(self, service: str, version: str) -> None:
        """Somebody went back from this version: neither it nor an older one comes in by itself."""
        self._database.execute("INSERT OR REPLACE INTO hold VALUES(?, ?)", (service, version))

    def held(self, service: str) -> str | None:
        """The version that somebody went back from; None when nothing is held."""
        with self._database.read() as connection:
            row = connection.execute("SELECT version FROM hold WHERE service = ?", (service,)).fetchone()
        return str(row[0]) if row else None

    def lift_hold(self, service: str) -> None:
        """What was held may come in again, from media too."""
        if self.held(service) is None:
            return
        self.forget_handled()
        self._database.execute("DELETE FROM hold WHERE service = ?", (service,))

    def time_floor(self) -> datetime | None:
        """No clock that says an earlier time is believed; None before the first commit."""
        with self._database.read() as connection:
            row = connection.execute("SELECT value FROM meta WHERE key = 'time_floor'").fetchone()
        return datetime.fromisoformat(row[0]) if row else None

    def save_time_floor(self, floor: datetime) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO meta VALUES('time_floor', ?)", (floor.astimezone(UTC).isoformat(),)
        )

    def reset_time_floor(self) -> None:
        """Forget it; the build date still holds."""
        self.forget_handled()
        self._database.execute("DELETE FROM meta WHERE key = ?", ("time_floor",))

    def remember_handled(self, identity: str, *, terms: str, sha256: str, outcome: Outcome) -> None:
        """A package that lies on a medium had its turn.

        Args:
            identity: what tells it from others without reading all of it.
            terms: what it was judged by; under others it gets another turn, and what others said is forgotten.
            sha256: of the whole file, where only this very file is meant; else empty.
        """
        self._database.execute("DELETE FROM handled WHERE terms <> ?", (terms,))
        self._database.execute(
            "INSERT OR REPLACE INTO handled VALUES(?, ?, ?, ?)", (identity, terms, sha256, outcome.value)
        )

    def forget_handled(self) -> None:
        """What lies on media gets another turn: what it was judged by is not so any more."""
        self._database.execute("DELETE FROM handled", ())

    def handled(self, identity: str, *, terms: str) -> frozenset[str]:
        """The files with this identity that had their turn, by their SHA-256; an empty one stands for all of them."""
        with self._database.read() as connection:
            query = "SELECT sha256 FROM handled WHERE identity = ? AND terms = ?"
            return frozenset(row[0] for row in connection.execute(query, (identity, terms)))


def _quarantined(row: tuple[str, str, str, str, str, str]) -> Quarantined:
    service, version, digest, code, update_id, at = row
    return Quarantined(service, version, digest, code, UpdateId(update_id), datetime.fromisoformat(at))


def _key(release: Release) -> tuple[str, str, str]:
    return release.service, release.version, release.digest
