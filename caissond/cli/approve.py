"""`caisson approve`: a release need not wait for its time, this once."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from caissond.cli.session import ExitCode, Session
from caissond.errors import Refusal, SourceGone
from caissond.report.bus import Bus
from caissond.update.acceptance import PassedOver
from caissond.update.planning import approve_package
from caissond.wiring import open_device


def approve(
    context: typer.Context,
    package: Annotated[Path, typer.Argument(help="The .edgepkg file.")],
) -> int:
    """Let a package in before its time, once: neither its soak nor a closed window keeps it waiting.

    caissond applies it within a minute, where it lies in the inbox or on a medium; else as soon as it comes.
    """
    session: Session = context.obj
    device = open_device(session.paths, Bus(), may_replace=False)
    try:
        with closing(device.database):
            releases = approve_package(device, package)
    except (Refusal, SourceGone) as exc:
        session.complain(exc)
        return ExitCode.REFUSED
    except PassedOver as exc:
        session.show_json([])
        session.say(f"Nothing to do: {exc.message}.")
        return ExitCode.DONE
    session.show_json([{"service": one.service, "version": one.version} for one in releases])
    for one in releases:
        session.say(f"{one.service} {one.version} may be applied before its time, once.")
    return ExitCode.DONE
