"""The package manifest, read from its bytes: format 1 as the Rust tool `caisson` 0.1 reads it, and format 2.

Format 1 names one image and is never signed; its unknown keys are ignored. Format 2 names one image or more, by digest;
it is what signatures vouch for, so an unknown key is an error: it might mean something that this version cannot honour.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Literal, TypeGuard

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from caissond.errors import Refusal
from caissond.model.fields import check_version, check_words, parse_created_at, parse_reference
from caissond.model.toml import dotted, first_problem, parse_toml, shorten

MAX_MANIFEST_BYTES = 64 * 1024
MAX_TARGETS = 64
MAX_DEVICE_TYPES = 256

_FORMATS: dict[int | str, int] = {1: 1, "1": 1, 2: 2}

_Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
_SizeBytes = Annotated[int, Field(ge=1, le=1 << 50)]


class Target(BaseModel):
    """One image for one service. Format 1 has no digests and sizes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    service: str
    service_revision: str
    platform: str
    reference: str
    optional: bool = False
    """A device that does not have the service passes the target over."""
    manifest_digest: str | None = None
    config_digest: str | None = None
    size_bytes: int | None = None
    """Of the distinct blobs of its image, as they are stored."""
    unpacked_bytes: int | None = None


class Manifest(BaseModel):
    """A package manifest, checked field by field."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int
    version: str
    created_at: datetime
    targets: tuple[Target, ...]
    min_updater_version: str | None = None
    device_types: tuple[str, ...] = ()
    """Empty: for devices of any type."""
    allow_downgrade: bool = False

    @property
    def services(self) -> tuple[str, ...]:
        """Whom it is for, each once, in their order."""
        return tuple(dict.fromkeys(target.service for target in self.targets))


def parse_manifest(content: bytes) -> Manifest:
    """The manifest in these bytes.

    This says nothing about who made it, nor whether this device wants it.

    Raises:
        Refusal: `manifest.*`, `package.encrypted`.
    """
    with _readable():
        document = parse_toml(_decode(content))
        _check_format(document.get("format_version"))
        return _parse_format_2(document) if document.get("format_version") == 2 else _parse_format_1(document)


def format_of(content: bytes) -> int | None:
    """Which format these bytes say they are, 1 or 2; None where they cannot be read or say something else."""
    try:
        document = parse_toml(_decode(content))
    except (Refusal, ValueError):
        return None
    version = document.get("format_version")
    return _FORMATS.get(version) if _is_version(version) else None


def _is_version(version: object) -> TypeGuard[int | str]:
    return isinstance(version, int | str) and not isinstance(version, bool)


def _check_format(version: object) -> None:
    """A format to come is told as such, whatever else its manifest holds; what is no version is told later."""
    if _is_version(version) and version not in _FORMATS:
        raise Refusal(
            f"cannot read format_version {shorten(version, 40)}, this build reads 1 and 2",
            code="manifest.unsupported_format_version",
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


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except ValidationError as exc:
        where, problem = first_problem(exc)
        unknown = exc.errors(include_url=False, include_input=False)[0]["type"] == "extra_forbidden"
        code = "manifest.unknown_key" if unknown else "manifest.parse_failed"
        raise Refusal(f"cannot read manifest.toml: {dotted(where)} {problem}", code=code) from exc
    except ValueError as exc:
        raise Refusal(f"cannot read manifest.toml: {exc}", code="manifest.parse_failed") from exc


class _Raw1(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class _Target1(_Raw1):
    service: str
    service_revision: str
    platform: str


class _Image1(_Raw1):
    reference: str


class _Compatibility1(_Raw1):
    min_updater_version: str | None = None


class _Document1(_Raw1):
    format_version: int | str
    package_type: Literal["service", "service-update"]
    package_version: str
    created_at: str
    target: _Target1
    image: _Image1
    compatibility: _Compatibility1 = _Compatibility1()


def _parse_format_1(raw: dict[str, object]) -> Manifest:
    """Checks in the Rust tool's order: its codes depend on it."""
    document = _Document1.model_validate(raw)
    created_at = parse_created_at(document.created_at)
    version = _package_version(document.package_version)
    minimum = _min_updater_version(document.compatibility.min_updater_version)
    target = Target(
        service=check_words("target.service", document.target.service),
        service_revision=check_words("target.service_revision", document.target.service_revision),
        platform=check_words("target.platform", document.target.platform),
        reference=parse_reference(check_words("image.reference", document.image.reference)),
    )
    return Manifest(
        format_version=1, version=version, created_at=created_at, targets=(target,), min_updater_version=minimum
    )  # fmt: skip


class _Raw2(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Image2(_Raw2):
    reference: str
    manifest_digest: _Digest
    config_digest: _Digest
    size_bytes: _SizeBytes
    unpacked_bytes: _SizeBytes


class _Target2(_Raw2):
    service: str
    service_revision: str
    platform: str
    optional: bool = False
    image: _Image2


class _Compatibility2(_Raw2):
    min_updater_version: str | None = None
    device_types: list[str] = Field(default_factory=list, max_length=MAX_DEVICE_TYPES)


class _Document2(_Raw2):
    format_version: int
    package_type: Literal["service"]
    package_version: str
    created_at: str
    allow_downgrade: bool = False
    compatibility: _Compatibility2 = _Compatibility2()
    targets: list[_Target2] = Field(min_length=1, max_length=MAX_TARGETS)


def _parse_format_2(raw: dict[str, object]) -> Manifest:
    if "encryption" in raw:
        raise Refusal("cannot read an encrypted package", code="package.encrypted")
    document = _Document2.model_validate(raw)
    targets = tuple(
        _parse_target_2(target, f"targets[{number}]") for number, target in enumerate(document.targets)
    )
    _check_distinct(targets)
    return Manifest(
        format_version=2,
        version=_package_version(document.package_version),
        created_at=parse_created_at(document.created_at),
        targets=targets,
        min_updater_version=_min_updater_version(document.compatibility.min_updater_version),
        device_types=tuple(
            check_words("compatibility.device_types", name) for name in document.compatibility.device_types
        ),
        allow_downgrade=document.allow_downgrade,
    )


def _parse_target_2(raw: _Target2, where: str) -> Target:
    return Target(
        service=check_words(f"{where}.service", raw.service),
        service_revision=check_words(f"{where}.service_revision", raw.service_revision),
        platform=check_words(f"{where}.platform", raw.platform),
        reference=parse_reference(check_words(f"{where}.image.reference", raw.image.reference)),
        optional=raw.optional,
        **raw.image.model_dump(exclude={"reference"}),
    )


def _check_distinct(targets: tuple[Target, ...]) -> None:
    """One device, one image for each service: two targets that fit the same device would be a matter of luck."""
    keys = Counter((target.service, target.service_revision, target.platform) for target in targets)
    for (service, revision, platform), count in keys.items():
        if count > 1:
            raise Refusal(
                f"cannot choose between {count} targets for {service!r:.80}, {revision!r:.80}, {platform!r:.80}",
                code="manifest.duplicate_target",
            )


def _package_version(text: str) -> str:
    return check_version(text, "package_version", "manifest.invalid_package_version")


def _min_updater_version(text: str | None) -> str | None:
    if text is None:
        return None
    return check_version(text, "min_updater_version", "manifest.invalid_min_updater_version")
