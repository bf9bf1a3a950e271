"""One package from candidate to verdict: the story of Caisson, readable from top to bottom."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
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
from caissond.model.catalog import Service
from caissond.model.ids import Digest, UpdateId, new_update_id
from caissond.model.manifest import Manifest, Target
from caissond.model.records import AuditKind, Before, Installed, Outcome, Part, Record, Release, Verdict
from caissond.model.text import printable
from caissond.package.image import Image
from caissond.package.staging import open_regular
from caissond.package.validate import Package, check_layout, read_package, read_target
from caissond.update.apply import Run, StagedImage
from caissond.update.conclude import conclude
from caissond.update.device import Device
from caissond.update.handled import Handled, identify
from caissond.update.policy import (
    NOT_FOR_THIS_DEVICE,
    WAIT_FOR_THE_HOST,
    Act,
    Decision,
    check_runtime,
    plan_release,
    select_targets_on,
)
from caissond.update.space import check_room
from caissond.update.survey import check_health_check, check_reference, check_settled, survey
from caissond.update.trusting import check_trust
from caissond.update.verdicts import is_about_package, verdict_without_update

WAITS = WAIT_FOR_THE_HOST | {"package.changed"}
"""Refusals for which the package stays where it is."""
VETO_MARGIN_S = 30
"""For starting what is asked, on top of the time that it has for its answer."""


@dataclass(frozen=True, slots=True)
class Request:
    """A package that wants its turn."""

    path: Path
    origin: Origin
    allow_unsigned: bool = False
    """The operator's word on the command line; the settings may say so too."""
    allow_downgrade: bool = False
    newest_here: Mapping[str, str] = field(default_factory=dict)
    """By service, the newest version in the same place."""


class PassedOver(CaissonError):
    """Nothing is wrong with the package, and nothing is to be done."""


@dataclass
class _Turn:
    """What is known so far of the package that has its turn."""

    request: Request
    started_at: datetime
    update_id: UpdateId = field(default_factory=new_update_id)
    package: Package | None = None
    identity: str = ""
    is_vouched: bool = False
    """As many as the device asks for have signed it."""

    @property
    def name(self) -> str:
        """The package's file name, as it can be written down: on a medium it may be any bytes."""
        return printable(self.request.path.name, limit=200)


@dataclass(frozen=True, slots=True)
class _Taken:
    """A package of which everything but the layers was found right."""

    service: Service
    target: Target
    release: Release
    image: Image


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
        turn = _Turn(request, self._device.now())
        try:
            with open_regular(request.path) as source:
                return self._give_turn(source, turn)
        except (Refusal, SourceGone, Stopping) as exc:  # it cannot be opened, or not even looked at
            return self._conclude_without_update(turn, exc)

    def _give_turn(self, source: BinaryIO, turn: _Turn) -> Verdict | None:
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

    def _look(self, source: BinaryIO, turn: _Turn) -> Refusal | None:
        """Headers, manifest and signatures, once: everything else is decided on what was read here."""
        try:
            turn.package = read_package(source)
        except Refusal as exc:
            return exc
        finally:
            turn.identity = identify(source, turn.package)
        return None

    def _judge(self, source: BinaryIO, turn: _Turn, file: Signature, problem: Refusal | None) -> Verdict:
        device = self._device
        device.bus.tell("package.received", f"{turn.name}: looking at it", package=turn.name)
        device.audit(turn.update_id, AuditKind.VALIDATION_STARTED, f"started validating {turn.name!r}")
        try:
            if problem is not None:
                raise problem
            assert turn.package is not None  # that would be the problem
            taken = self._take_in(source, turn, turn.package)
            return self._update(source, turn, taken, file)
        except (Refusal, PassedOver, SourceGone, Stopping, DockerError, HostUnavailable) as exc:
            if self._is_running(turn):
                raise
            return self._conclude_without_update(turn, exc)

    def _take_in(self, source: BinaryIO, turn: _Turn, package: Package) -> _Taken:
        """Decide all that can be decided without reading a layer. What the signatures vouch for is looked at once they
        are found good, not before.
        """
        target, service = self._choose(package.manifest)
        allow_unsigned = turn.request.allow_unsigned
        signatures = check_trust(self._device, package, (service,), allow_unsigned=allow_unsigned)
        keys = {signature.fingerprint for signature in signatures}
        turn.is_vouched = len(keys) >= self._device.settings.trust.required_signatures
        check_layout(source, package)
        image = read_target(source, package, target)
        return _Taken(service, target, _release(package.manifest, target, image), image)

    def _choose(self, manifest: Manifest) -> tuple[Target, Service]:
        """The target that is this device's, and its service."""
        selection = select_targets_on(self._device.settings, self._device.catalog, manifest)
        if selection.problems:
            raise selection.problems[0]
        (target,) = selection.targets
        service = self._device.catalog.find(target.service)
        assert service is not None  # there would be a problem
        return target, service

    def _survey(self, taken: _Taken, turn: _Turn) -> Before:
        """Everything that what is known of releases and what Docker has decide."""
        device, service, release = self._device, taken.service, taken.release
        name = check_runtime(service)
        check_settled(device.journal, service)
        device.docker.ping()
        self._decide(release, name, turn)
        installed = device.releases.installed(service.name)
        before = survey(
            device.docker, service, name, release, state_dir=device.paths.state_dir, installed=installed,
            is_known=lambda update: device.history.find(update) is not None,
        )  # fmt: skip
        check_reference(device.docker, release, name, device.catalog, device.releases.all_installed())
        check_health_check(service, before, has_healthcheck=taken.image.has_healthcheck)
        return before

    def _update(self, source: BinaryIO, turn: _Turn, taken: _Taken, file: Signature) -> Verdict:
        device, release = self._device, taken.release
        before = self._survey(taken, turn)
        limit_bytes = check_room(device, taken.image, taken.target)
        text = f"accepted package for {release.service} {release.version}"
        device.audit(turn.update_id, AuditKind.VALIDATION_ACCEPTED, text)
        device.bus.tell("package.accepted", f"{turn.name}: right for {release.service}", package=turn.name)
        self._ask_veto(release, before, turn)
        device.check_stop()
        part = Part(
            container_name=check_runtime(taken.service), release=release, before=before, vouched=turn.is_vouched
        )  # fmt: skip
        record = Record(
            update_id=turn.update_id, parts=(part,), statuses={}, package=turn.name,
            package_identity=turn.identity, source=turn.request.origin.value, started_at=turn.started_at,
        )  # fmt: skip
        staged = StagedImage(source, taken.image, limit_bytes, file)
        return Run(device, record, {release.service: staged}).begin()

    def _ask_veto(self, release: Release, before: Before, turn: _Turn) -> None:
        """
        Raises:
            Refusal: `hook.refused`.
            HostUnavailable: `hook.*`: some other time.
        """
        device, installed = self._device, before.installed
        device.beat(device.settings.hooks.timeout_secs + VETO_MARGIN_S)
        fields = {
            "update": turn.update_id, "package": turn.name, "source": turn.request.origin.value,
            "service": release.service, "version": release.version,
            "previous": installed.release.version if installed else "",
        }  # fmt: skip
        device.veto(fields)

    def _decide(self, release: Release, name: str, turn: _Turn) -> None:
        installed = self._device.releases.installed(release.service)
        decision = self._plan(release, installed, turn)
        if decision.code == "release.already_installed" and installed is not None:
            container = self._device.docker.find_container(name)
            if container is None or container["Image"] != installed.image_id:
                # somebody removed or replaced the container by hand since
                decision = self._plan(release, None, turn)
        if decision.code == "release.too_many_attempts":
            self._device.releases.clear_attempts(release)  # whoever brings it once more means it
        if decision.code == "package.downgrade" and self._device.releases.downgrade_used(release):
            reason = f"{decision.reason} once more: its leave to go back was used before"
            decision = Decision(decision.act, decision.code, reason)
        _raise_unless_apply(decision)

    def _plan(self, release: Release, installed: Installed | None, turn: _Turn) -> Decision:
        releases, by_hand = self._device.releases, turn.request.allow_downgrade
        quarantined = releases.quarantined(release)
        says_so = turn.is_vouched and turn.package is not None and turn.package.manifest.allow_downgrade
        return plan_release(
            release, installed, quarantined_code=quarantined.code if quarantined else None,
            attempts=releases.attempts(release), held=releases.held(release.service),
            newest_here=None if by_hand else turn.request.newest_here.get(release.service),
            allow_downgrade=by_hand or (says_so and not releases.downgrade_used(release)),
        )  # fmt: skip

    def _is_running(self, turn: _Turn) -> bool:
        return any(record.update_id == turn.update_id for record in self._device.journal.unfinished())

    def refuse(self, request: Request, manifest: Manifest | None, error: Refusal) -> Verdict:
        """Write down a package that was refused before its turn. Needs no lock: nothing else is changed."""
        turn = _Turn(request, self._device.now())
        return self._conclude_without_update(turn, error, manifest)

    def _conclude_without_update(
        self, turn: _Turn, error: CaissonError, manifest: Manifest | None = None
    ) -> Verdict:
        outcome, error = _outcome_of(error, turn.request.origin)
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


def _release(manifest: Manifest, target: Target, image: Image) -> Release:
    return Release(
        service=target.service,
        version=manifest.version,
        digest=Digest(image.config_digest),
        reference=target.reference,
        created_at=manifest.created_at,
    )


def _raise_unless_apply(decision: Decision) -> None:
    if decision.act is Act.REFUSE:
        raise Refusal(decision.reason, code=decision.code)
    if decision.act is Act.SKIP:
        raise PassedOver(decision.reason, code=decision.code)


def _outcome_of(error: CaissonError, origin: Origin) -> tuple[Outcome, CaissonError]:
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
