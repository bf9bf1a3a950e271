"""Releases, records and verdicts for tests: plausible, and all different where it matters."""

from datetime import UTC, datetime
from typing import Any

from caissond.model.ids import ContainerId, Digest, ImageId, UpdateId
from caissond.model.records import (
    Before,
    Installed,
    Outcome,
    Part,
    PartVerdict,
    Record,
    Release,
    Status,
    Verdict,
)

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
UPDATE = UpdateId("0123abcd-4567-89ab-cdef-0123456789ab")
OLD_ID = ContainerId("0ld" + "0" * 61)
OLD_IMAGE = ImageId("sha256:" + "0" * 64)


def digest_of(number: int) -> Digest:
    return Digest(f"sha256:{number:064x}")


def release(version: str = "1.2.3", *, service: str = "web", number: int = 1) -> Release:
    return Release(
        service=service,
        version=version,
        digest=digest_of(number),
        reference=f"example/{service}:{version}",
        created_at=NOW,
    )


def installed(version: str = "1.2.3", *, service: str = "web", number: int = 1) -> Installed:
    return Installed(
        release=release(version, service=service, number=number),
        update_id=UPDATE,
        image_id=ImageId(digest_of(number)),
        committed_at=NOW,
    )


def before(*, was_running: bool = True, known: Installed | None = None, **container: Any) -> Before:
    return Before(
        container_id=OLD_ID,
        container={"Id": OLD_ID, "Config": {"Image": "example/web:1.0.0"}, **container},
        image_id=OLD_IMAGE,
        image={"Id": OLD_IMAGE},
        restart_policy={"Name": "unless-stopped", "MaximumRetryCount": 0},
        was_running=was_running,
        was_well=was_running,
        reference_image=None,
        installed=known,
    )


def record(*steps: str, update_id: UpdateId = UPDATE, old: Before | None = None) -> Record:
    """A record that has not begun, of these steps."""
    return Record(
        update_id=update_id,
        parts=(Part(container_name="web", release=release(), before=old or before()),),
        statuses=dict.fromkeys(steps, Status.PENDING),
        package="web-1.2.3.edgepkg",
        package_identity="f" * 64,
        source="inbox",
        started_at=NOW,
    )


def verdict(
    update_id: str, *, service: str = "web", finished_at: datetime = NOW, outcome: Outcome = Outcome.SUCCEEDED
) -> Verdict:
    return Verdict(
        update_id=UpdateId(update_id),
        package=f"{service}.edgepkg",
        outcome=outcome,
        parts=(PartVerdict(service=service, version="1.2.3", outcome=outcome),),
        started_at=finished_at,
        finished_at=finished_at,
    )
