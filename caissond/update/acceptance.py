"""From a package that was opened to what is to be done for each of its services: all that is decided before anything is
written down, and without reading a layer.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from caissond.errors import CaissonError, Refusal
from caissond.intake.scan import Origin
from caissond.model.catalog import Service
from caissond.model.ids import Digest, UpdateId, new_update_id
from caissond.model.manifest import Manifest, Target
from caissond.model.records import Installed, Part, Release
from caissond.model.text import printable
from caissond.package.image import Image
from caissond.package.validate import Package, check_layout, read_target
from caissond.update.bundle import check_together
from caissond.update.containers import find_containers
from caissond.update.device import Device
from caissond.update.leave import plan_leave
from caissond.update.parts import ask_part, survey_part
from caissond.update.policy import Act, Decision, plan_release, select_targets_on
from caissond.update.space import check_room
from caissond.update.survey import check_settled
from caissond.update.timing import plan_together
from caissond.update.trusting import check_trust


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
    on_read: Callable[[], None] = lambda: None
    """Told when nothing more is read from the package while the update goes on."""
    on_later: Callable[[Sequence[Release]], None] = lambda _releases: None
    """Told which of its releases are news when it is not their time."""


class PassedOver(CaissonError):
    """Nothing is wrong with the package, and nothing is to be done."""


class NotYet(CaissonError):
    """Nothing is wrong with the package, and it is not its time."""


@dataclass
class Turn:
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
class Taken:
    """What a package brings for one service; everything about it but the layers was found right."""

    service: Service
    target: Target
    release: Release
    image: Image


class Acceptance:
    """Decides for one package."""

    def __init__(self, device: Device, turn: Turn) -> None:
        self._device = device
        self._turn = turn

    def take_in(self, source: BinaryIO, package: Package) -> tuple[Taken, ...]:
        """Whether it is for this device and its services, and whether somebody trusted says so. What the signatures
        vouch for is looked at once they are found good, not before.

        Raises:
            Refusal: what is wrong with it.
            SourceGone: the medium does not answer.
        """
        device, turn = self._device, self._turn
        selection = select_targets_on(device.settings, device.catalog, package.manifest)
        if selection.problems:
            raise selection.problems[0]
        chosen = [(target, self._service(target)) for target in selection.targets]
        services = tuple(service for _, service in chosen)
        signatures = check_trust(device, package, services, allow_unsigned=turn.request.allow_unsigned)
        keys = {signature.fingerprint for signature in signatures}
        turn.is_vouched = len(keys) >= device.settings.trust.required_signatures
        check_layout(source, package)
        images = [read_target(source, package, target) for target, _ in chosen]
        return tuple(
            Taken(service, target, _release(package.manifest, target, image), image)
            for (target, service), image in zip(chosen, images, strict=True)
        )

    def _service(self, target: Target) -> Service:
        service = self._device.catalog.find(target.service)
        assert service is not None  # there would be a problem
        return service

    def choose(self, taken: tuple[Taken, ...]) -> tuple[Taken, ...]:
        """Those of its services that it is news for.

        Raises:
            Refusal: one that must not be applied: then none is.
            PassedOver: it is news for none, or the catalog says never.
            NotYet: it is news for one that has to wait: then all do.
            HostUnavailable: Docker does not answer.
        """
        decisions = self.decide(taken)
        whole = plan_together(decisions)
        pairs = tuple(zip(taken, decisions, strict=True))
        if any(decision.code == "release.too_many_attempts" for decision in decisions):
            self._forgive(pairs)
        if whole.act is Act.REFUSE or (whole.act is Act.NEVER and self._is_by_hand):
            raise Refusal(whole.reason, code=whole.code)
        if whole.act is Act.LATER:
            self._put_off(pairs)
            raise NotYet(whole.reason, code=whole.code)
        if whole.act is not Act.APPLY:
            raise PassedOver(whole.reason, code=whole.code)
        return tuple(one for one, decision in pairs if decision.act is Act.APPLY)

    def decide(self, taken: tuple[Taken, ...]) -> tuple[Decision, ...]:
        """What is to be done for each of its services. Nothing is changed by asking.

        Raises:
            HostUnavailable: Docker does not answer, or an earlier update is not settled.
        """
        for one in taken:
            check_settled(self._device.journal, one.service)
        self._device.docker.ping()
        return tuple(self._decide(one) for one in taken)

    @property
    def _is_by_hand(self) -> bool:
        return self._turn.request.origin is Origin.COMMAND

    def _forgive(self, pairs: Sequence[tuple[Taken, Decision]]) -> None:
        """Whoever brings once more what was cut off too often means it."""
        for one, decision in pairs:
            if decision.code == "release.too_many_attempts":
                self._device.releases.clear_attempts(one.release)

    def _put_off(self, pairs: Sequence[tuple[Taken, Decision]]) -> None:
        for one, decision in pairs:
            if decision.code == "policy.soak":
                self._device.sightings.see(one.release)
        news = [one.release for one, decision in pairs if decision.act in (Act.APPLY, Act.LATER)]
        self._turn.request.on_later(news)

    def check_host(self, taken: tuple[Taken, ...]) -> tuple[tuple[Part, ...], tuple[int, ...]]:
        """Whether the services, and the room on the disk, are fit for the update.

        Returns:
            What it needs to know of each, and how many bytes the layers of each may unpack to.

        Raises:
            Refusal: what is not.
        """
        parts = tuple(self.survey(one) for one in taken)
        check_together(parts)
        return parts, check_room(self._device, [(one.image, one.target) for one in taken])

    def ask_before(self, taken: tuple[Taken, ...], parts: tuple[Part, ...]) -> tuple[Part, ...]:
        """The same parts with what each service answers to its check now. Asked last: it may be a command that runs
        in the service, and a package that has to wait would ask again and again.

        Raises:
            Refusal: `service.cannot_be_probed`.
            Stopping: we were asked to stop.
        """
        return tuple(
            ask_part(self._device, one.service, part) for one, part in zip(taken, parts, strict=True)
        )

    def survey(self, one: Taken) -> Part:
        """Everything that Docker has a say in, with what the undos will need.

        Raises:
            Refusal: the service, or what is around it, is not fit for an update.
        """
        has_healthcheck, vouched = one.image.has_healthcheck, self._turn.is_vouched
        return survey_part(
            self._device, one.service, one.release, has_healthcheck=has_healthcheck, vouched=vouched
        )

    def _decide(self, one: Taken) -> Decision:
        decision = self._decide_release(one.service, one.release)
        if decision.act is not Act.APPLY:
            return decision
        return plan_leave(self._device, one.service, one.release, by_hand=self._is_by_hand)

    def _decide_release(self, service: Service, release: Release) -> Decision:
        installed = self._device.releases.installed(release.service)
        decision = self._plan(release, installed)
        if decision.code == "release.already_installed" and installed is not None:
            containers = find_containers(self._device.docker, service)
            if not containers or any(one["Image"] != installed.image_id for one in containers):
                # somebody removed or replaced one by hand since
                decision = self._plan(release, None)
        if decision.code == "package.downgrade" and self._device.releases.downgrade_used(release):
            reason = f"{decision.reason} once more: its leave to go back was used before"
            decision = Decision(decision.act, decision.code, reason)
        return decision

    def _plan(self, release: Release, installed: Installed | None) -> Decision:
        turn = self._turn
        releases, by_hand = self._device.releases, turn.request.allow_downgrade
        quarantined = releases.quarantined(release)
        says_so = turn.is_vouched and turn.package is not None and turn.package.manifest.allow_downgrade
        return plan_release(
            release, installed, quarantined_code=quarantined.code if quarantined else None,
            attempts=releases.attempts(release), held=releases.held(release.service),
            newest_here=None if by_hand else turn.request.newest_here.get(release.service),
            allow_downgrade=by_hand or (says_so and not releases.downgrade_used(release)),
        )  # fmt: skip


def _release(manifest: Manifest, target: Target, image: Image) -> Release:
    return Release(
        service=target.service,
        version=manifest.version,
        digest=Digest(image.config_digest),
        reference=target.reference,
        created_at=manifest.created_at,
    )
