"""One package from candidate to verdict: the story of Caisson, readable from top to bottom."""

import os
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from caissond import __version__
from caissond.errors import (
    CaissonError,
    HostUnavailable,
    Refusal,
    SourceGone,
    Stopping,
    Truncated,
)
from caissond.intake.scan import Origin
from caissond.model.catalog import Service
from caissond.model.ids import Digest, UpdateId, new_update_id
from caissond.model.manifest import Manifest
from caissond.model.records import AuditKind, Before, Outcome, Part, Record, Release, Verdict
from caissond.model.text import printable
from caissond.package.image import Image, read_image
from caissond.package.staging import copy_private, open_regular
from caissond.package.validate import Package, check_image, read_package, whole_window
from caissond.update.apply import Run, StagedImage
from caissond.update.conclude import conclude
from caissond.update.device import ByteProgress, Device
from caissond.update.handled import Handled, has_signers
from caissond.update.policy import (
    NOT_FOR_THIS_DEVICE,
    WAIT_FOR_THE_HOST,
    Act,
    Decision,
    check_runtime,
    check_trust,
    find_mismatches,
    plan_release,
)
from caissond.update.survey import check_health_check, check_reference, check_space, survey
from caissond.update.verdicts import is_about_package, verdict_without_update


@dataclass(frozen=True, slots=True)
class Request:
    """A package that wants its turn."""

    path: Path
    origin: Origin
    allow_unsigned: bool = False
    """The operator's word on the command line; the settings may say so too."""
    allow_downgrade: bool = False
    newest_here: str | None = None
    """The newest version for the same service in the same place."""


class PassedOver(CaissonError):
    """Nothing is wrong with the package, and nothing is to be done."""


@dataclass
class _Turn:
    """What is known so far of the package that has its turn."""

    request: Request
    started_at: datetime
    update_id: UpdateId = field(default_factory=new_update_id)
    manifest: Manifest | None = None
    sha256: str = ""

    @property
    def name(self) -> str:
        """The package's file name, as it can be written down: on a medium it may be any bytes."""
        return printable(self.request.path.name, limit=200)


@dataclass(frozen=True, slots=True)
class _Taken:
    """A package that was found right, and of which there is a private copy."""

    package: Package
    service: Service
    release: Release


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
        private = device.paths.work / turn.update_id
        try:
            taken = self._take_in(turn, private)
            with private.open("rb", buffering=0) as copy:  # the source may go away from here on
                staged = StagedImage(copy, self._check_copy(copy, taken))
                return self._update(turn, taken, staged)
        finally:
            private.unlink(missing_ok=True)

    def _take_in(self, turn: _Turn, private: Path) -> _Taken:
        """Decide all that headers and manifest decide, then make the private copy. What is refused or done already
        costs none.
        """
        with open_regular(turn.request.path) as source:
            package = read_package(source)
            turn.manifest = package.manifest
            service = self._check_wanted(package.manifest, turn.request)
            release = _release(package.manifest, read_image(source, package.image_window))
            self._device.docker.ping()
            self._survey(service, release, turn)
            turn.sha256 = self._copy(source, package, private)
        return _Taken(package, service, release)

    def _copy(self, source: BinaryIO, package: Package, private: Path) -> str:
        work = private.parent
        work.mkdir(mode=0o700, parents=True, exist_ok=True)
        images = self._device.docker_root() or work
        check_space(((work, package.size_bytes), (images, 2 * package.image_window.size_bytes)))
        window = whole_window(source)
        return copy_private(source, window, private, progress=self._progress("copying", window.size_bytes))

    def _check_wanted(self, manifest: Manifest, request: Request) -> Service:
        """Everything that the manifest alone decides."""
        if mismatches := self.mismatches(manifest):
            raise mismatches[0]
        self.check_trust(allow_unsigned=request.allow_unsigned)
        service = self._device.catalog.find(manifest.service)
        assert service is not None  # find_mismatches would have said so
        check_runtime(service)
        unfinished = {
            part.release.service for record in self._device.journal.unfinished() for part in record.parts
        }
        if service.name in unfinished:
            text = f"cannot update {service.name}: an earlier update is not settled"
            raise HostUnavailable(text, code="service.unsettled")
        return service

    def mismatches(self, manifest: Manifest) -> tuple[Refusal, ...]:
        """Why the package is not for this device."""
        return find_mismatches(manifest, self._device.catalog, __version__)

    def check_trust(self, *, allow_unsigned: bool) -> None:
        """Whether an unsigned package may come in.

        Raises:
            Refusal: `trust.unsigned`, `trust.no_signers`.
        """
        allowed = allow_unsigned or self._device.settings.trust.allow_unsigned
        check_trust(signed=False, allow_unsigned=allowed, has_signers=has_signers(self._device))

    def _check_copy(self, copy: BinaryIO, taken: _Taken) -> Image:
        """Check the copy from end to end. What was checked is what is used."""
        copied = read_package(copy)
        progress = self._progress("checking", copied.image_window.size_bytes)
        image = check_image(copy, copied, limit_bytes=self._room(), progress=progress)
        if copied != taken.package or image.config_digest != taken.release.digest:
            raise SourceGone("cannot use the package: it changed while it was read", code="package.changed")
        return image

    def _room(self) -> int:
        folder = os.statvfs(self._device.docker_root() or self._device.paths.work)
        return folder.f_bavail * folder.f_frsize

    def _survey(self, service: Service, release: Release, turn: _Turn) -> Before:
        """Everything that what is known of releases and what Docker has decide."""
        device, name = self._device, check_runtime(service)
        self._decide(release, name, turn)
        installed = device.releases.installed(service.name)
        before = survey(
            device.docker, service, name, release, state_dir=device.paths.state_dir, installed=installed,
            is_known=lambda update: device.history.find(update) is not None,
        )  # fmt: skip
        check_reference(device.docker, release, name, device.catalog, device.releases.all_installed())
        return before

    def _update(self, turn: _Turn, taken: _Taken, staged: StagedImage) -> Verdict:
        device, release = self._device, taken.release
        before = self._survey(taken.service, release, turn)  # once more: copying took its time
        check_health_check(taken.service, staged.image, before)
        text = f"accepted package for {release.service} {release.version}"
        device.audit(turn.update_id, AuditKind.VALIDATION_ACCEPTED, text)
        device.bus.tell("package.accepted", f"{turn.name}: right for {release.service}", package=turn.name)
        device.check_stop()
        part = Part(container_name=check_runtime(taken.service), release=release, before=before)
        record = Record(
            update_id=turn.update_id, parts=(part,), statuses={}, package=turn.name, package_sha256=turn.sha256,
            source=turn.request.origin.value, started_at=turn.started_at,
        )  # fmt: skip
        return Run(device, record, {release.service: staged}).begin()

    def _decide(self, release: Release, name: str, turn: _Turn) -> None:
        releases, request = self._device.releases, turn.request
        downgrade_signed = turn.manifest is not None and turn.manifest.allow_downgrade
        installed, quarantined = releases.installed(release.service), releases.quarantined(release)
        decision = plan_release(
            release, installed, quarantined_code=quarantined.code if quarantined else None,
            attempts=releases.attempts(release), newest_here=request.newest_here,
            allow_downgrade=request.allow_downgrade or downgrade_signed,
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
            self._handled.remember(turn.request.path, turn.sha256, verdict.outcome)

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
            manifest=turn.manifest, sha256=turn.sha256, started_at=turn.started_at, finished_at=self._device.now(),
        )  # fmt: skip
        conclude(self._device, verdict)
        return verdict

    def _progress(self, phase: str, total_bytes: int) -> ByteProgress:
        return ByteProgress(self._device, phase, total_bytes)


def _release(manifest: Manifest, image: Image) -> Release:
    return Release(
        service=manifest.service,
        version=manifest.version,
        digest=Digest(image.config_digest),
        reference=manifest.reference,
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
