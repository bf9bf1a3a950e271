"""Which images of the services stay on the engine: the one that runs, those before it that the policy keeps, and what
the catalog names. Of the others Caisson takes its own tags away, and those that its packages brought; the engine
deletes an image with its last tag. One that a container uses, whosever it is, keeps its tags until it is free.

An image is known by the private tag that kept it: so it is never mistaken, whatever became of other tags.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from caissond.errors import Conflict
from caissond.model.ids import UpdateId, keep_tag, update_of_tag
from caissond.model.records import Installed, Outcome, PartVerdict
from caissond.model.service_policy import MIN_KEPT_IMAGES
from caissond.update.device import Device


def clean_images(device: Device) -> None:
    """Take away the tags that no release needs any more. All of it can be cut off and run again.

    Raises:
        DockerError: the engine refused.
        HostUnavailable: it does not answer.
    """
    running = {record.update_id for record in device.journal.unfinished()}
    installed = device.releases.all_installed()
    kept = {tag for known in installed for tag in _kept_tags(device, known)}
    over = {
        tag: update_id
        for tag in device.docker.tags()
        if (update_id := update_of_tag(device.claim, tag)) and update_id not in running and tag not in kept
    }
    if over:
        needed = _needed(device, installed)
        for tag, update_id in over.items():
            _release(device, tag, update_id, needed)


def _kept_tags(device: Device, known: Installed) -> Iterator[str]:
    """The tag of each update keeps the image of the release before it."""
    service = device.catalog.find(known.release.service)
    count = (service.policy.keep_images if service else MIN_KEPT_IMAGES) - 1
    yield keep_tag(device.claim, known.update_id, known.release.service)
    if count > 1:
        for update_id in _earlier_updates(device, known, count - 1):
            yield keep_tag(device.claim, update_id, known.release.service)


def _earlier_updates(device: Device, known: Installed, count: int) -> list[UpdateId]:
    """The last so many that went well before the one that runs."""
    verdicts = device.history.newest(service=known.release.service)
    done = [verdict.update_id for verdict in verdicts if verdict.outcome is Outcome.SUCCEEDED]
    return [update_id for update_id in done if update_id != known.update_id][:count]


@dataclass(frozen=True, slots=True)
class _Needed:
    """What must stay, whatever else."""

    in_use: frozenset[str]
    """Images of any container."""
    ours: frozenset[str]
    """Images that a service runs, or goes back to."""
    references: frozenset[str]


def _needed(device: Device, installed: tuple[Installed, ...]) -> _Needed:
    named = {service.docker.image_reference for service in device.catalog.services if service.docker}
    return _Needed(
        in_use=frozenset(str(short.get("ImageID")) for short in device.docker.list_containers()),
        ours=frozenset(str(image) for known in installed for image in (known.image_id, known.previous_image)),
        references=frozenset(named | {known.release.reference for known in installed}),
    )


def _release(device: Device, tag: str, update_id: UpdateId, needed: _Needed) -> None:
    """Take a private tag away, and with it the one that the package brought. While a container uses the image, both
    stay: without the private one nobody would know later that the other may go.
    """
    part = _part_of(device, tag, update_id)
    kept = device.docker.find_image(tag) if part else None
    if part is not None and kept is not None:
        image_id = str(kept["Id"])
        if image_id not in needed.ours and image_id in needed.in_use:
            return
        if image_id not in needed.ours:
            _untag_public(device, part, image_id, needed)
    with suppress(Conflict):  # the only tag of an image that a container uses
        device.docker.untag(tag)


def _part_of(device: Device, tag: str, update_id: UpdateId) -> PartVerdict | None:
    """What is known of the update in which a service left the image that this tag keeps; None when that image did not
    come in a package.
    """
    verdict = device.history.find(update_id)
    if verdict is None or verdict.outcome is not Outcome.SUCCEEDED:
        return None
    found = (one for one in verdict.parts if keep_tag(device.claim, update_id, one.service) == tag)
    return next((one for one in found if one.previous_version is not None), None)


def _untag_public(device: Device, part: PartVerdict, image_id: str, needed: _Needed) -> None:
    reference = part.previous_reference
    if (
        reference is None
        or reference in needed.references
        or not _came_in_package(device, part.service, reference)
    ):
        return
    tagged = device.docker.find_image(reference)
    if tagged is not None and tagged["Id"] == image_id:
        with suppress(Conflict):
            device.docker.untag(reference)


def _came_in_package(device: Device, service: str, reference: str) -> bool:
    """Else somebody made the container anew by hand, from an image of theirs."""
    verdicts = device.history.newest(service=service)
    parts = (part for verdict in verdicts if verdict.outcome is Outcome.SUCCEEDED for part in verdict.parts)
    return any((part.service, part.reference) == (service, reference) for part in parts)
