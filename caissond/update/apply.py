"""Driving a record to its end, telling what happens, and writing the verdict down. Fresh updates and recovery alike."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from semver import Version

from caissond.errors import CaissonError, HostUnavailable, Refusal, SourceGone, StoreError
from caissond.host.ingest import import_image, sweep_intermediates
from caissond.intake.scan import Signature
from caissond.model.catalog import HealthCheck, Service
from caissond.model.ids import ImageId, UpdateId
from caissond.model.records import GOING_BACK, AuditKind, Failure, Outcome, Part, Record, Status, Verdict
from caissond.package.image import Image
from caissond.update.bundle import order_steps
from caissond.update.conclude import conclude
from caissond.update.container_steps import ContainerSteps, step_names
from caissond.update.device import Device
from caissond.update.engine import after_restart, drive
from caissond.update.images import clean_images
from caissond.update.step_tools import Tools
from caissond.update.trusting import raise_time_floor
from caissond.update.verdicts import is_unsettled, outcome_of, verdict_on

ROLLBACK_PAUSES_S = (1, 3)


@dataclass(frozen=True, slots=True)
class StagedImage:
    """An image whose config is verified, and where its layers are."""

    source: BinaryIO
    """The package itself: what is not on the engine yet is read from it, checked, and handed on."""
    image: Image
    limit_bytes: int
    """What its layers may unpack to."""
    before: Signature
    """Of the file, when it was opened."""
    on_read: Callable[[], None] = lambda: None
    """Told when nothing more is read from the source."""

    def check_unchanged(self) -> None:
        """
        Raises:
            SourceGone: `package.changed`.
        """
        if Signature.of(os.fstat(self.source.fileno())) != self.before:
            raise SourceGone("cannot use the package: it changed while it was read", code="package.changed")


@dataclass(frozen=True, slots=True)
class KeptImage:
    """An image that the engine has: the release before, under its keep tag."""

    image_id: ImageId


class UpdateHost:
    """What the steps of one update are given: the images, and somebody to tell."""

    def __init__(
        self, device: Device, update_id: UpdateId, staged: Mapping[str, StagedImage | KeptImage]
    ) -> None:
        self._device = device
        self._update_id = update_id
        self._staged = staged
        self._unread = {service for service, image in staged.items() if isinstance(image, StagedImage)}
        self.sync = device.sync_docker
        self.pause = device.pause
        self.pause_whatever_comes = device.pause_whatever_comes
        self.beat = device.beat
        self.free_port = device.free_port

    def import_image(self, part: Part, tag: str) -> ImageId:
        service = part.release.service
        staged = self._staged[service]
        if isinstance(staged, KeptImage):
            self._device.docker.tag(staged.image_id, tag)
            return staged.image_id
        self.tell("update.loading", f"{service} {part.release.version}: the new image goes into Docker")
        self.audit(AuditKind.IMAGE_IMPORT_STARTED, part.release.reference)
        try:
            loaded = self._load(staged, tag)
            self._be_done_with(service, staged)
        except CaissonError as exc:
            self.audit(AuditKind.IMAGE_IMPORT_FAILED, exc.message)
            raise
        self.audit(AuditKind.IMAGE_IMPORT_SUCCEEDED, loaded)
        return loaded

    def _be_done_with(self, service: str, staged: StagedImage) -> None:
        """Once the last image is in, the medium may be removed."""
        self._unread.discard(service)
        if not self._unread:
            staged.source.close()
            staged.on_read()

    def remove_intermediates(self) -> None:
        """What a cut-off import left between two layers."""
        device = self._device
        sweep_intermediates(
            device.docker, claim=device.claim, is_running=lambda update_id: update_id != self._update_id
        )

    def _load(self, staged: StagedImage, tag: str) -> ImageId:
        total = sum(layer.size_bytes for layer in staged.image.layers)
        done = 0

        def on_progress(size_bytes: int) -> None:
            nonlocal done
            done += size_bytes
            self._device.check_stop()
            self._device.beat(self._device.settings.docker.load_stall_secs)
            self._device.bus.progress("loading", done, total)

        device = self._device
        try:
            return import_image(
                device.docker, staged.source, staged.image, tag=tag, work=device.paths.work / self._update_id,
                mark=f"{device.claim}-{self._update_id}", limit_bytes=staged.limit_bytes, on_progress=on_progress,
            )  # fmt: skip
        except Refusal:
            staged.check_unchanged()
            raise

    def tell(self, code: str, text: str) -> None:
        self._device.bus.tell(code, text, update=self._update_id)

    def audit(self, kind: AuditKind, message: str) -> None:
        """What cannot be written to the chain is told instead: it neither stops an update nor hides why one failed."""
        try:
            self._device.audit(self._update_id, kind, message)
        except StoreError as exc:
            self.tell(exc.code, f"{exc.message}; not in the audit chain: {kind.value}: {message}")


class Run:
    """One record on its way to a verdict."""

    def __init__(self, device: Device, record: Record, staged: Mapping[str, StagedImage | KeptImage]) -> None:
        self._device = device
        self._host = UpdateHost(device, record.update_id, staged)
        self._record = record
        self._told_before = False
        self._parts = tuple(self._steps_of(part) for part in record.parts)
        self._steps = tuple(step for part in self._parts for step in part.steps())

    def _steps_of(self, part: Part) -> ContainerSteps:
        device = self._device
        service = device.catalog.find(part.release.service)
        check = service.health_check if service else HealthCheck()  # it may have left the catalog since
        tools = Tools(
            docker=device.docker, releases=device.releases, host=self._host, claim=device.claim,
            state_dir=device.paths.state_dir, stop_timeout_s=_stop_timeout_s(device, service),
        )  # fmt: skip
        return ContainerSteps(part, self._record.update_id, check, tools)

    def _in_order(self) -> tuple[str, ...]:
        steps = {part.release.service: step_names(part) for part in self._record.parts}
        return order_steps(steps, self._device.catalog.levels)

    def begin(self) -> Verdict:
        """A fresh update.

        Raises:
            HostUnavailable: the engine went away; the record waits for recovery.
            StoreError: nothing was begun.
        """
        statuses = dict.fromkeys(self._in_order(), Status.PENDING)
        record = self._record.model_copy(update={"statuses": statuses})
        self._device.journal.begin(record)
        for part in record.parts:
            self._device.releases.count_attempt(part.release)
        text = ", ".join(_describe(part) for part in record.parts)
        self._host.audit(AuditKind.UPDATE_STARTED, text)
        self._host.tell("update.started", f"{text}: an update begins")
        verdict = self._finish(record)
        if verdict.retry and self._device.stop.is_set():  # asked to stop: that says nothing about the release
            for part in record.parts:
                release = part.release
                self._device.releases.forgive_attempt(release.service, release.version, release.digest)
        return verdict

    def resume(self) -> Verdict:
        """An update that was cut off.

        Raises:
            HostUnavailable: the engine went away again.
        """
        self._told_before = self._device.history.find(self._record.update_id) is not None
        if not self._told_before:
            name = self._record.package or "an update"
            self._host.tell("update.recovering", f"{name} was cut off, settling it")
        final = frozenset(step.name for step in self._steps if step.final)
        return self._finish(after_restart(self._record, final))

    def _finish(self, record: Record) -> Verdict:
        if record.failure is not None:
            self._announce(record.failure)
        record = self._drive(record)
        if record.failure is not None:
            record = self._insist(record)
            self._keep_up()
        verdict = verdict_on(record, finished_at=self._device.now())
        if record.failure is None and not self._clean_up():
            verdict = verdict.model_copy(update={"unsettled": True})
        if self._told_before and verdict.unsettled:
            return verdict  # stuck as before: no news
        self._audit_end(record)
        if not self._told_before:
            self._judge_release(record)
        conclude(self._device, verdict)
        return verdict

    def _drive(self, record: Record) -> Record:
        device = self._device
        return drive(record, self._steps, device.journal.save, self._announce, device.docker.answers)

    def _announce(self, failure: Failure) -> None:
        if not self._told_before and not failure.refused:
            self._host.tell(
                "update.rolling_back", f"{_services(self._record)}: {failure.message}; going back"
            )
            self._host.audit(AuditKind.ROLLBACK_STARTED, failure.message)

    def _insist(self, record: Record) -> Record:
        """Undos that were stuck, tried again: what stood in one's way may have been undone after it."""
        for pause_s in ROLLBACK_PAUSES_S:
            if not is_unsettled(record):
                break
            self._device.pause_whatever_comes(pause_s)
            record = self._drive(after_restart(record, frozenset()))
        for stuck in record.stuck if not self._told_before else ():
            self._host.tell("update.step_stuck", f"{stuck.step}: {stuck.message}")
        return record

    def _audit_end(self, record: Record) -> None:
        problem = record.stuck[0] if record.stuck else record.failure
        if problem is None:
            for part in record.parts:
                text = f"{part.release.service} {part.release.version}"
                self._host.audit(AuditKind.UPDATE_COMMITTED, text)
        elif problem.refused:
            self._host.audit(AuditKind.VALIDATION_REJECTED, f"{problem.code}: {problem.message}")
        else:
            kind = AuditKind.ROLLBACK_FAILED if record.stuck else AuditKind.ROLLBACK_SUCCEEDED
            self._host.audit(kind, problem.message)

    def _clean_up(self) -> bool:
        """Whether all is done that only the record knows of; what else is left is swept later."""
        settled = True
        for part in self._parts:
            settled &= self._tried(part.give_own_policy)
        if settled:
            for part in self._parts:
                self._tried(part.clean_up)
            self._tried(lambda: clean_images(self._device))
        return settled

    def _keep_up(self) -> None:
        """Whatever cut the update, or its way back, off may have taken down a service that nobody else brings back."""
        for part in self._parts if not self._told_before else ():
            self._tried(part.keep_up)

    def _tried(self, work: Callable[[], None]) -> bool:
        try:
            work()
        except HostUnavailable:
            raise
        except CaissonError as exc:
            if not self._told_before:
                self._host.tell("update.cleanup_failed", exc.message)
            return False
        return True

    def _judge_release(self, record: Record) -> None:
        """Only a verdict of the gate puts a release into quarantine; it ends the counting, and so do a success and a
        package that is refused.
        """
        outcome, failure = outcome_of(record), record.failure
        for part in record.parts:
            if failure is not None and failure.verdict and failure.is_of(part.release.service):
                self._device.releases.quarantine(
                    part.release, code=failure.code, update_id=record.update_id, at=self._device.now()
                )
            if outcome is Outcome.SUCCEEDED or (failure is not None and (failure.verdict or failure.refused)):
                self._device.releases.clear_attempts(part.release)
            if outcome is Outcome.SUCCEEDED or (failure is not None and failure.verdict):
                self._device.sightings.forget(part.release)
            if outcome is Outcome.SUCCEEDED:
                self._remember_commit(part)

    def _remember_commit(self, part: Part) -> None:
        """What later packages are held against."""
        releases, installed = self._device.releases, part.before.installed
        if self._record.source == GOING_BACK:
            releases.hold(part.release.service, installed.release.version if installed else "")
            releases.forget_handled()
            return
        releases.lift_hold(part.release.service)
        if part.vouched:
            raise_time_floor(releases, part.release.created_at, self._device.now())
        if installed and Version.parse(part.release.version) < Version.parse(installed.release.version):
            releases.use_downgrade(part.release)


def _stop_timeout_s(device: Device, service: Service | None) -> int | None:
    """What the service's policy says comes first; None: the container's own."""
    own = service.policy.stop_timeout_secs if service else None
    return device.settings.docker.stop_timeout_secs if own is None else own


def _describe(part: Part) -> str:
    installed = part.before.installed
    old = installed.release.version if installed else part.before.reference
    return f"{part.release.service} {old} -> {part.release.version}"


def _services(record: Record) -> str:
    return ", ".join(f"{part.release.service} {part.release.version}" for part in record.parts)
