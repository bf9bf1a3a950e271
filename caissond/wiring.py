"""Putting one Caisson together: what the daemon and the command line have in common."""

from pathlib import Path

from caissond.errors import ConfigError, Refusal
from caissond.host.compose import ComposeCli
from caissond.host.docker import Docker
from caissond.host.held_port import is_docker_of_systemd, restart_docker
from caissond.model.catalog import Catalog, parse_catalog
from caissond.model.paths import Paths
from caissond.model.settings import Settings, parse_settings
from caissond.report.bus import Bus
from caissond.store.database import Database
from caissond.store.history import History
from caissond.store.journal import Journal
from caissond.store.releases import Releases
from caissond.update.device import Device

MAX_CONFIG_BYTES = 1024 * 1024


def load_settings(paths: Paths) -> Settings:
    """The settings; the defaults when there is no file, unless somebody named one.

    Raises:
        ConfigError: `settings.*`.
    """
    text = _read(paths.config)
    if text is None and paths.config_is_named:
        raise ConfigError(f"cannot find the settings {paths.config}", code="settings.unreadable")
    return Settings() if text is None else parse_settings(text, source=str(paths.config))


def load_catalog(paths: Paths, bus: Bus | None = None) -> Catalog:
    """The catalog; its unknown keys are told.

    Raises:
        ConfigError: `catalog.*`, `settings.unreadable`.
    """
    text = _read(paths.services)
    if text is None:
        raise ConfigError(f"cannot find the catalog {paths.services}", code="catalog.missing")
    catalog = parse_catalog(text, source=str(paths.services))
    for key in catalog.unknown_keys() if bus else ():
        assert bus is not None
        bus.tell("catalog.unknown_key", f"{paths.services}: nobody reads {key}")
    return catalog


def open_device(paths: Paths, bus: Bus, *, may_replace: bool = True) -> Device:
    """Everything an update works with. Docker is not asked for anything yet.

    Args:
        may_replace: a damaged state database is moved aside and made anew; only for who holds the lock.

    Raises:
        ConfigError: settings or catalog.
        StoreError: the state database.
    """
    settings, catalog = load_settings(paths), load_catalog(paths, bus)
    return _assemble(paths, bus, settings, catalog, Database(paths.database, may_replace=may_replace))


def open_device_whatever_config(paths: Paths, bus: Bus, *, may_replace: bool = True) -> Device:
    """The same for the daemon, which has to settle what was cut off even when settings or catalog have a mistake:
    then with no services, for a mistake in the settings with the defaults, and `config_problem` set.

    Raises:
        StoreError: the state database.
    """
    try:
        return open_device(paths, bus, may_replace=may_replace)
    except ConfigError as exc:
        nothing = Catalog(catalog_version=1, services=())
        database = Database(paths.database, may_replace=may_replace)
        device = _assemble(paths, bus, _settings_or_defaults(paths), nothing, database)
        device.config_problem = exc
        return device


def _settings_or_defaults(paths: Paths) -> Settings:
    try:
        return load_settings(paths)
    except ConfigError:
        return Settings()


def tell_missing_compose(device: Device) -> None:
    """Tell before a package comes that services of the catalog cannot be updated, where Compose is missing."""
    if any(service.compose for service in device.catalog.services):
        try:
            ComposeCli.find(device.docker.environment)
        except Refusal as exc:
            device.bus.tell(exc.code, exc.message)


def look_at_device(paths: Paths, bus: Bus) -> Device:
    """The same for looking only: nothing is made on the disk.

    Raises:
        ConfigError: settings or catalog.
        StoreError: the state database.
    """
    settings, catalog = load_settings(paths), load_catalog(paths, bus)
    return _assemble(paths, bus, settings, catalog, Database.read_only(paths.database))


def _assemble(paths: Paths, bus: Bus, settings: Settings, catalog: Catalog, database: Database) -> Device:
    docker = Docker(timeout_s=settings.docker.timeout_secs, load_stall_s=settings.docker.load_stall_secs)
    return Device(
        paths=paths,
        settings=settings,
        catalog=catalog,
        docker=docker,
        database=database,
        journal=Journal(database),
        history=History(database),
        releases=Releases(database),
        bus=bus,
        restart_docker=restart_docker if is_docker_of_systemd(docker) else None,
    )


def _read(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_CONFIG_BYTES + 1)
        if len(content) > MAX_CONFIG_BYTES:
            raise ValueError(f"larger than {MAX_CONFIG_BYTES} bytes")
        return content.decode()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise ConfigError(f"cannot read {path}: {exc.strerror}", code="settings.unreadable") from exc
    except ValueError as exc:
        raise ConfigError(f"cannot read {path}: {exc}", code="settings.unreadable") from exc
