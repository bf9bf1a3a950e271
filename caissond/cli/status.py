"""`caisson status`: the daemon, what runs now, and each service."""

import os
from pathlib import Path

import typer

from caissond.cli.looking import device_to_look_at, last_update
from caissond.cli.session import Session
from caissond.errors import CaissonError
from caissond.model.catalog import Service
from caissond.model.status import DaemonState, StatusReport
from caissond.report.status import read_status
from caissond.store.lock import holder_of
from caissond.update.containers import find_containers
from caissond.update.device import Device
from caissond.update.inventory import state_of


def status(context: typer.Context) -> None:
    """Show the daemon, what runs now, and each service with its version, health and last update."""
    session: Session = context.obj
    if not _may_see_state(session):
        return _show_what_anybody_may_see(session)
    daemon = holder_of(session.paths.daemon_lock)
    report = read_status(session.paths.status) if daemon else None
    with device_to_look_at(session) as device:
        services = [_describe(device, service) for service in device.catalog.services]
    session.show_json(
        {
            "daemon": daemon,
            "now": report.model_dump(mode="json", by_alias=True) if report else None,
            "services": services,
        }
    )
    _say_now(session, daemon, report)
    session.say()
    rows = [(one["name"], one["version"], one["state"], one["last_update"]) for one in services]
    session.show_table(("SERVICE", "VERSION", "STATE", "LAST UPDATE"), rows, empty="No services are defined.")


def _may_see_state(session: Session) -> bool:
    """The database holds the environment of containers, so it is root's alone."""
    database = session.paths.database
    return not database.exists() or os.access(database, os.R_OK)


def _show_what_anybody_may_see(session: Session) -> None:
    """What the daemon says of itself: enough for who drops a package to know how it ended."""
    report = read_status(session.paths.status)
    daemon = f"caissond, process {report.pid}" if report and Path(f"/proc/{report.pid}").exists() else None
    now = report if daemon else None
    session.show_json(
        {"daemon": daemon, "now": now and now.model_dump(mode="json", by_alias=True), "services": []}
    )
    _say_now(session, daemon, now)
    session.say("Services: only root may see them.")


def _say_now(session: Session, daemon: str | None, report: StatusReport | None) -> None:
    session.say(f"Daemon: {daemon or 'not running'}")
    for line in _now_lines(report):
        session.say(line)


def _now_lines(report: StatusReport | None) -> list[str]:
    if report is None:
        return []
    lines = [f"State: {report.state.words}"]
    if report.state is not DaemonState.IDLE and report.text:
        lines.append(f"Now: {report.text}")
    if report.progress and report.progress.total_bytes:
        percent = 100 * report.progress.done_bytes // report.progress.total_bytes
        lines.append(f"Progress: {report.phase} {percent} %")
    if report.last:
        lines.append(f"Last package: {report.last.package}, {report.last.outcome.words}")
    return lines


def _describe(device: Device, service: Service) -> dict[str, str]:
    installed = device.releases.installed(service.name)
    last = last_update(device, service.name)
    return {
        "name": service.name,
        "version": installed.release.version if installed else "-",
        "state": _state(device, service),
        "last_update": last.outcome.words if last else "none yet",
    }


def _state(device: Device, service: Service) -> str:
    """What the engine says of its containers; a word for it when it cannot be asked."""
    try:
        return state_of(find_containers(device.docker, service))
    except CaissonError:
        return "unknown: Docker does not answer"
