"""The package manifest, format 1: what the Rust tool `caisson` 0.1 reads. Never signed; unknown keys are ignored.

Codes and their order are that tool's; ours besides: `manifest.invalid_reference` and `manifest.hidden_characters`.
"""

import re
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from semver import Version

from caissond.errors import Refusal
from caissond.model.text import has_hidden
from caissond.model.toml import dotted, first_problem, parse_toml, shorten

MAX_MANIFEST_BYTES = 64 * 1024
MAX_VERSION_CHARS = 128

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
# Docker takes the first part for a host only where it has a dot or a port, or is localhost.
_HOST = rf"(?:(?:{_LABEL}(?:\.{_LABEL})+|{_LABEL}(?=:)|localhost)(?::[0-9]{{1,5}})?/)?"
_REFERENCE = re.compile(rf"^{_HOST}{_COMPONENT}(?:/{_COMPONENT})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?$")
_RFC3339 = re.compile(r"^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$")


class _Raw(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class _Target(_Raw):
    service: str
    service_revision: str
    platform: str


class _Image(_Raw):
    reference: str


class _Compatibility(_Raw):
    min_updater_version: str | None = None


class _Document(_Raw):
    format_version: int | str
    package_type: Literal["service", "service-update"]
    package_version: str
    created_at: str
    target: _Target
    image: _Image
    compatibility: _Compatibility | None = None


class Manifest(BaseModel):
    """One target's worth of a package manifest, checked field by field."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    service: str
    service_revision: str
    platform: str
    version: str
    created_at: datetime
    reference: str
    min_updater_version: str | None = None
    allow_downgrade: bool = False


def parse_manifest(content: bytes) -> Manifest:
    """The manifest in these bytes.

    This says nothing about who made it, nor whether this device wants it.

    Raises:
        Refusal: `manifest.*`.
    """
    document = _parse_document(_decode(content))
    _check_format_version(document.format_version)
    created_at = _parse_created_at(document.created_at)
    version = _parse_version(document.package_version, "package_version", "manifest.invalid_package_version")
    minimum = document.compatibility.min_updater_version if document.compatibility else None
    if minimum is not None:
        _parse_version(minimum, "min_updater_version", "manifest.invalid_min_updater_version")
    target = document.target
    return Manifest(
        service=_require("target.service", target.service),
        service_revision=_require("target.service_revision", target.service_revision),
        platform=_require("target.platform", target.platform),
        version=version,
        created_at=created_at,
        reference=_check_reference(_require("image.reference", document.image.reference)),
        min_updater_version=minimum,
    )


def _decode(content: bytes) -> str:
    if len(content) > MAX_MANIFEST_BYTES:
        raise Refusal(
            f"cannot read a manifest of {len(content)} bytes, at most {MAX_MANIFEST_BYTES} are allowed",
            code="manifest.too_large",
        )
    try:
        return content.decode()
    except UnicodeDecodeError as exc:
        raise Refusal(
            f"cannot read manifest.toml: byte {exc.start} is not UTF-8", code="manifest.invalid_utf8"
        ) from exc


def _parse_document(text: str) -> _Document:
    try:
        document = parse_toml(text)
        _check_single(document)
        return _Document.model_validate(document)
    except ValidationError as exc:
        where, problem = first_problem(exc)
        reason = f"{dotted(where)} {problem}"
    except ValueError as exc:
        reason = str(exc)
    raise Refusal(f"cannot read manifest.toml: {reason}", code="manifest.parse_failed")


def _check_single(document: dict[str, object]) -> None:
    targets = document.get("targets")
    if isinstance(targets, list) and len(targets) > 1:
        text = f"cannot use a package with {len(targets)} targets, this build applies one"
        raise Refusal(text, code="package.bundle_unsupported")


def _check_format_version(value: int | str) -> None:
    if value not in (1, "1"):
        raise Refusal(
            f"cannot read format_version {shorten(value, 40)}, this build reads 1",
            code="manifest.unsupported_format_version",
        )


def _parse_created_at(text: str) -> datetime:
    try:
        if not _RFC3339.match(text):
            raise ValueError("not RFC 3339")
        return datetime.fromisoformat(text.upper())
    except ValueError as exc:
        raise Refusal(
            f"cannot read created_at {text!r:.60}, expected RFC 3339 such as 2026-03-16T18:30:00Z",
            code="manifest.invalid_created_at",
        ) from exc


def _parse_version(text: str, field: str, code: str) -> str:
    try:
        if len(text) > MAX_VERSION_CHARS:
            raise ValueError("too long")
        Version.parse(text)
    except ValueError as exc:
        raise Refusal(
            f"cannot read {field} {text!r:.60}, expected a version such as 1.2.3", code=code
        ) from exc
    return text


def _require(field: str, value: str) -> str:
    if not value.strip():
        raise Refusal(f"cannot accept an empty {field}", code="manifest.empty_field")
    if has_hidden(value):
        raise Refusal(
            f"cannot accept {field} {value!r:.80}, it holds characters that cannot be seen",
            code="manifest.hidden_characters",
        )
    return value


def _check_reference(reference: str) -> str:
    """`[HOST[:PORT]/]NAME[:TAG]`, without a digest: distribution's reference grammar. What Docker would not take as
    a tag is refused here, not at the commit.
    """
    ours_or_ambiguous = reference.startswith(("caisson.invalid/", "sha256:")) or reference == "sha256"
    if len(reference) > 255 or not _REFERENCE.match(reference) or ours_or_ambiguous:
        raise Refusal(
            f"cannot use {reference!r:.80} as an image reference, expected one such as example/frontend:1.2.3",
            code="manifest.invalid_reference",
        )
    return reference if ":" in reference.rsplit("/", 1)[-1] else f"{reference}:latest"
