"""`caisson rollback`: back to the release before, by hand."""

import os
from typing import Annotated

import typer

from caissond.cli.applying import confirm, narrating_device, show_verdict
from caissond.cli.looking import device_to_look_at
from caissond.cli.session import ExitCode, Session, exit_for
from caissond.errors import Refusal
from caissond.model.records import Verdict
from caissond.store.lock import hold_lock
from caissond.update.going_back import earlier_release, find_service, go_back
from caissond.update.recovery import settle

_WHO = f"caisson rollback, process {os.getpid()}"


def rollback(
    context: typer.Context,
    service: Annotated[str, typer.Argument(help="The service's name.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    lift: Annotated[
        bool, typer.Option("--lift", help="Do not go back; let packages in again that are held since.")
    ] = False,
) -> int:
    """Go back to a service's release before this one.

    It goes through the same steps and the same health gate as an update, and needs no package. From then on the release
    that was left is not applied again, nor an older one, until a newer one comes or the hold is lifted.
    """
    session: Session = context.obj
    if lift:
        return _lift(session, service)
    try:
        if not yes and not _confirmed(session, service):
            session.say("Cancelled before changing the service.")
            return ExitCode.CANCELLED
        verdict = _go_back(session, service)
    except Refusal as exc:
        session.complain(exc)
        return ExitCode.REFUSED
    show_verdict(session, verdict)
    session.show_json(verdict.model_dump(mode="json"))
    return exit_for(verdict)


def _lift(session: Session, name: str) -> ExitCode:
    with hold_lock(session.paths.lock, who=_WHO), narrating_device(session) as device:
        find_service(device, name)
        held = device.releases.held(name)
        device.releases.lift_hold(name)
    session.show_json({"service": name, "held": held})
    session.say(f"{name}: {held} and older may come in again" if held else f"{name}: nothing was held")
    return ExitCode.DONE


def _confirmed(session: Session, name: str) -> bool:
    with device_to_look_at(session) as device:
        find_service(device, name)
        installed = device.releases.installed(name)
        release, _, reference = earlier_release(installed, name)
    now = installed.release.version if installed else "?"
    what = f"{name} {now} -> {release.version if release else reference}"
    return confirm(session, "Ready to go back", what, question="Continue and move the service back?")


def _go_back(session: Session, name: str) -> Verdict:
    with hold_lock(session.paths.lock, who=_WHO), narrating_device(session) as device:
        settle(device)
        return go_back(device, name)
