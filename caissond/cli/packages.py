"""`caisson package validate`, `load` and `cleanup`."""

import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Annotated

import typer

from caissond.cli.applying import confirm, narrating_device, show_verdict
from caissond.cli.session import ExitCode, Session, exit_for
from caissond.errors import CaissonError, HostUnavailable, StoreError
from caissond.intake.scan import Origin
from caissond.model.events import EVENTS, hint_for
from caissond.model.ids import new_update_id
from caissond.model.records import AuditKind, Verdict
from caissond.package.archive import IMAGE_NAME
from caissond.package.validate import Package
from caissond.report.bus import Bus
from caissond.store.lock import hold_lock
from caissond.update.acceptance import Request
from caissond.update.device import Device
from caissond.update.examine import Examination, examine
from caissond.update.recovery import settle
from caissond.update.updater import Updater
from caissond.wiring import look_at_device, open_device

app = typer.Typer(help="Work with package files.", rich_markup_mode=None)

PackagePath = Annotated[Path, typer.Argument(help="The .edgepkg file.")]
AllowUnsigned = Annotated[
    bool, typer.Option("--allow-unsigned", help="Let a package without a signature in.")
]


@app.command()
def validate(context: typer.Context, package: PackagePath, allow_unsigned: AllowUnsigned = False) -> int:
    """Check a package from end to end, without touching Docker or any service."""
    session: Session = context.obj
    session.say("Validating package...")
    device = look_at_device(session.paths, Bus())
    with session.progress_bar() as bar:
        size, done = _size_of(package), 0

        def progress(more_bytes: int) -> None:
            nonlocal done
            done += more_bytes
            bar("checking", done, size)

        found = examine(device, package, allow_unsigned=allow_unsigned, every_byte=True, progress=progress)
    device.database.close()
    _record_validation(session, package, found)
    _show_examination(session, package, found)
    session.show_json(_as_json(package, found))
    return ExitCode.REFUSED if found.problems else ExitCode.DONE


@app.command()
def load(
    context: typer.Context,
    package: PackagePath,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    allow_unsigned: AllowUnsigned = False,
    allow_downgrade: Annotated[
        bool, typer.Option("--allow-downgrade", help="Go back to an older version.")
    ] = False,
) -> int:
    """Validate a package and apply it, as caissond would."""
    session: Session = context.obj
    request = Request(package, Origin.COMMAND, allow_unsigned=allow_unsigned, allow_downgrade=allow_downgrade)
    session.say("Validating package...")
    found, verdict = _first_look(session, request)
    _show_examination(session, package, found)
    if verdict is None and not yes and not _confirmed(session, found):
        session.say("Cancelled before changing the service.")
        return ExitCode.CANCELLED
    verdict = verdict or _apply(session, request)
    show_verdict(session, verdict)
    session.show_json(verdict.model_dump(mode="json"))
    return exit_for(verdict)


@app.command()
def cleanup(context: typer.Context) -> None:
    """Remove what cut-off updates left in the work folder. History, state and images stay."""
    session: Session = context.obj
    with hold_lock(session.paths.lock, who=_who("cleanup")):
        work = session.paths.work
        files = [path for path in work.rglob("*") if path.is_file()] if work.is_dir() else []
        size_bytes = sum(path.stat().st_size for path in files)
        with suppress(FileNotFoundError):
            shutil.rmtree(work)
    session.show_json({"removed_files": len(files), "removed_bytes": size_bytes})
    session.say(f"Removed {len(files)} leftover files ({size_bytes / 1024**2:.1f} MiB).")


def _size_of(package: Path) -> int:
    """For the progress bar; 0 where it cannot be told."""
    try:
        return package.stat().st_size
    except OSError:
        return 0


def _who(command: str) -> str:
    return f"caisson package {command}, process {os.getpid()}"


def _first_look(session: Session, request: Request) -> tuple[Examination, Verdict | None]:
    """What can be told before anybody is asked; with a verdict when it is refused already."""
    device = open_device(session.paths, Bus(), may_replace=False)
    try:
        found = examine(device, request.path, allow_unsigned=request.allow_unsigned, every_byte=False)
        if not found.problems:
            return found, None
        return found, Updater(device).refuse(request, found.manifest, found.problems[0])
    finally:
        device.database.close()


def _confirmed(session: Session, found: Examination) -> bool:
    manifest = found.manifest
    assert manifest is not None  # it would have been refused
    services = ", ".join(target.service for target in found.targets)
    what = f"{services} -> {manifest.version}"
    return confirm(session, "Ready to load package", what, question="Continue and update the service?")


def _apply(session: Session, request: Request) -> Verdict:
    """Settle what was cut off, then give the package its turn.

    Raises:
        LockBusy: somebody else is updating.
        HostUnavailable: Docker does not answer.
    """
    session.say("Applying update...")
    with hold_lock(session.paths.lock, who=_who("load")), narrating_device(session) as device:
        settle(device)
        try:
            verdict = Updater(device).handle(request)
        except HostUnavailable as exc:
            session.complain(exc)
            raise HostUnavailable(
                "cannot finish the update: it is settled when Docker answers again", code="docker.unavailable"
            ) from exc
    assert verdict is not None  # only what lies on a medium is passed over in silence
    return verdict


def _record_validation(session: Session, package: Path, found: Examination) -> None:
    """Leave a trace in the audit chain, where this user may write one and there is room."""
    with suppress(StoreError):
        device = open_device(session.paths, Bus(), may_replace=False)
        with closing(device.database):
            _audit_validation(device, package, found)


def _audit_validation(device: Device, package: Path, found: Examination) -> None:
    update_id = new_update_id()
    device.audit(update_id, AuditKind.VALIDATION_STARTED, f"started validating {package.name!r}")
    if found.problems:
        first = found.problems[0]
        device.audit(update_id, AuditKind.VALIDATION_REJECTED, f"{first.code}: {first.message}")
    elif found.manifest:
        services = ", ".join(found.manifest.services)
        device.audit(update_id, AuditKind.VALIDATION_ACCEPTED, f"accepted package for {services}")


def _show_examination(session: Session, path: Path, found: Examination) -> None:
    session.say("Package validation")
    session.say(f"Status: {'rejected' if found.problems else 'accepted'}")
    session.say(f"Source package: {path}")
    if manifest := found.manifest:
        for target in found.targets or manifest.targets:
            session.say(f"Target service: {target.service}")
            session.say(f"Service revision: {target.service_revision}")
            session.say(f"Platform: {target.platform}")
            session.say(f"Package version: {manifest.version}")
            session.say(f"Target image: {target.reference}")
    if found.package:
        session.say(_describe_archive(found.package))
    for signature in found.signatures:
        session.say(f"Signed by: {signature.principals} ({signature.key_type} {signature.fingerprint})")
    _say_problems(session.say, found.problems)


def _describe_archive(package: Package) -> str:
    if package.manifest.format_version == 1:
        return f"Image archive: {IMAGE_NAME} ({package.members[IMAGE_NAME].size_bytes} bytes)"
    return (
        f"Image archive: OCI layout ({sum(member.size_bytes for member in package.members.values())} bytes)"
    )


def _say_problems(say: Callable[[str], None], problems: Iterable[CaissonError]) -> None:
    say("Issues:" if problems else "Issues: none")
    for problem in problems:
        say(f"- [{problem.code}] {problem.message} ({EVENTS[problem.code].spoken})")
        if hint := hint_for(problem.code):
            say(f"  {hint}")


def _as_json(path: Path, found: Examination) -> dict[str, object]:
    return {
        "package": str(path),
        "status": "rejected" if found.problems else "accepted",
        "manifest": found.manifest.model_dump(mode="json") if found.manifest else None,
        "digests": [image.config_digest for image in found.images],
        "signatures": [
            {"principals": one.principals, "key_type": one.key_type, "fingerprint": one.fingerprint}
            for one in found.signatures
        ],
        "issues": [{"code": problem.code, "message": problem.message} for problem in found.problems],
    }
