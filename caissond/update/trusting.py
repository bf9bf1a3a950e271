"""Whom this device trusts: its files of signers and revoked keys, its clock, and what they say of a package."""

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

from caissond import BUILD_DATE
from caissond.errors import Refusal
from caissond.model.catalog import Service
from caissond.model.paths import Paths
from caissond.package.signers import (
    ParsedRevocations,
    ParsedSigners,
    parse_allowed_signers,
    parse_revoked_keys,
)
from caissond.package.trust import Signature, TrustStore, TrustTime, check_signatures, parse_trust_store
from caissond.package.validate import Package
from caissond.store.releases import Releases
from caissond.update.device import Device

MAX_TRUST_FILE_BYTES = 1 << 20
FLOOR_STEP = timedelta(days=365)


def check_trust(
    device: Device, package: Package, services: Iterable[Service], *, allow_unsigned: bool
) -> tuple[Signature, ...]:
    """The signatures by which the package may come in; none for an unsigned one that is let in.

    Args:
        services: those that the package would change.

    Raises:
        Refusal: `trust.*`.
    """
    settings = device.settings.trust
    return check_signatures(
        package.manifest_bytes, package.signatures, load_trust_store(device.paths),
        time=trust_time(device.releases, device.now()),
        services={service.name: service.signers for service in services},
        required=settings.required_signatures,
        allow_unsigned=allow_unsigned or settings.allow_unsigned,
    )  # fmt: skip


def load_trust_store(paths: Paths) -> TrustStore:
    """The signers and revoked keys of this device; none where there are no such files.

    Raises:
        Refusal: `trust.*`: a file that is there and cannot be understood lets nobody in.
    """
    signers, revoked = _read(paths.allowed_signers), _read(paths.revoked_keys)
    return parse_trust_store((signers or b"").decode(errors="replace"), revoked or b"")


def parse_trust_files(paths: Paths) -> tuple[ParsedSigners, ParsedRevocations]:
    """The same, mistakes and all, for telling each of them.

    Raises:
        Refusal: `trust.unreadable`.
    """
    signers, revoked = _read(paths.allowed_signers), _read(paths.revoked_keys)
    return parse_allowed_signers((signers or b"").decode(errors="replace")), parse_revoked_keys(
        revoked or b""
    )


def read_trust_files(paths: Paths) -> tuple[str, ...]:
    """A digest of each file's content, for telling whether anything changed."""
    return tuple(_fingerprint(path) for path in (paths.allowed_signers, paths.revoked_keys))


def trust_time(releases: Releases, now: datetime) -> TrustTime:
    """The time that signatures are held against."""
    return TrustTime(now=now, floor=max(BUILD_DATE, releases.time_floor() or BUILD_DATE))


def raise_time_floor(releases: Releases, created_at: datetime, now: datetime) -> None:
    """A release made at `created_at` was committed: no earlier time is believed from now on. One from the far future
    moves the floor by a year at most.

    Raises:
        StoreError: it could not be written down.
    """
    floor = max(BUILD_DATE, releases.time_floor() or BUILD_DATE)
    wanted = min(created_at, max(floor, now) + FLOOR_STEP)
    if wanted > floor:
        releases.save_time_floor(wanted)


def _fingerprint(path: Path) -> str:
    try:
        content = _read(path)
    except Refusal as exc:
        return exc.message
    return "" if content is None else hashlib.sha256(content).hexdigest()


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_TRUST_FILE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise Refusal(f"cannot read {path}: {exc.strerror}", code="trust.unreadable") from exc
    if len(content) > MAX_TRUST_FILE_BYTES:
        raise Refusal(
            f"cannot read {path}: larger than {MAX_TRUST_FILE_BYTES} bytes", code="trust.unreadable"
        )
    return content
