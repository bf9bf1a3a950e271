"""`caisson quarantine list` and `caisson quarantine clear`: the releases that failed here."""

import os
from contextlib import closing
from typing import Annotated

import typer

from caissond.cli.looking import device_to_look_at
from caissond.cli.session import Session
from caissond.report.bus import Bus
from caissond.store.lock import hold_lock
from caissond.wiring import open_device

app = typer.Typer(help="Releases that failed here and are not tried again.", rich_markup_mode=None)


@app.command("list")
def list_quarantine(context: typer.Context) -> None:
    """List the releases that are not tried again, and why."""
    session: Session = context.obj
    with device_to_look_at(session) as device:
        known = device.releases.all_quarantined()
    session.show_json(
        [
            {
                "service": one.service,
                "version": one.version,
                "digest": one.digest,
                "code": one.code,
                "update_id": one.update_id,
                "at": one.at.isoformat(),
            }
            for one in known
        ]
    )
    rows = [
        (one.service, one.version, one.code, f"{one.at:%Y-%m-%d %H:%M:%S}", one.update_id[:8])
        for one in known
    ]
    columns = ("SERVICE", "VERSION", "CODE", "SINCE (UTC)", "UPDATE")
    session.show_table(columns, rows, empty="No release is in quarantine.")


@app.command("clear")
def clear_quarantine(
    context: typer.Context,
    service: Annotated[str | None, typer.Argument(help="Only this service's; left out: all.")] = None,
    version: Annotated[str | None, typer.Argument(help="Only this version.")] = None,
) -> None:
    """Give releases that failed here another chance, when their packages come again."""
    session: Session = context.obj
    with hold_lock(session.paths.lock, who=f"caisson quarantine clear, process {os.getpid()}"):
        device = open_device(session.paths, Bus())
        with closing(device.database):
            count = device.releases.clear_quarantine(service, version)
    session.show_json({"cleared": count})
    session.say(f"Cleared {count} {'release' if count == 1 else 'releases'}.")
