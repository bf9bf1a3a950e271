"""`caisson service list` and `caisson service show`."""

from typing import Annotated

import typer

from caissond.cli.looking import active_image, device_to_look_at, last_update
from caissond.cli.session import Session
from caissond.model.catalog import Service
from caissond.model.records import Installed, Verdict
from caissond.update.device import Device
from caissond.update.going_back import find_service

app = typer.Typer(help="Look at the predefined services and what is known of them.", rich_markup_mode=None)


@app.command("list")
def list_services(context: typer.Context) -> None:
    """List all predefined services."""
    session: Session = context.obj
    with device_to_look_at(session) as device:
        known = [_describe(device, service) for service in device.catalog.services]
    session.show_json(known)
    rows = [
        (
            str(one["name"]),
            str(one["runtime"]),
            str(one["version"] or "-"),
            str(one["active_image"]),
            _words(one),
        )
        for one in known
    ]
    columns = ("SERVICE", "RUNTIME", "VERSION", "ACTIVE IMAGE", "LAST UPDATE")
    session.show_table(columns, rows, empty="No services are defined in the current service catalog.")


@app.command("show")
def show_service(
    context: typer.Context, service: Annotated[str, typer.Argument(help="The service's name.")]
) -> None:
    """Show one predefined service in more detail."""
    session: Session = context.obj
    with device_to_look_at(session) as device:
        found = find_service(device, service)
        session.show_json(_describe(device, found))
        for line in _lines(found, device.releases.installed(found.name), last_update(device, found.name)):
            session.say(line)


def _describe(device: Device, service: Service) -> dict[str, object]:
    installed = device.releases.installed(service.name)
    last = last_update(device, service.name)
    return {
        "name": service.name,
        "service_revision": service.service_revision,
        "platform": service.platform,
        "runtime": service.runtime_mode,
        "container": service.docker.container_name if service.docker else None,
        "version": installed.release.version if installed else None,
        "digest": installed.release.digest if installed else None,
        "active_image": active_image(service, installed),
        "previous_image": installed.previous_reference if installed else None,
        "last_update": last.outcome.value if last else None,
        "last_update_at": last.finished_at.isoformat() if last else None,
    }


def _words(described: dict[str, object]) -> str:
    return str(described["last_update"] or "none yet").replace("_", " ")


def _lines(service: Service, installed: Installed | None, last: Verdict | None) -> list[str]:
    lines = [
        f"Service: {service.name}",
        f"Revision: {service.service_revision}",
        f"Platform: {service.platform}",
    ]
    lines += [f"Runtime: {service.runtime_mode}", *_runtime_lines(service)]
    previous = installed.previous_reference if installed else None
    lines += [
        f"Health check: {service.health_check.words}",
        f"Version: {installed.release.version if installed else 'not recorded yet'}",
        f"Active image: {active_image(service, installed)}",
        f"Previous known-good image: {previous or 'not recorded yet'}",
    ]
    if installed:
        lines.append(f"State updated: {installed.committed_at.isoformat(timespec='seconds')}")
    return lines + _last_lines(last)


def _runtime_lines(service: Service) -> list[str]:
    if service.docker:
        return [
            f"Container: {service.docker.container_name}",
            f"Catalog image: {service.docker.image_reference}",
        ]
    compose = service.compose
    assert compose is not None  # the catalog has one of the two
    return [
        f"Compose project: {compose.project}",
        f"Compose file: {compose.file}",
        f"Compose service: {compose.service}",
    ]


def _last_lines(last: Verdict | None) -> list[str]:
    if last is None:
        return ["Last update: none yet"]
    return [
        f"Last update: {last.outcome.words}",
        f"Last target image: {last.parts[0].reference if last.parts else '-'}",
        f"Last started: {last.started_at.isoformat(timespec='seconds')}",
        f"Last finished: {last.finished_at.isoformat(timespec='seconds')}",
    ]
