"""The fields of a package manifest, checked one by one; both formats have them in common.

Codes are those of the Rust tool `caisson` 0.1, but for `manifest.invalid_reference` and `manifest.hidden_characters`.
"""

import re
from datetime import UTC, datetime

from semver import Version

from caissond.errors import Refusal
from caissond.model.text import has_hidden

MAX_VERSION_CHARS = 128

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
# Docker takes the first part for a host only where it has a dot or a port, or is localhost.
_HOST = rf"(?:(?:{_LABEL}(?:\.{_LABEL})+|{_LABEL}(?=:)|localhost)(?::[0-9]{{1,5}})?/)?"
_REFERENCE = re.compile(rf"^{_HOST}{_COMPONENT}(?:/{_COMPONENT})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?$")
_RFC3339 = re.compile(r"^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$")


def parse_created_at(text: str) -> datetime:
    """A point in time, RFC 3339.

    Raises:
        Refusal: `manifest.invalid_created_at`.
    """
    try:
        if not _RFC3339.match(text):
            raise ValueError("not RFC 3339")
        instant = datetime.fromisoformat(text.upper())
        instant.astimezone(UTC)  # the first and last hours of the calendar are out of reach in some zones
        return instant
    except (ValueError, OverflowError) as exc:
        raise Refusal(
            f"cannot read created_at {text!r:.60}, expected RFC 3339 such as 2026-03-16T18:30:00Z",
            code="manifest.invalid_created_at",
        ) from exc


def check_version(text: str, field: str, code: str) -> str:
    """A semantic version, handed back as it stands.

    Raises:
        Refusal: `code`.
    """
    try:
        if len(text) > MAX_VERSION_CHARS:
            raise ValueError("too long")
        Version.parse(text)
    except ValueError as exc:
        raise Refusal(
            f"cannot read {field} {text!r:.60}, expected a version such as 1.2.3", code=code
        ) from exc
    return text


def check_words(field: str, value: str) -> str:
    """A text that says something and hides nothing, handed back as it stands.

    Raises:
        Refusal: `manifest.empty_field`, `manifest.hidden_characters`.
    """
    if not value.strip():
        raise Refusal(f"cannot accept an empty {field}", code="manifest.empty_field")
    if has_hidden(value):
        raise Refusal(
            f"cannot accept {field} {value!r:.80}, it holds characters that cannot be seen",
            code="manifest.hidden_characters",
        )
    return value


def parse_reference(reference: str) -> str:
    """`[HOST[:PORT]/]NAME[:TAG]`, without a digest: distribution's reference grammar; `:latest` is added where no tag
    stands. What Docker would not take as a tag is refused here, not at the commit.

    Raises:
        Refusal: `manifest.invalid_reference`.
    """
    ours_or_ambiguous = reference.startswith(("caisson.invalid/", "sha256:")) or reference == "sha256"
    if len(reference) > 255 or not _REFERENCE.match(reference) or ours_or_ambiguous:
        raise Refusal(
            f"cannot use {reference!r:.80} as an image reference, expected one such as example/frontend:1.2.3",
            code="manifest.invalid_reference",
        )
    return reference if ":" in reference.rsplit("/", 1)[-1] else f"{reference}:latest"
