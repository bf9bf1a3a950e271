"""Opening a device to look at it: nothing is made on the disk, and settings need not be right to read a history."""

from collections.abc import Iterator
from contextlib import contextmanager

from caissond.cli.session import Session
from caissond.model.catalog import Service
from caissond.model.records import Installed, Verdict
from caissond.report.bus import Bus
from caissond.store.database import Database
from caissond.store.history import History
from caissond.update.device import Device
from caissond.wiring import look_at_device


@contextmanager
def device_to_look_at(session: Session) -> Iterator[Device]:
    """Settings, catalog and state, for looking only.

    Raises:
        ConfigError: settings or catalog.
        StoreError: the state database.
    """
    device = look_at_device(session.paths, Bus())
    try:
        yield device
    finally:
        device.database.close()


@contextmanager
def history_to_look_at(session: Session) -> Iterator[History]:
    """The history alone.

    Raises:
        StoreError: the state database.
    """
    database = Database.read_only(session.paths.database)
    try:
        yield History(database)
    finally:
        database.close()


def active_image(service: Service, installed: Installed | None) -> str:
    """The image that the service runs, as far as Caisson knows."""
    if installed is not None:
        return installed.release.reference
    return service.docker.image_reference if service.docker else "not recorded yet"


def last_update(device: Device, service: str) -> Verdict | None:
    """The newest update of a service that was begun: not what was refused or passed over."""
    begun = ("succeeded", "failed", "rolled_back", "rollback_failed")
    verdicts = device.history.newest(service=service, limit=50)
    return next((verdict for verdict in verdicts if verdict.outcome in begun), None)
