"""One package from candidate to verdict: the story of Caisson, readable from top to bottom."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from caissond.errors import (
    CaissonError,
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
from caissond.model.records import AuditKind, Before, Outcome, Part, Record, Release, Verdict
from caissond.model.text import printable
from caissond.package.image import Image
from caissond.package.staging import open_regular
from caissond.package.validate import check_layout, identity_of, read_package, read_target
from caissond.update.apply import Run, StagedImage
from caissond.update.conclude import conclude
from caissond.update.device import Device
from caissond.update.handled import Handled
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
from caissond.update.survey import check_health_check, check_reference, survey
from caissond.update.trusting import check_trust
from caissond.update.verdicts import is_about_package, verdict_without_update


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
    manifest: Manifest | None = None
    identity: str = ""
    may_go_back: bool = False
    """Somebody who may say so says that an older version is meant."""

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
    file: Signature
    """The file as it was before anything of it was read."""


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
            if request.origin is Origin.MEDIA and self._handled.had_its_turn(request.path):
                text = f"{turn.name}: had its turn before"
                self._device.bus.tell("package.handled_before", text, package=turn.name)
                return None
            verdict = self._process(turn)
        except (Refusal, PassedOver, SourceGone, Stopping, HostUnavailable) as exc:
            if self._is_running(turn):
                raise
            verdict = self._conclude_without_update(turn, exc)
        self._remember(turn, verdict)
        return verdict

    def _process(self, turn: _Turn) -> Verdict:
        device = self._device
        device.bus.tell("package.received", f"{turn.name}: looking at it", package=turn.name)
        device.audit(turn.update_id, AuditKind.VALIDATION_STARTED, f"started validating {turn.name!r}")
        with open_regular(turn.request.path) as source:
            taken = self._take_in(source, turn)
            return self._update(source, turn, taken)

    def _take_in(self, source: BinaryIO, turn: _Turn) -> _Taken:
        """Decide all that can be decided without reading a layer. What the signatures vouch for is looked at once they
        are found good, not before.
        """
        file = Signature.of(os.fstat(source.fileno()))
        package = read_package(source)
        turn.manifest = package.manifest
        target, service = self._choose(package.manifest)
        turn.may_go_back = turn.request.allow_downgrade
        if check_trust(self._device, package, (service,), allow_unsigned=turn.request.allow_unsigned):
            turn.may_go_back |= package.manifest.allow_downgrade
        check_layout(source, package)
        turn.identity = identity_of(source, package)
        image = read_target(source, package, target)
        return _Taken(service, target, _release(package.manifest, target, image), image, file)

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
        self._check_settled(service)
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

    def _check_settled(self, service: Service) -> None:
        unfinished = self._device.journal.unfinished()
        if service.name in {part.release.service for record in unfinished for part in record.parts}:
            text = f"cannot update {service.name}: an earlier update is not settled"
            raise HostUnavailable(text, code="service.unsettled")

    def _update(self, source: BinaryIO, turn: _Turn, taken: _Taken) -> Verdict:
        device, release = self._device, taken.release
        before = self._survey(taken, turn)
        limit_bytes = check_room(device, taken.image, taken.target)
        text = f"accepted package for {release.service} {release.version}"
        device.audit(turn.update_id, AuditKind.VALIDATION_ACCEPTED, text)
        device.bus.tell("package.accepted", f"{turn.name}: right for {release.service}", package=turn.name)
        device.check_stop()
        part = Part(container_name=check_runtime(taken.service), release=release, before=before)
        record = Record(
            update_id=turn.update_id, parts=(part,), statuses={}, package=turn.name,
            package_identity=turn.identity, source=turn.request.origin.value, started_at=turn.started_at,
        )  # fmt: skip
        staged = StagedImage(source, taken.image, limit_bytes, taken.file)
        return Run(device, record, {release.service: staged}).begin()

    def _decide(self, release: Release, name: str, turn: _Turn) -> None:
        releases = self._device.releases
        installed, quarantined = releases.installed(release.service), releases.quarantined(release)
        used = not turn.request.allow_downgrade and releases.downgrade_used(release)
        decision = plan_release(
            release, installed, quarantined_code=quarantined.code if quarantined else None,
            attempts=releases.attempts(release), newest_here=turn.request.newest_here.get(release.service),
            allow_downgrade=turn.may_go_back and not used, held=releases.held(release.service),
        )  # fmt: skip
        if decision.code == "release.already_installed" and installed is not None:
            container = self._device.docker.find_container(name)
            if container is None or container["Image"] != installed.image_id:
                return  # somebody removed or replaced the container by hand since
        if decision.code == "release.too_many_attempts":
            releases.clear_attempts(release)  # whoever brings it once more means it
        _raise_unless_apply(decision)

    def _remember(self, turn: _Turn, verdict: Verdict) -> None:
        if turn.request.origin is Origin.MEDIA and is_about_package(verdict):
            self._handled.remember(turn.request.path, verdict)

    def _is_running(self, turn: _Turn) -> bool:
        return any(record.update_id == turn.update_id for record in self._device.journal.unfinished())

    def refuse(self, request: Request, manifest: Manifest | None, error: Refusal) -> Verdict:
        """Write down a package that was refused before its turn. Needs no lock: nothing else is changed."""
        turn = _Turn(request, self._device.now(), manifest=manifest)
        return self._conclude_without_update(turn, error)

    def _conclude_without_update(self, turn: _Turn, error: CaissonError) -> Verdict:
        outcome, error = _outcome_of(error, turn.request.origin)
        if outcome is Outcome.REFUSED:
            self._device.audit(
                turn.update_id, AuditKind.VALIDATION_REJECTED, f"{error.code}: {error.message}"
            )
        verdict = verdict_without_update(
            turn.update_id, turn.name, outcome, error, source=turn.request.origin.value,
            manifest=turn.manifest, identity=turn.identity, started_at=turn.started_at, finished_at=self._device.now(),
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
    if error.code in WAIT_FOR_THE_HOST and origin is not Origin.COMMAND:
        return Outcome.POSTPONED, error
    if isinstance(error, Refusal):
        if origin is Origin.MEDIA and error.code in NOT_FOR_THIS_DEVICE:
            return Outcome.SKIPPED, PassedOver(error.message, code="package.not_for_this_device")
        return Outcome.REFUSED, error
    return Outcome.POSTPONED, error
