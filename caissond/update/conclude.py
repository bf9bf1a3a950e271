"""The end of a package's turn: its row in the history, its receipt, its line in the log."""

import socket

from caissond.errors import CaissonError
from caissond.model.records import GOING_BACK, Outcome, Verdict
from caissond.report.receipts import write_receipt
from caissond.update.device import Device
from caissond.update.timing import LATER_CODES

_TOLD = {
    Outcome.SUCCEEDED: ("update.committed", "the service runs the new release"),
    Outcome.FAILED: ("update.step_failed", "the update failed before the service was touched"),
    Outcome.ROLLED_BACK: ("update.rolled_back", "the service runs its old release again"),
    Outcome.ROLLBACK_FAILED: (
        "update.rollback_failed",
        "the old release could not be brought back as it was",
    ),
}


def conclude(device: Device, verdict: Verdict) -> None:
    """Write a verdict down and tell it. What is put off, or is not for this device, is told only.

    Raises:
        StoreError: it could not be written down.
    """
    if has_receipt(verdict):
        device.history.add(verdict, keep_running=verdict.unsettled)
        _write_receipt(device, verdict)
    _tell(device, verdict)


def has_receipt(verdict: Verdict) -> bool:
    """Whether it is written down: what is put off, or is not for this device, is not."""
    return verdict.outcome is not Outcome.POSTPONED and verdict.code != "package.not_for_this_device"


def _write_receipt(device: Device, verdict: Verdict) -> None:
    try:
        write_receipt(device.paths.receipts, verdict, device=socket.gethostname())
    except CaissonError as exc:
        device.bus.tell(exc.code, exc.message)


def _tell(device: Device, verdict: Verdict) -> None:
    code, text = _sentence(verdict)
    fields = {"update": verdict.update_id, "package": verdict.package, "outcome": verdict.outcome.value}
    device.bus.tell(code, text, **fields, service=verdict.services, version=verdict.versions)


def _sentence(verdict: Verdict) -> tuple[str, str]:
    name = verdict.package
    if verdict.outcome is Outcome.POSTPONED:
        hint = f"; {verdict.hint}" if verdict.hint else ""
        tells_why = verdict.code in LATER_CODES or verdict.code.startswith("hook.")
        code = verdict.code if tells_why else "update.postponed"
        return code, f"{name}: has to wait: {verdict.message}{hint}"
    if verdict.outcome is Outcome.REFUSED:
        return verdict.code, f"{name}: refused: {verdict.message}"
    if verdict.outcome in (Outcome.SKIPPED, Outcome.NOTHING_TO_DO):
        return verdict.code, f"{name}: passed over: {verdict.message}"
    what = " and ".join(f"{part.service} {part.version}" for part in verdict.parts)
    why = f": {verdict.message}" if verdict.message else ""
    if verdict.retry and verdict.outcome is not Outcome.ROLLBACK_FAILED:
        return "update.interrupted", f"{what}: the update was cut off and is undone{why}"
    if verdict.outcome is Outcome.SUCCEEDED and any(part.ungated for part in verdict.parts):
        return (
            "update.committed",
            f"{what}: the service has the new release; it was stopped and stays stopped",
        )
    if verdict.outcome is Outcome.SUCCEEDED and verdict.source == GOING_BACK:
        return "update.went_back", f"{what}: the service runs this earlier release again, as it was asked to"
    code, words = _TOLD[verdict.outcome]
    return code, f"{what}: {words}{why}"
