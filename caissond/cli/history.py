"""`caisson history list`, `show` and `verify`."""

from typing import Annotated

import typer

from caissond.cli.looking import history_to_look_at
from caissond.cli.session import Session
from caissond.errors import StoreError
from caissond.model.events import EVENTS
from caissond.model.records import AuditEvent, Verdict

_MOST = 2**63 - 1  # SQLite's largest integer

app = typer.Typer(help="Read what happened to each package.", rich_markup_mode=None)


@app.command("list")
def list_history(
    context: typer.Context,
    service: Annotated[str | None, typer.Option(help="Only this service's.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=0, max=_MOST, help="At most this many, newest first.")
    ] = None,
) -> None:
    """List what was handled, newest first."""
    session: Session = context.obj
    with history_to_look_at(session) as history:
        verdicts = history.newest(service=service, limit=limit)
    session.show_json([_summary(verdict) for verdict in verdicts])
    rows = [_row(verdict) for verdict in verdicts]
    columns = ("ID", "FINISHED (UTC)", "SERVICE", "VERSION", "OUTCOME", "CODE", "PACKAGE")
    session.show_table(columns, rows, empty="No update history matched the current filter.")


@app.command("show")
def show_history(
    context: typer.Context,
    update_id: Annotated[str, typer.Argument(help="The update's id, or enough of its beginning.")],
) -> None:
    """Show one handled package and its audit events."""
    session: Session = context.obj
    with history_to_look_at(session) as history:
        verdict = history.find(update_id)
        if verdict is None:
            raise StoreError(f"cannot find the update {update_id!r}", code="history.unknown")
        events = history.events(verdict.update_id)
    session.show_json({**_summary(verdict), "events": [_event(event) for event in events]})
    for line in _lines(verdict, events):
        session.say(line)


@app.command("verify")
def verify_history(context: typer.Context) -> None:
    """Check that nobody changed the audit chain."""
    session: Session = context.obj
    with history_to_look_at(session) as history:
        links = history.verify()
    session.show_json({"intact": True, "events": links})
    session.say(f"The audit chain is intact: {links} events.")


def _row(verdict: Verdict) -> tuple[str, ...]:
    finished = verdict.finished_at.isoformat(sep=" ", timespec="seconds").removesuffix("+00:00")
    return (
        verdict.update_id[:8],
        finished,
        verdict.services or "-",
        verdict.versions or "-",
        verdict.outcome.words,
        verdict.code or "-",
        verdict.package or "-",
    )


def _summary(verdict: Verdict) -> dict[str, object]:
    document: dict[str, object] = verdict.model_dump(mode="json", exclude={"update_id"})
    number = EVENTS[verdict.code].spoken if verdict.code in EVENTS else None
    first = {
        "id": verdict.update_id,
        "service": verdict.services or None,
        "version": verdict.versions or None,
    }
    return {**first, **document, "number": number}


def _event(event: AuditEvent) -> dict[str, object]:
    return {"seq": event.seq, "at": event.at.isoformat(), "kind": event.kind.value, "message": event.message}


def _lines(verdict: Verdict, events: tuple[AuditEvent, ...]) -> list[str]:
    lines = [f"Update: {verdict.update_id}", f"Package: {verdict.package or '-'}"]
    for part in verdict.parts:
        lines += [f"Service: {part.service}", f"Version: {part.version}", f"Target image: {part.reference}"]
        if part.previous_reference:
            lines.append(f"Previous image: {part.previous_reference}")
        if part.forgiven:
            lines.append(f"Not asked: it failed before the update already: {part.forgiven}")
    lines += [
        f"Status: {verdict.outcome.words}",
        f"Started: {verdict.started_at.isoformat(timespec='seconds')}",
        f"Finished: {verdict.finished_at.isoformat(timespec='seconds')}",
        *issue_lines(verdict),
        "Events:",
    ]
    shown = [
        f"- {event.at.isoformat(timespec='seconds')} | {event.kind.value} | {event.message}"
        for event in events
    ]
    return lines + (shown or ["- none recorded"])


def issue_lines(verdict: Verdict) -> list[str]:
    """What went wrong, with its number and what to do."""
    if not verdict.code:
        return ["Issues: none"]
    spec = EVENTS.get(verdict.code)
    lines = ["Issues:", f"- [{verdict.code}] {verdict.message}" + (f" ({spec.spoken})" if spec else "")]
    return [*lines, f"  {verdict.hint}"] if verdict.hint else lines
