"""`caisson inventory`: what this device has, for whoever makes packages for it."""

import typer

from caissond.cli.looking import device_to_look_at
from caissond.cli.session import Session
from caissond.report.inventory import inventory_document, inventory_lines
from caissond.update.inventory import take_inventory


def inventory(context: typer.Context) -> None:
    """Show what this device has: services, versions, layers, Docker, free space. A medium with a file
    caisson-inventory on it gets the same."""
    session: Session = context.obj
    with device_to_look_at(session) as device:
        taken = take_inventory(device)
    session.show_json(inventory_document(taken))
    for line in inventory_lines(taken):
        session.say(line)
