"""What the release engineer typed, as a manifest: options for all services, or `SERVICE=VALUE` for one."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import typer

from caissond.errors import CaissonError
from caissond.model.fields import parse_created_at, parse_reference
from caissond.model.manifest import Manifest, Target
from caissond.package.image import Image
from caissond.package.inputs import InputImage, epoch_time, newest_created, target_platform


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseOptions:
    """The options of `caisson package build` that end up in the manifest."""

    version: str
    created_at: str
    revisions: Sequence[str]
    references: Sequence[str]
    platforms: Sequence[str]
    optional: Sequence[str]
    device_types: Sequence[str]
    allow_downgrade: bool
    min_updater_version: str | None


@dataclass(frozen=True, slots=True)
class NamedImage:
    """An image, and the service that it is for."""

    service: str
    found: InputImage


def split_pair(text: str, option: str) -> tuple[str, str]:
    """`SERVICE=VALUE`.

    Raises:
        typer.BadParameter: it is not of this form.
    """
    service, equals, value = text.partition("=")
    if not (service and equals and value):
        raise typer.BadParameter(f"expected SERVICE=VALUE, got {text!r}", param_hint=option)
    return service, value


def plan_manifest(options: ReleaseOptions, images: Sequence[NamedImage]) -> Manifest:
    """The manifest without digests and sizes: one target for each image.

    Raises:
        typer.BadParameter: an option is not of its form.
        Refusal: `manifest.*`.
        CaissonError: `build.no_revision`, `build.no_reference`, `build.no_created_at`, `build.no_platform`,
            `build.unknown_service`.
    """
    services = tuple(dict.fromkeys(one.service for one in images))
    revisions = _for_services("--service-revision", options.revisions, services)
    references = dict(split_pair(text, "--reference") for text in options.references)
    for service in (*references, *options.optional):
        _check_known(service, services)
    targets = tuple(
        Target(
            service=one.service,
            service_revision=_revision(one.service, revisions),
            platform=_platform(one, options.platforms),
            reference=_reference(one, references),
            optional=one.service in options.optional,
        )
        for one in images
    )
    _check_platforms(options.platforms, targets)
    return Manifest(
        format_version=2,
        version=options.version,
        created_at=_created_at(options.created_at, [one.found.image for one in images]),
        targets=targets,
        min_updater_version=options.min_updater_version,
        device_types=tuple(options.device_types),
        allow_downgrade=options.allow_downgrade,
    )


def _for_services(option: str, values: Sequence[str], services: Sequence[str]) -> Mapping[str, str]:
    """A value without a service is everybody's; one with a service goes before it, wherever it stands."""
    everybody: dict[str, str] = {}
    own: dict[str, str] = {}
    for text in values:
        service, equals, value = text.partition("=")
        if equals:
            _check_known(service, services)
            own[service] = split_pair(text, option)[1]
        else:
            everybody = dict.fromkeys(services, value or service)
    return everybody | own


def _check_known(service: str, services: Sequence[str]) -> None:
    if service not in services:
        raise CaissonError(
            f"cannot find the service {service!r:.80}, images are given for {', '.join(services)}",
            code="build.unknown_service",
        )


def _revision(service: str, revisions: Mapping[str, str]) -> str:
    if service not in revisions:
        raise CaissonError(f"cannot tell the revision of {service!r:.80}", code="build.no_revision")
    return revisions[service]


def _reference(one: NamedImage, references: Mapping[str, str]) -> str:
    reference = references.get(one.service, one.found.reference)
    if not reference or "@" in reference:
        raise CaissonError(
            f"cannot tell what the image of {one.service!r:.80} is to be called", code="build.no_reference"
        )
    return parse_reference(reference)


def _platform(one: NamedImage, wanted: Sequence[str]) -> str:
    platform = target_platform(one.found.image, wanted)
    if platform is None:
        text = f"cannot use the image of {one.service!r:.80} for {' or '.join(wanted)}: it is for"
        raise CaissonError(f"{text} {one.found.image.platform}", code="build.no_platform")
    return platform


def _check_platforms(wanted: Sequence[str], targets: Sequence[Target]) -> None:
    found = {target.platform for target in targets}
    if missing := [platform for platform in wanted if platform not in found]:
        raise CaissonError(f"cannot find any image for {missing[0]!r:.80}", code="build.no_platform")


def _created_at(typed: str, images: Sequence[Image]) -> datetime:
    """What was typed, else SOURCE_DATE_EPOCH, else the newest image's own: never the clock."""
    if typed:
        return parse_created_at(typed)
    if epoch := os.environ.get("SOURCE_DATE_EPOCH"):
        return epoch_time(epoch)
    newest = newest_created(images)
    if newest is None:
        raise CaissonError("cannot tell when the release was made", code="build.no_created_at")
    return newest
