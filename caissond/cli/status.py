"""`caisson status`: the daemon, what runs now, and each service."""

import typer

from caissond.cli.looking import device_to_look_at, last_update
from caissond.cli.session import Session
from caissond.errors import CaissonError
from caissond.model.catalog import Service
from caissond.model.status import DaemonState, StatusReport
from caissond.report.status import read_status
from caissond.store.lock import holder_of
from caissond.update.device import Device


def status(context: typer.Context) -> None:
    """Show the daemon, what runs now, and each service with its version, health and last update."""
    session: Session = context.obj
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
    session.say(f"Daemon: {daemon or 'not running'}")
    for line in _now_lines(report):
        session.say(line)
    session.say()
    rows = [(one["name"], one["version"], one["state"], one["last_update"]) for one in services]
    session.show_table(("SERVICE", "VERSION", "STATE", "LAST UPDATE"), rows, empty="No services are defined.")


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
    """What the engine says of the container; a word for it when it cannot be asked."""
    if service.docker is None:
        return "unknown"
    try:
        container = device.docker.find_container(service.docker.container_name)
    except CaissonError:
        return "unknown: Docker does not answer"
    if container is None:
        return "missing"
    state = container["State"]
    health = (
        (state.get("Health") or {}).get("Status") if state["Running"] else None
    )  # Docker keeps the last one
    return f"{state['Status']}, {health}" if health else str(state["Status"])
