"""Whether a package gets in, and why not: pure decisions over what is known. `check_` raises, `plan_` returns."""

from dataclasses import dataclass
from enum import StrEnum

from semver import Version

from caissond.errors import Refusal
from caissond.model.catalog import Catalog, Service
from caissond.model.manifest import Manifest
from caissond.model.records import Installed, Release

MAX_ATTEMPTS = 3


class Act(StrEnum):
    APPLY = "apply"
    SKIP = "skip"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with a release, and the code and sentence that say why."""

    act: Act
    code: str = ""
    reason: str = ""


def find_mismatches(manifest: Manifest, catalog: Catalog, updater_version: str) -> tuple[Refusal, ...]:
    """Everything about a package that does not fit this device; empty when it fits. The Rust tool's checks, in its
    order.
    """
    service = catalog.find(manifest.service)
    if service is None:
        text = f"cannot update {manifest.service!r:.80}: no such service in the catalog"
        return (Refusal(text, code="package.unknown_service"),)
    problems = []
    if manifest.service_revision != service.service_revision:
        wanted = service.service_revision
        text = f"cannot update revision {wanted!r}: the package is for {manifest.service_revision!r:.80}"
        problems.append(Refusal(text, code="package.service_revision_mismatch"))
    if manifest.platform != service.platform:
        text = (
            f"cannot update a service for {service.platform!r}: the package is for {manifest.platform!r:.80}"
        )
        problems.append(Refusal(text, code="package.platform_mismatch"))
    minimum = manifest.min_updater_version
    if minimum is not None and Version.parse(updater_version) < Version.parse(minimum):
        text = f"cannot use a package that asks for version {minimum} or newer, this is {updater_version}"
        problems.append(Refusal(text, code="package.updater_too_old"))
    return tuple(problems)


NOT_FOR_THIS_DEVICE = frozenset(
    {"package.unknown_service", "package.service_revision_mismatch", "package.platform_mismatch"}
)
"""On a medium with packages for many devices these are no faults."""


WAIT_FOR_THE_HOST = frozenset({"host.disk_full", "host.io_error"})
"""Nothing is wrong with the package: it stays where it is until there is room."""


def check_trust(*, signed: bool, allow_unsigned: bool, has_signers: bool) -> None:
    """Whether an unsigned package may come in.

    Raises:
        Refusal: `trust.no_signers`, `trust.unsigned`.
    """
    if signed or allow_unsigned:
        return
    if not has_signers:
        raise Refusal("cannot trust any package: no signer is known to this device", code="trust.no_signers")
    raise Refusal("cannot trust the package: it is not signed", code="trust.unsigned")


def check_runtime(service: Service) -> str:
    """The container's name of a service that this version can update.

    Raises:
        Refusal: `service.compose_unsupported`.
    """
    if service.docker is None:
        text = f"cannot update {service.name}: it is a Compose service"
        raise Refusal(text, code="service.compose_unsupported")
    return service.docker.container_name


def plan_release(
    release: Release, installed: Installed | None, *, quarantined_code: str | None, attempts: int,
    allow_downgrade: bool = False, newest_here: str | None = None,
) -> Decision:  # fmt: skip
    """Whether to apply a release to a service.

    Args:
        installed: what the service runs; None when nothing is known of it.
        quarantined_code: why it is in quarantine, if it is.
        attempts: how often it was begun without coming to a verdict.
        newest_here: the newest version for the service in the same place.
    """
    if installed is not None and (
        decision := _against_installed(release, installed, allow_downgrade, newest_here)
    ):
        return decision
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
    if new >= old or allow_downgrade:
        return None
    if newest_here == installed.release.version:
        return Decision(Act.SKIP, "package.superseded", f"{newest_here} was there too")
    reason = f"cannot go back from {installed.release.version} to {release.version}"
    return Decision(Act.REFUSE, "package.downgrade", reason)
