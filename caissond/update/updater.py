"""One package from candidate to verdict: the story of Caisson, readable from top to bottom."""

import os
from typing import BinaryIO

from caissond.errors import (
    CaissonError,
    DockerError,
    HostUnavailable,
    Refusal,
    SourceGone,
    Stopping,
    Truncated,
)
from caissond.intake.scan import Origin, Signature
from caissond.model.manifest import Manifest
from caissond.model.records import AuditKind, Outcome, Part, Record, Verdict
from caissond.package.staging import open_regular
from caissond.package.validate import read_package
from caissond.update.acceptance import Acceptance, NotYet, PassedOver, Request, Taken, Turn
from caissond.update.apply import Run, StagedImage
from caissond.update.conclude import conclude
from caissond.update.device import Device
from caissond.update.handled import Handled, identify
from caissond.update.policy import (
    NOT_FOR_THIS_DEVICE,
    WAIT_FOR_THE_HOST,
)
from caissond.update.verdicts import is_about_package, verdict_without_update

WAITS = WAIT_FOR_THE_HOST | {"package.changed", "package.not_found", "service.paused"}
"""Refusals for which the package stays where it is: it was there a moment ago, and after a yank vfat says it is not;
whoever pauses a service wants it to go on later.
"""
VETO_MARGIN_S = 30
"""For starting what is asked, on top of the time that it has for its answer."""


class Updater:
    """Handles packages, one at a time. The caller holds the lock and has settled."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._handled = Handled(device)

    def handle(self, request: Request) -> Verdict | None:
        """Give a package its turn; None when it lies on a medium and had its turn before.

        Raises:
            HostUnavailable: the engine went away in the middle of an update; the record waits for `settle`.
            StoreError: the state database cannot be used.
        """
        turn = Turn(request, self._device.now())
        try:
            with open_regular(request.path) as source:
                return self._give_turn(source, turn)
        except (Refusal, SourceGone, Stopping) as exc:  # it cannot be opened, or not even looked at
            return self._conclude_without_update(turn, exc)

    def _give_turn(self, source: BinaryIO, turn: Turn) -> Verdict | None:
        file = Signature.of(os.fstat(source.fileno()))
        problem = self._look(source, turn)
        is_medium = turn.request.origin is Origin.MEDIA
        if is_medium and self._handled.had_its_turn(source, turn.identity):
            text = f"{turn.name}: had its turn before"
            self._device.bus.tell("package.handled_before", text, package=turn.name)
            return None
        verdict = self._judge(source, turn, file, problem)
        if verdict.code == "media.gone" and not os.path.lexists(turn.request.path):
            self._forgive(verdict)
        if is_medium and is_about_package(verdict):
            self._handled.remember(source, turn.package, turn.identity, verdict)
        return verdict

    def _forgive(self, verdict: Verdict) -> None:
        """A stick that is pulled says nothing about the release."""
        for part in verdict.parts:
            self._device.releases.forgive_attempt(part.service, part.version, part.digest)

    def _look(self, source: BinaryIO, turn: Turn) -> Refusal | None:
        """Headers, manifest and signatures, once: everything else is decided on what was read here."""
        try:
            turn.package = read_package(source)
        except Refusal as exc:
            return exc
        finally:
            turn.identity = identify(source, turn.package)
        return None

    def _judge(self, source: BinaryIO, turn: Turn, file: Signature, problem: Refusal | None) -> Verdict:
        device = self._device
        device.bus.tell("package.received", f"{turn.name}: looking at it", package=turn.name)
        device.audit(turn.update_id, AuditKind.VALIDATION_STARTED, f"started validating {turn.name!r}")
        try:
            if problem is not None:
                raise problem
            assert turn.package is not None  # that would be the problem
            taken = Acceptance(self._device, turn).take_in(source, turn.package)
            return self._update(source, turn, taken, file)
        except (Refusal, PassedOver, NotYet, SourceGone, Stopping, DockerError, HostUnavailable) as exc:
            if self._is_running(turn):
                raise
            return self._conclude_without_update(turn, exc)

    def _update(self, source: BinaryIO, turn: Turn, taken: tuple[Taken, ...], file: Signature) -> Verdict:
        device, acceptance = self._device, Acceptance(self._device, turn)
        taken = acceptance.choose(taken)
        parts, limits_bytes = acceptance.check_host(taken)
        self._accept(parts, turn)
        self._ask_veto(parts, turn)
        device.check_stop()
        parts = acceptance.ask_before(taken, parts)
        record = Record(
            update_id=turn.update_id, parts=parts, statuses={}, package=turn.name,
            package_identity=turn.identity, source=turn.request.origin.value, started_at=turn.started_at,
        )  # fmt: skip
        staged = {
            one.release.service: StagedImage(source, one.image, limit_bytes, file, turn.request.on_read)
            for one, limit_bytes in zip(taken, limits_bytes, strict=True)
        }
        return Run(device, record, staged).begin()

    def _accept(self, parts: tuple[Part, ...], turn: Turn) -> None:
        services = ", ".join(part.release.service for part in parts)
        text = f"accepted package for {services} {parts[0].release.version}"
        self._device.audit(turn.update_id, AuditKind.VALIDATION_ACCEPTED, text)
        self._device.bus.tell("package.accepted", f"{turn.name}: right for {services}", package=turn.name)

    def _ask_veto(self, parts: tuple[Part, ...], turn: Turn) -> None:
        """
        Raises:
            Refusal: `hook.refused`.
            HostUnavailable: `hook.*`: some other time.
        """
        device = self._device
        installed = [part.before.installed for part in parts]
        device.beat(device.settings.hooks.timeout_secs + VETO_MARGIN_S)
        fields = {
            "update": turn.update_id, "package": turn.name, "source": turn.request.origin.value,
            "service": ", ".join(part.release.service for part in parts),
            "version": parts[0].release.version,
            "previous": ", ".join(known.release.version for known in installed if known),
        }  # fmt: skip
        device.veto(fields)

    def _is_running(self, turn: Turn) -> bool:
        return any(record.update_id == turn.update_id for record in self._device.journal.unfinished())

    def refuse(self, request: Request, manifest: Manifest | None, error: Refusal) -> Verdict:
        """Write down a package that was refused before its turn. Needs no lock: nothing else is changed."""
        turn = Turn(request, self._device.now())
        return self._conclude_without_update(turn, error, manifest)

    def _conclude_without_update(
        self, turn: Turn, error: CaissonError, manifest: Manifest | None = None
    ) -> Verdict:
        outcome, error = end_without_update(error, turn.request.origin)
        if outcome is Outcome.REFUSED:
            self._device.audit(
                turn.update_id, AuditKind.VALIDATION_REJECTED, f"{error.code}: {error.message}"
            )
        verdict = verdict_without_update(
            turn.update_id, turn.name, outcome, error, source=turn.request.origin.value,
            manifest=turn.package.manifest if turn.package else manifest,
            identity=turn.identity, started_at=turn.started_at, finished_at=self._device.now(),
        )  # fmt: skip
        conclude(self._device, verdict)
        return verdict


def end_without_update(error: CaissonError, origin: Origin) -> tuple[Outcome, CaissonError]:
    """How a turn without an update ended. On a medium, packages for other devices are no faults; a file that may
    still grow is looked at again, except where an operator named it.
    """
    if isinstance(error, PassedOver):
        done = error.code == "release.already_installed"
        return (Outcome.NOTHING_TO_DO if done else Outcome.SKIPPED), error
    if isinstance(error, Truncated) and origin is not Origin.COMMAND:
        return Outcome.POSTPONED, error
    if error.code in WAITS and origin is not Origin.COMMAND:
        return Outcome.POSTPONED, error
    if isinstance(error, Refusal):
        if origin is Origin.MEDIA and error.code in NOT_FOR_THIS_DEVICE:
            return Outcome.SKIPPED, PassedOver(error.message, code="package.not_for_this_device")
        return Outcome.REFUSED, error
    return Outcome.POSTPONED, error
