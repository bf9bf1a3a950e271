"""`caisson package validate`, `load` and `cleanup`."""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer

from caissond.cli.history import issue_lines
from caissond.cli.session import ExitCode, Session, exit_for
from caissond.errors import CaissonError, HostUnavailable, StoreError
from caissond.intake.scan import Origin
from caissond.model.events import EVENTS, Event, hint_for
from caissond.model.ids import new_update_id
from caissond.model.records import AuditKind, Outcome, Verdict
from caissond.report.bus import Bus
from caissond.store.lock import hold_lock
from caissond.update.device import Device
from caissond.update.examine import Examination, examine
from caissond.update.recovery import settle
from caissond.update.updater import Request, Updater
from caissond.wiring import look_at_device, open_device

app = typer.Typer(help="Work with package files.", rich_markup_mode=None)

PackagePath = Annotated[Path, typer.Argument(help="The .edgepkg file.")]
AllowUnsigned = Annotated[
    bool, typer.Option("--allow-unsigned", help="Let a package without a signature in.")
]

_UNGATED = "the package was loaded; the service was stopped before and stays stopped, so it was not tried"
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""SIGHUP too: the connection over which somebody types may break."""

_SUMMARIES = {
    Outcome.SUCCEEDED: "the package was loaded and the service stayed healthy",
    Outcome.NOTHING_TO_DO: "the service runs this release already",
    Outcome.SKIPPED: "the package was passed over",
    Outcome.ROLLED_BACK: "the update failed, so the service was moved back to the previous image",
    Outcome.ROLLBACK_FAILED: "the update failed and the automatic rollback did not finish cleanly",
    Outcome.FAILED: "the update did not finish cleanly",
    Outcome.REFUSED: "the package was refused and nothing was changed",
    Outcome.POSTPONED: "the package has to wait and nothing was changed",
}


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

        found = examine(
            Updater(device), package, allow_unsigned=allow_unsigned, every_byte=True, progress=progress
        )
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
    _show_verdict(session, verdict)
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
        updater = Updater(device)
        found = examine(updater, request.path, allow_unsigned=request.allow_unsigned, every_byte=False)
        if not found.problems:
            return found, None
        return found, updater.refuse(request, found.manifest, found.problems[0])
    finally:
        device.database.close()


def _confirmed(session: Session, found: Examination) -> bool:
    """Ask. The end of the input means no, and so do bytes that are no text."""
    manifest = found.manifest
    assert manifest is not None  # it would have been refused
    out = session.err if session.as_json else session.out
    out.print("Ready to load package", highlight=False)
    out.print(f"{manifest.service} -> {manifest.version}", markup=False, highlight=False)
    out.print("Continue and update the service? [y/N]: ", end="", markup=False, highlight=False)
    answer = sys.stdin.buffer.readline() if sys.stdin else b""
    return answer.strip().lower() in (b"y", b"yes")


def _apply(session: Session, request: Request) -> Verdict:
    """Settle what was cut off, then give the package its turn.

    Raises:
        LockBusy: somebody else is updating.
        HostUnavailable: Docker does not answer.
    """
    session.say("Applying update...")
    with hold_lock(session.paths.lock, who=_who("load")), _narrating_device(session) as device:
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


@contextmanager
def _narrating_device(session: Session) -> Iterator[Device]:
    with session.progress_bar() as bar:

        def narrate(event: Event) -> None:
            if not session.as_json:
                session.err.print(f"  {event.text}", markup=False, highlight=False, soft_wrap=True)

        device = open_device(session.paths, Bus([narrate], progress=[bar]))
        try:
            with _stopping_on_signals(device):
                yield device
        finally:
            device.database.close()


@contextmanager
def _stopping_on_signals(device: Device) -> Iterator[None]:
    """Ctrl-C and SIGTERM undo what runs, or let it finish, instead of leaving it half done."""

    def stop(_number: int, _frame: object) -> None:
        device.stop.set()

    before = {number: signal.signal(number, stop) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
        device.audit(
            update_id, AuditKind.VALIDATION_ACCEPTED, f"accepted package for {found.manifest.service}"
        )


def _show_examination(session: Session, path: Path, found: Examination) -> None:
    session.say("Package validation")
    session.say(f"Status: {'rejected' if found.problems else 'accepted'}")
    session.say(f"Source package: {path}")
    if manifest := found.manifest:
        session.say(f"Target service: {manifest.service}")
        session.say(f"Service revision: {manifest.service_revision}")
        session.say(f"Platform: {manifest.platform}")
        session.say(f"Package version: {manifest.version}")
        session.say(f"Target image: {manifest.reference}")
    if found.package:
        session.say(f"Image archive: image.tar ({found.package.image_window.size_bytes} bytes)")
    _say_problems(session.say, found.problems)


def _say_problems(say: Callable[[str], None], problems: tuple[CaissonError, ...]) -> None:
    say("Issues:" if problems else "Issues: none")
    for problem in problems:
        say(f"- [{problem.code}] {problem.message} ({EVENTS[problem.code].spoken})")
        if hint := hint_for(problem.code):
            say(f"  {hint}")


def _show_verdict(session: Session, verdict: Verdict) -> None:
    session.say("Update result")
    session.say(f"Status: {verdict.outcome.words}")
    for part in verdict.parts:
        session.say(f"Service: {part.service}")
        session.say(f"Target image: {part.reference}")
        if part.previous_reference:
            session.say(f"Previous image: {part.previous_reference}")
    session.say(f"Started: {verdict.started_at.isoformat(timespec='seconds')}")
    session.say(f"Finished: {verdict.finished_at.isoformat(timespec='seconds')}")
    for line in issue_lines(verdict):
        session.say(line)
    ungated = any(part.ungated for part in verdict.parts)
    session.say(f"Summary: {_UNGATED if ungated else _SUMMARIES[verdict.outcome]}")


def _as_json(path: Path, found: Examination) -> dict[str, object]:
    return {
        "package": str(path),
        "status": "rejected" if found.problems else "accepted",
        "manifest": found.manifest.model_dump(mode="json") if found.manifest else None,
        "digest": found.image.config_digest if found.image else None,
        "issues": [{"code": problem.code, "message": problem.message} for problem in found.problems],
    }
