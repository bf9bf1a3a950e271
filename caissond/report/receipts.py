"""Receipts: for each handled package a text that anybody can read and a JSON for machines.

Written durably, since a package leaves the inbox once its receipt is there. The newest 500 pairs are kept, newest by
the order of writing and not by the clock, which may say 1970.
"""

import json
import os
import re
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from caissond.errors import CaissonError
from caissond.model.events import EVENTS
from caissond.model.records import Outcome, Verdict
from caissond.model.text import printable
from caissond.report.stick_files import RECEIPT_NAME, UNFINISHED

SCHEMA = 1
KEEP_PAIRS = 500
_SUFFIXES = (".json", ".txt")

_HEADLINES = {
    Outcome.SUCCEEDED: "UPDATED: {service} now runs version {version}",
    Outcome.NOTHING_TO_DO: "NOTHING TO DO: {service} runs version {version} already",
    Outcome.REFUSED: "REFUSED: {package} was not used; nothing was changed",
    Outcome.SKIPPED: "PASSED OVER: {package} was not needed here; nothing was changed",
    Outcome.POSTPONED: "WAITING: {package} was not used yet; it is tried again",
    Outcome.FAILED: "NOT UPDATED: {service} is as it was before",
    Outcome.ROLLED_BACK: "ROLLED BACK: {service} runs {previous} again; version {version} was not kept",
    Outcome.ROLLBACK_FAILED: "HELP NEEDED: {service} could not be brought back as it was",
}
_UNGATED = "UPDATED: {service} has version {version}; it was stopped before and stays stopped"


def write_receipt(folder: Path, verdict: Verdict, *, device: str) -> Path:
    """Write both receipts of a handled package, for good, and prune the oldest; called under the update lock.

    Args:
        folder: made when it is not there.
        device: what people call this device.

    Returns:
        The text; the JSON lies beside it.

    Raises:
        CaissonError: `receipt.failed`.
    """
    stem = receipt_stem(verdict)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        order_ns = _order_ns(folder)
        _write(folder / f"{stem}.json", receipt_json(verdict, device=device), order_ns)
        _write(folder / f"{stem}.txt", receipt_text(verdict, device=device), order_ns)
        _sync_folder(folder)
        prune_receipts(folder)
    except OSError as exc:
        raise CaissonError(f"cannot write the receipt {stem}: {exc.strerror}", code="receipt.failed") from exc
    return folder / f"{stem}.txt"


def receipt_stem(verdict: Verdict) -> str:
    """`20260131T235959Z-0a1b2c3d-frontend-1.2.3`: safe as a file name anywhere, a FAT stick included."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", verdict.package.removesuffix(".edgepkg"))[:80].strip("._")
    return f"{_utc(verdict.finished_at):%Y%m%dT%H%M%SZ}-{verdict.update_id[:8]}-{name or 'package'}"


def _utc(at: datetime) -> datetime:
    return at.astimezone(UTC)


def receipt_json(verdict: Verdict, *, device: str) -> str:
    """The receipt for machines."""
    spec = EVENTS.get(verdict.code)
    content = {
        "schema": SCHEMA,
        "device": device,
        "number": spec.spoken if spec else "",
        **verdict.model_dump(mode="json"),
    }
    return json.dumps(content, indent=2) + "\n"


def receipt_text(verdict: Verdict, *, device: str) -> str:
    """The receipt for people: what happened first, then the details, at last what to do."""
    rows = [f"{name + ':':<12}{printable(value, limit=500)}" for name, value in _rows(verdict, device)]
    return "\n".join([headline(verdict), "", *rows]) + "\n"


def headline(verdict: Verdict) -> str:
    """What happened, in one line of plain words."""
    part = verdict.parts[0] if verdict.parts else None
    ungated = verdict.outcome is Outcome.SUCCEEDED and part is not None and part.ungated
    previous = part.previous_version if part else None
    return (_UNGATED if ungated else _HEADLINES[verdict.outcome]).format(
        service=printable(verdict.services) or "the service",
        version=printable(verdict.versions) or "of the package",
        previous=f"version {printable(previous)}" if previous else "its old release",
        package=printable(verdict.package) or "the package",
    )


def _rows(verdict: Verdict, device: str) -> Iterable[tuple[str, str]]:
    yield "Package", verdict.package
    if verdict.source:
        yield "From", verdict.source
    yield "Device", device
    yield "When", f"{_utc(verdict.finished_at):%Y-%m-%d %H:%M:%S} UTC"
    if verdict.parts:
        yield "Service", verdict.services
        yield "Version", verdict.versions
    for part in verdict.parts:
        if part.forgiven:
            yield "Not asked", f"{part.service} failed before the update already: {part.forgiven}"
    if spec := EVENTS.get(verdict.code):
        yield "Code", f"{spec.spoken} ({spec.code})"
        yield "Meaning", spec.sentence
    if verdict.message:
        yield "Details", verdict.message
    yield "What to do", _advice(verdict)
    yield "Update", verdict.update_id


def _advice(verdict: Verdict) -> str:
    if verdict.outcome is Outcome.ROLLBACK_FAILED:
        return f"call an engineer; {verdict.hint}" if verdict.hint else "call an engineer"
    again = "nothing; it is tried again by itself" if verdict.retry else "nothing"
    return verdict.hint or again


def prune_receipts(folder: Path, *, keep: int = KEEP_PAIRS) -> None:
    """Remove all but the newest pairs, and what a cut-off write left behind. Other files are left alone.

    Raises:
        OSError: the folder cannot be read or changed.
    """
    newest: dict[str, int] = {}
    for path in _receipts_in(folder):
        if path.suffix == UNFINISHED:
            path.unlink()
        else:
            newest[path.stem] = max(newest.get(path.stem, 0), path.stat().st_mtime_ns)
    for stem in sorted(newest, key=lambda stem: (newest[stem], stem), reverse=True)[keep:]:
        for suffix in _SUFFIXES:
            (folder / f"{stem}{suffix}").unlink(missing_ok=True)


def _receipts_in(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if RECEIPT_NAME.fullmatch(path.name.removesuffix(UNFINISHED))]


def _order_ns(folder: Path) -> int:
    """A time of modification behind those of all receipts there: the order of writing, whatever the clock says."""
    now_ns = time.time_ns()
    newest_ns = max((path.stat().st_mtime_ns for path in _receipts_in(folder)), default=0)
    return now_ns if now_ns > newest_ns else newest_ns + 1_000_000_000


def _write(path: Path, text: str, order_ns: int) -> None:
    new = path.with_name(f"{path.name}{UNFINISHED}")
    try:
        with new.open("w", encoding="utf-8", errors="replace") as file:
            os.fchmod(file.fileno(), 0o640)
            file.write(text)
            file.flush()
            os.utime(file.fileno(), ns=(order_ns, order_ns))
            os.fsync(file.fileno())
        new.replace(path)
    except OSError:
        with suppress(OSError):
            new.unlink()
        raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
