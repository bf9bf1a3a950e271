"""Releases that wait for their time: since when each is known, and which of them somebody let in early.

Time is counted here as the seconds for which the device has been on, over all boots: no clock that is set can change
it. What a power cut takes of the count is what came since it was last saved.
"""

import time
from collections.abc import Callable

from pydantic import BaseModel, ConfigDict

from caissond.model.records import Release
from caissond.store.database import Database

SAVED_EVERY_S = 900
"""Each save is a write to flash."""
_KEY = "SELECT {} FROM sighting WHERE service = ? AND version = ? AND digest = ?"


def boot_clock() -> float:
    """For how long this boot has lasted, in seconds: clock_gettime(2), CLOCK_BOOTTIME."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class _Saved(BaseModel):
    """How long the device had been on, at one moment of one boot."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    total_s: float
    boot_s: float


class Sightings:
    """The table of them. Writes raise StoreError when they could not be done."""

    def __init__(self, database: Database, boot: Callable[[], float] = boot_clock) -> None:
        self._database = database
        self._boot = boot

    def uptime_s(self) -> float:
        """For how long the device has been on, as far as is known. The unit of the daemon hides the kernel's name for
        the boot, so another boot is known by its clock, which began anew: at worst too little is counted.
        """
        saved, boot_s = self._saved(), self._boot()
        if saved is None:
            return boot_s
        return saved.total_s + (boot_s - saved.boot_s if boot_s >= saved.boot_s else boot_s)

    def see(self, release: Release) -> None:
        """It is known from now on, if it was not before."""
        if self._since_s(release) is None:
            self._add(release)

    def known_for_s(self, release: Release) -> float:
        """How long the device has been on since it first saw the release; 0 when it has not."""
        since_s = self._since_s(release)
        return 0.0 if since_s is None else max(0.0, self.uptime_s() - since_s)

    def approve(self, release: Release) -> None:
        """Let it in before its time, once."""
        self.see(release)
        self._database.execute(
            "UPDATE sighting SET approved = 1 WHERE service = ? AND version = ? AND digest = ?", _key(release)
        )

    def is_approved(self, release: Release) -> bool:
        with self._database.read() as connection:
            row = connection.execute(_KEY.format("approved"), _key(release)).fetchone()
        return row is not None and bool(row[0])

    def forget(self, release: Release) -> None:
        """It came to a verdict."""
        if self._since_s(release) is not None:
            self._database.execute(
                "DELETE FROM sighting WHERE service = ? AND version = ? AND digest = ?", _key(release)
            )

    def save_time(self, *, longest_s: float) -> None:
        """Write the count down now and then, while something waits that needs it.

        Args:
            longest_s: no release waits longer.
        """
        now_s, saved = self.uptime_s(), self._saved()
        is_same_boot = saved is not None and self._boot() >= saved.boot_s
        is_fresh = saved is not None and is_same_boot and now_s - saved.total_s < SAVED_EVERY_S
        with self._database.read() as connection:
            (newest,) = connection.execute("SELECT MAX(at_s) FROM sighting").fetchone()
        if newest is not None and not is_fresh and now_s < newest + longest_s:
            self._save(now_s)

    def _add(self, release: Release) -> None:
        now_s = self.uptime_s()
        self._save(now_s)
        self._database.execute(
            "INSERT OR IGNORE INTO sighting VALUES(?, ?, ?, ?, 0)", (*_key(release), int(now_s))
        )

    def _since_s(self, release: Release) -> float | None:
        with self._database.read() as connection:
            row = connection.execute(_KEY.format("at_s"), _key(release)).fetchone()
        return None if row is None else float(row[0])

    def _saved(self) -> _Saved | None:
        with self._database.read() as connection:
            row = connection.execute("SELECT value FROM meta WHERE key = 'uptime'").fetchone()
        return _Saved.model_validate_json(row[0]) if row else None

    def _save(self, total_s: float) -> None:
        saved = _Saved(total_s=total_s, boot_s=self._boot())
        self._database.execute("INSERT OR REPLACE INTO meta VALUES('uptime', ?)", (saved.model_dump_json(),))


def _key(release: Release) -> tuple[str, str, str]:
    return release.service, release.version, release.digest
