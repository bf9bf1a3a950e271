"""manifest.json and an image's config: JSON from outside, with one meaning only. No I/O.

Go's decoder, which Docker uses, folds the case of keys and takes the last of twins; Python's takes the last of exact
twins. Whatever the two could read differently is refused, and so is what would cost memory out of proportion.
"""

import json
from typing import Annotated, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from caissond.errors import Refusal
from caissond.model.toml import dotted, first_problem

MAX_LAYERS = 127
"""What graph drivers can mount. Docker itself stops at 125 (moby `layer/layer_store.go`) and says so in the load."""
MAX_VALUES = 100_000
"""A list of a million empty lists is 4 MiB of JSON and 90 MiB of Python; real configs have a few thousand values."""

_Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$")]
_DiffId = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class ExactJson(BaseModel):
    """A JSON object of which some keys matter; none of them may stand there in another spelling."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _exact_spelling(cls, value: object) -> object:
        known = {field.alias or name for name, field in cls.model_fields.items()}
        folded = {key.casefold() for key in known}
        if isinstance(value, dict):
            for key in value.keys() - known:
                if str(key).casefold() in folded:
                    raise ValueError(f"the key {key!r:.60} is another spelling of a known one")
        return value


class ManifestEntry(ExactJson):
    """One image of manifest.json. Its tags are read by nobody: only the package's own manifest names a tag."""

    config: str = Field(alias="Config")
    layers: list[str] = Field(alias="Layers")
    repo_tags: list[str] | None = Field(None, alias="RepoTags")


class _Rootfs(ExactJson):
    type: Literal["layers"]
    diff_ids: list[_DiffId] = Field(min_length=1)


class _Healthcheck(ExactJson):
    test: list[str] | None = Field(None, alias="Test")


class _Defaults(ExactJson):
    healthcheck: _Healthcheck | None = Field(None, alias="Healthcheck")


class ImageConfig(ExactJson):
    """The part of an image's config that decides anything here."""

    os: _Word
    architecture: _Word
    variant: _Word | Literal[""] = ""
    rootfs: _Rootfs
    config: _Defaults | None = None

    @property
    def has_healthcheck(self) -> bool:
        """Docker inherits an empty test, and an image has nobody to inherit from; `NONE` turns it off."""
        check = self.config.healthcheck if self.config else None
        return bool(check and check.test and check.test[0] != "NONE")


def parse_manifest(content: bytes) -> ManifestEntry:
    """The one image that manifest.json names.

    Raises:
        Refusal: `image.invalid_manifest`, `image.not_single`.
    """
    entries = _parse_entries(content)
    if len(entries) != 1:
        raise Refusal(
            f"cannot use an image.tar with {len(entries)} images, expected 1", code="image.not_single"
        )
    return _parse_entry(entries[0])


def parse_manifests(content: bytes) -> tuple[ManifestEntry, ...]:
    """Every image that manifest.json names, for the builder: a package holds one.

    Raises:
        Refusal: `image.invalid_manifest`.
    """
    return tuple(_parse_entry(entry) for entry in _parse_entries(content))


def _parse_entries(content: bytes) -> list[object]:
    document = parse_json(content, "manifest")
    if not isinstance(document, list):
        raise Refusal("cannot read the image's manifest: expected a list", code="image.invalid_manifest")
    return document


def _parse_entry(entry: object) -> ManifestEntry:
    try:
        return ManifestEntry.model_validate(entry)
    except ValidationError as exc:
        refuse_json("manifest", exc)


def parse_config(content: bytes) -> ImageConfig:
    """The config in these bytes.

    Raises:
        Refusal: `image.invalid_config`, `image.too_many_layers`.
    """
    try:
        config = ImageConfig.model_validate(parse_json(content, "config"))
    except ValidationError as exc:
        refuse_json("config", exc)
    if len(config.rootfs.diff_ids) > MAX_LAYERS:
        raise Refusal(
            f"cannot use an image of {len(config.rootfs.diff_ids)} layers, at most {MAX_LAYERS} are allowed",
            code="image.too_many_layers",
        )
    return config


def refuse_json(what: str, error: ValidationError) -> NoReturn:
    """Raises `image.invalid_<what>`, with what is wrong and where."""
    where, problem = first_problem(error)
    raise Refusal(
        f"cannot read the image's {what}: {dotted(where)} {problem}", code=f"image.invalid_{what}"
    ) from error


def parse_json(content: bytes, what: str) -> object:
    """JSON that has one meaning only.

    Raises:
        Refusal: `image.invalid_<what>`.
    """
    try:
        if sum(map(content.count, (b",", b"[", b"{"))) > MAX_VALUES:
            raise ValueError(f"it holds more than {MAX_VALUES} values")
        document: object = json.loads(
            content.decode(), object_pairs_hook=_unique, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as exc:
        raise Refusal(f"cannot read the image's {what}: {exc}", code=f"image.invalid_{what}") from exc
    return document


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return table


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
