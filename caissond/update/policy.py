"""Whether a package gets in, and why not: pure decisions over what is known. `check_` raises, `plan_` returns."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from semver import Version

from caissond import __version__
from caissond.errors import Refusal
from caissond.model.catalog import Catalog
from caissond.model.manifest import Manifest, Target
from caissond.model.records import Installed, Release
from caissond.model.settings import Settings

MAX_ATTEMPTS = 3


class Act(StrEnum):
    APPLY = "apply"
    LATER = "later"
    SKIP = "skip"
    """Nothing is to be done."""
    NEVER = "never"
    """Not by itself: the catalog says so."""
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with a release, and the code and sentence that say why."""

    act: Act
    code: str = ""
    reason: str = ""
    wait_s: float | None = None
    """For LATER: in how many seconds it may be otherwise; None when nobody knows."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which targets of a package are this device's, and everything that speaks against taking them."""

    targets: tuple[Target, ...]
    problems: tuple[Refusal, ...]


def select_targets(
    manifest: Manifest, catalog: Catalog, *, updater_version: str, device_type: str | None
) -> Selection:
    """The targets for this device. Those for other platforms and revisions are passed over where another one for the
    same service fits, and so are optional ones for services that are not here; of the rest each must fit.
    """
    fitting = tuple(target for target in manifest.targets if not _mismatches(target, catalog))
    served = {target.service for target in fitting}
    problems = [
        problem
        for target in manifest.targets
        if target.service not in served and not (target.optional and catalog.find(target.service) is None)
        for problem in _mismatches(target, catalog)
    ]
    if not fitting and not problems:
        problems = list(_mismatches(manifest.targets[0], catalog))
    if not any(problem.code == "package.unknown_service" for problem in problems):
        problems += _unfit_for_device(manifest, updater_version, device_type)
    return Selection(fitting, tuple(problems))


def select_targets_on(settings: Settings, catalog: Catalog, manifest: Manifest) -> Selection:
    """The same, for a device with these settings."""
    return select_targets(manifest, catalog, updater_version=__version__, device_type=settings.device.type)


def _mismatches(target: Target, catalog: Catalog) -> tuple[Refusal, ...]:
    """Everything about a target that does not fit; the Rust tool's checks, in its order."""
    service = catalog.find(target.service)
    if service is None:
        text = f"cannot update {target.service!r:.80}: no such service in the catalog"
        return (Refusal(text, code="package.unknown_service"),)
    problems = []
    if target.service_revision != service.service_revision:
        wanted = service.service_revision
        text = f"cannot update revision {wanted!r}: the package is for {target.service_revision!r:.80}"
        problems.append(Refusal(text, code="package.service_revision_mismatch"))
    if target.platform != service.platform:
        text = f"cannot update a service for {service.platform!r}: the package is for {target.platform!r:.80}"
        problems.append(Refusal(text, code="package.platform_mismatch"))
    return tuple(problems)


def _unfit_for_device(manifest: Manifest, updater_version: str, device_type: str | None) -> Iterator[Refusal]:
    minimum = manifest.min_updater_version
    if minimum is not None and Version.parse(updater_version) < Version.parse(minimum):
        text = f"cannot use a package that asks for version {minimum} or newer, this is {updater_version}"
        yield Refusal(text, code="package.updater_too_old")
    if manifest.device_types and device_type not in manifest.device_types:
        mine = f"this is {device_type!r}" if device_type else "this device has no type"
        text = f"cannot use a package for {', '.join(manifest.device_types)!r:.200}: {mine}"
        yield Refusal(text, code="package.device_type_mismatch")


NOT_FOR_THIS_DEVICE = frozenset(
    {
        "package.unknown_service",
        "package.service_revision_mismatch",
        "package.platform_mismatch",
        "package.device_type_mismatch",
    }
)
"""On a medium with packages for many devices these are no faults."""


WAIT_FOR_THE_HOST = frozenset(
    {"host.disk_full", "host.io_error", "docker.containerd_unreachable", "service.at_work"}
)
"""Nothing is wrong with the package: it stays where it is until there is room, or until what is at work has ended."""


def plan_release(
    release: Release, installed: Installed | None, *, quarantined_code: str | None, attempts: int,
    allow_downgrade: bool = False, newest_here: str | None = None, held: str | None = None,
) -> Decision:  # fmt: skip
    """Whether to apply a release to a service.

    Args:
        installed: what the service runs; None when nothing is known of it.
        quarantined_code: why it is in quarantine, if it is.
        attempts: how often it was begun without coming to a verdict.
        newest_here: the newest version for the service in the same place.
        held: the version that somebody went back from by hand.
    """
    if installed is not None and (
        decision := _against_installed(release, installed, allow_downgrade, newest_here)
    ):
        return decision
    if held and Version.parse(release.version) <= Version.parse(held):
        reason = f"cannot apply {release.version}: somebody went back from {held} by hand"
        return Decision(Act.REFUSE, "release.held", reason)
    if quarantined_code is not None:
        reason = f"cannot try {release.version} again: it failed here with {quarantined_code}"
        return Decision(Act.REFUSE, "release.quarantined", reason)
    if attempts >= MAX_ATTEMPTS:
        reason = f"cannot try {release.version} again: {attempts} attempts did not come to an end"
        return Decision(Act.REFUSE, "release.too_many_attempts", reason)
    return Decision(Act.APPLY)


def _against_installed(
    release: Release, installed: Installed, allow_downgrade: bool, newest_here: str | None
) -> Decision | None:
    new, old = Version.parse(release.version), Version.parse(installed.release.version)
    if release.version == installed.release.version:
        if release.digest == installed.release.digest:
            return Decision(
                Act.SKIP, "release.already_installed", f"{release.version} is what the service runs"
            )
        reason = f"cannot replace {release.version} by another {release.version}: its content differs"
        return Decision(Act.REFUSE, "package.version_reused", reason)
    if new >= old:
        return None
    if newest_here == installed.release.version:
        return Decision(Act.SKIP, "package.superseded", f"{newest_here} was there too")
    if allow_downgrade:
        return None
    reason = f"cannot go back from {installed.release.version} to {release.version}"
    return Decision(Act.REFUSE, "package.downgrade", reason)
