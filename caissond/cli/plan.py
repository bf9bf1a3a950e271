"""`caisson plan`: what caissond would do now with the packages that are here, and why not more."""

import time
from pathlib import Path
from typing import Annotated

import typer

from caissond.cli.looking import device_to_look_at
from caissond.cli.session import Session
from caissond.intake.mounts import find_media
from caissond.intake.scan import STABLE_S, Found, Origin, Place, Scanner
from caissond.package.validate import is_whole_file
from caissond.update.acceptance import Request
from caissond.update.device import Device
from caissond.update.planning import Planned, plan_all, plan_package
from caissond.update.policy import Act

_MARGIN_S = 0.1
_WORDS = {
    Act.APPLY: "apply now",
    Act.LATER: "later",
    Act.SKIP: "nothing to do",
    Act.NEVER: "never by itself",
    Act.REFUSE: "refuse",
}


def plan(
    context: typer.Context,
    packages: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]...", help="Left out: what is in the inbox and on media."),
    ] = None,
) -> None:
    """Say what caissond would do now with each package, and why. Nothing is changed, and no hook is asked."""
    session: Session = context.obj
    with device_to_look_at(session) as device:
        if packages:
            planned = tuple(plan_package(device, Request(path, Origin.INBOX)) for path in packages)
        else:
            planned = plan_all(device, _find(device))
    session.show_json([_described(one) for one in planned])
    rows = [(one.path.name, _releases(one), _WORDS[one.decision.act], _why(one)) for one in planned]
    columns = ("PACKAGE", "RELEASE", "WHAT", "WHY")
    session.show_table(columns, rows, empty="No complete package is in the inbox or on a medium.")


def _find(device: Device) -> list[Found]:
    """What is complete, as the daemon sees it: it takes two looks to see that a file does not grow."""
    roots = tuple(Path(root) for root in device.settings.media.roots)
    inbox = Place(device.paths.inbox, Origin.INBOX, read_only=False)
    places = (inbox, *find_media(device.paths.media, roots))
    scanner = Scanner(is_whole=is_whole_file, incomplete_s=device.settings.inbox.incomplete_secs)
    scans = [scanner.scan(place) for place in places]
    if any(scan.pending for scan in scans):
        time.sleep(STABLE_S + _MARGIN_S)
    return [file for place in places for file in scanner.scan(place).complete]


def _releases(one: Planned) -> str:
    return ", ".join(f"{release.service} {release.version}" for release, _ in one.parts) or "-"


def _why(one: Planned) -> str:
    return f"{one.decision.reason} [{one.decision.code}]" if one.decision.code else "-"


def _described(one: Planned) -> dict[str, object]:
    return {
        "package": str(one.path),
        "act": one.decision.act.value,
        "code": one.decision.code,
        "reason": one.decision.reason,
        "wait_s": one.decision.wait_s,
        "services": [
            {
                "service": release.service,
                "version": release.version,
                "act": decision.act.value,
                "code": decision.code,
                "reason": decision.reason,
            }
            for release, decision in one.parts
        ],
    }
