"""`caisson rollback`: back to the release before, by the same steps and through the same gate, without its package."""

from datetime import UTC, datetime

from semver import Version

from caissond.errors import ConfigError, NotFound, Refusal
from caissond.host.docker import Inspect
from caissond.model.catalog import Service
from caissond.model.fields import parse_reference
from caissond.model.ids import Digest, ImageId, new_update_id
from caissond.model.records import GOING_BACK, Installed, Record, Release, Verdict
from caissond.update.apply import KeptImage, Run
from caissond.update.bundle import check_together
from caissond.update.device import Device
from caissond.update.health import has_health_check
from caissond.update.parts import ask_part, survey_part
from caissond.update.survey import check_settled

UNKNOWN_VERSION = "0.0.0"


def find_service(device: Device, name: str) -> Service:
    """The service of this name.

    Raises:
        ConfigError: `service.unknown`.
    """
    service = device.catalog.find(name)
    if service is None:
        raise ConfigError(f"cannot find the service {name!r} in the catalog", code="service.unknown")
    return service


def earlier_release(installed: Installed | None, name: str) -> tuple[Release | None, ImageId, str]:
    """The release before, as far as it is known, its image, and what people call that.

    Raises:
        Refusal: `rollback.nothing_before`.
    """
    if installed is None or installed.previous_image is None:
        text = f"cannot go back: nothing is known of a release of {name} before this one"
        raise Refusal(text, code="rollback.nothing_before")
    return installed.previous, installed.previous_image, installed.previous_reference or ""


def go_back(device: Device, name: str) -> Verdict:
    """Bring the service's previous release back, and hold it there until a newer one comes than the one it runs.

    The caller holds the lock and has settled.

    Raises:
        ConfigError: `service.unknown`.
        Refusal: `rollback.*`, `service.*`, `package.reference_taken`.
        HostUnavailable: an earlier update is not settled; or the engine went away; what was begun waits for `settle`.
    """
    service = find_service(device, name)
    check_settled(device.journal, service)
    installed = device.releases.installed(name)
    known, image_id, reference = earlier_release(installed, name)
    image = _kept(device, image_id, name)
    release = known or _release_of(service, image, reference)
    has_healthcheck = has_health_check(image.get("Config") or {})
    part = ask_part(device, service, survey_part(device, service, release, has_healthcheck=has_healthcheck))
    check_together((part,))
    record = Record(
        update_id=new_update_id(), parts=(part,), statuses={}, package=f"rollback of {name}", source=GOING_BACK,
        started_at=device.now(),
    )  # fmt: skip
    return Run(device, record, {name: KeptImage(image_id)}).begin()


def _kept(device: Device, image_id: ImageId, name: str) -> Inspect:
    try:
        return device.docker.inspect_image(image_id)
    except NotFound as exc:
        text = f"cannot go back: the image of the release of {name} before is gone"
        raise Refusal(text, code="rollback.image_gone") from exc


def _release_of(service: Service, image: Inspect, reference: str) -> Release:
    """What ran before the first update: a version only where its tag is one."""
    try:
        reference = parse_reference(reference)
    except Refusal:  # it was made from an image without a name
        reference = service.docker.image_reference if service.docker else ""
    tag = reference.rpartition(":")[2]
    return Release(
        service=service.name,
        version=tag if Version.is_valid(tag) else UNKNOWN_VERSION,
        digest=Digest(str(image["Id"])),
        reference=reference,
        created_at=datetime.fromtimestamp(0, UTC),
    )
