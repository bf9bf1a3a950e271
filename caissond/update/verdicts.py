"""From a finished record, or a refusal, to the row of the history: pure."""

from datetime import datetime

from caissond.errors import CaissonError
from caissond.model.events import hint_for
from caissond.model.ids import UpdateId
from caissond.model.manifest import Manifest
from caissond.model.records import Outcome, Part, PartVerdict, Record, Status, Verdict
from caissond.model.text import printable


def outcome_of(record: Record) -> Outcome:
    """How a record with nothing left to do has ended."""
    if record.failure is None:
        return Outcome.SUCCEEDED
    if record.stuck:
        return Outcome.ROLLBACK_FAILED
    if record.failure.refused:
        return Outcome.REFUSED
    stopped_old = any(
        name.endswith("/stop-old") and status is not Status.PENDING
        for name, status in record.statuses.items()
    )
    return Outcome.ROLLED_BACK if stopped_old else Outcome.FAILED


def is_unsettled(record: Record) -> bool:
    """Whether an undo was stuck. An old release that runs again but is not well (its gate said no) is settled: there
    is nothing left to undo.
    """
    return any(not stuck.verdict for stuck in record.stuck)


_ABOUT_PACKAGES = ("archive.", "manifest.", "image.", "package.", "trust.", "release.", "gate.")
_MAY_CHANGE = frozenset(
    {
        "image.no_healthcheck",  # its container may have one
        "package.changed",
        "package.reference_taken",
        "trust.expired",  # by the clock
        "trust.not_yet_valid",
    }
)
_DONE = frozenset({Outcome.SUCCEEDED, Outcome.NOTHING_TO_DO, Outcome.SKIPPED})


def is_about_package(verdict: Verdict) -> bool:
    """Whether the same package would get the same verdict again; one for the host's sake may end otherwise once the
    host is mended.
    """
    if verdict.retry or verdict.code in _MAY_CHANGE:
        return False
    return verdict.outcome in _DONE or verdict.code.startswith(_ABOUT_PACKAGES)


def verdict_on(record: Record, *, finished_at: datetime) -> Verdict:
    """The verdict on an update that is finished."""
    outcome = outcome_of(record)
    failure = record.stuck[0] if record.stuck else record.failure
    return Verdict(
        update_id=record.update_id,
        package=record.package,
        package_identity=record.package_identity,
        source=record.source,
        outcome=outcome,
        code=failure.code if failure else "",
        message=failure.message if failure else "",
        hint=hint_for(failure.code) if failure else "",
        retry=record.failure is not None and record.failure.interrupted,
        unsettled=is_unsettled(record),
        parts=tuple(_part(part, outcome) for part in record.parts),
        started_at=record.started_at,
        finished_at=finished_at,
    )


def _part(part: Part, outcome: Outcome) -> PartVerdict:
    before = part.before
    return PartVerdict(
        service=part.release.service,
        version=part.release.version,
        digest=part.release.digest,
        reference=part.release.reference,
        previous_version=before.installed.release.version if before.installed else None,
        previous_reference=before.reference,
        ungated=not part.is_gated,
        forgiven=part.forgiven,
        outcome=outcome,
    )


def verdict_without_update(
    update_id: UpdateId, package: str, outcome: Outcome, error: CaissonError, *, source: str,
    manifest: Manifest | None, identity: str, started_at: datetime, finished_at: datetime,
) -> Verdict:  # fmt: skip
    """The verdict on a package that changed nothing: refused, passed over, or put off."""
    return Verdict(
        update_id=update_id,
        package=printable(package, limit=200),
        package_identity=identity,
        source=source,
        outcome=outcome,
        code=error.code,
        message=printable(error.message, limit=500),
        hint=hint_for(error.code),
        retry=outcome is Outcome.POSTPONED,
        parts=_parts_of(manifest, outcome) if manifest else (),
        started_at=started_at,
        finished_at=finished_at,
    )


def _parts_of(manifest: Manifest, outcome: Outcome) -> tuple[PartVerdict, ...]:
    by_service = {target.service: target.reference for target in reversed(manifest.targets)}
    return tuple(
        PartVerdict(service=service, version=manifest.version, reference=by_service[service], outcome=outcome)
        for service in manifest.services
    )
