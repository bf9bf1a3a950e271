"""The JSON of an OCI image layout: `oci-layout`, `index.json` and image manifests, read strictly. No I/O.

Sources: OCI image spec 1.1, image-layout.md, image-index.md, manifest.md, descriptor.md.
"""

from typing import Annotated, Literal, TypeVar

from pydantic import ConfigDict, Field, ValidationError

from caissond.errors import Refusal
from caissond.package.image_json import MAX_LAYERS, ExactJson, parse_json, refuse_json

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
REF_NAME = "org.opencontainers.image.ref.name"
LAYOUT_VERSION = "1.0.0"

_Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
_Document = TypeVar("_Document", bound=ExactJson)


class Descriptor(ExactJson):
    """Where a blob is, and what it is."""

    media_type: str = Field(alias="mediaType", max_length=255)
    digest: _Digest
    size: int = Field(ge=0, le=1 << 50)


class _Exact(ExactJson):
    """Nothing vouches for these, so they may say nothing but what can be held against the rest."""

    model_config = ConfigDict(extra="forbid")


class _Platform(_Exact):
    os: str
    architecture: str
    variant: str = ""


class _Annotations(_Exact):
    reference: str = Field(alias="org.opencontainers.image.ref.name")


class IndexEntry(Descriptor, _Exact):
    """An image that `index.json` lists."""

    annotations: _Annotations
    platform: _Platform | None = None

    @property
    def platform_text(self) -> str | None:
        """`linux/arm/v7`; None where it says nothing."""
        if (platform := self.platform) is None:
            return None
        return "/".join(part for part in (platform.os, platform.architecture, platform.variant) if part)


class OciManifest(ExactJson):
    """One image: its config, and its layers in chain order."""

    schema_version: int = Field(alias="schemaVersion", ge=2, le=2)
    media_type: Literal["application/vnd.oci.image.manifest.v1+json"] | None = Field(None, alias="mediaType")
    config: Descriptor
    layers: list[Descriptor] = Field(min_length=1)

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Config and layers, each digest once, in their order."""
        return tuple({blob.digest: blob for blob in (self.config, *self.layers)}.values())


class Index(_Exact):
    """What `index.json` says is in the layout."""

    schema_version: int = Field(alias="schemaVersion", ge=2, le=2)
    media_type: Literal["application/vnd.oci.image.index.v1+json"] | None = Field(None, alias="mediaType")
    manifests: list[IndexEntry] = Field(min_length=1, max_length=256)


class _Layout(_Exact):
    version: Literal["1.0.0"] = Field(alias="imageLayoutVersion")


def parse_oci_manifest(content: bytes) -> OciManifest:
    """The image manifest in these bytes.

    Raises:
        Refusal: `image.invalid_manifest`, `image.unsupported_media_type`, `image.too_many_layers`.
    """
    manifest = _parse(OciManifest, content, "manifest")
    if len(manifest.layers) > MAX_LAYERS:
        raise Refusal(
            f"cannot use an image of {len(manifest.layers)} layers, at most {MAX_LAYERS} are allowed",
            code="image.too_many_layers",
        )
    if manifest.config.media_type != CONFIG_TYPE:
        raise unsupported(manifest.config, f"expected a config, {CONFIG_TYPE}")
    return manifest


def parse_index(content: bytes) -> Index:
    """What `index.json` lists: image manifests only, never another index.

    Raises:
        Refusal: `image.invalid_index`, `image.unsupported_media_type`.
    """
    index = _parse(Index, content, "index")
    for descriptor in index.manifests:
        if descriptor.media_type != MANIFEST_TYPE:
            raise unsupported(descriptor, f"expected an image, {MANIFEST_TYPE}")
    return index


def check_layout_file(content: bytes) -> None:
    """Accept the `oci-layout` of this version of the specification.

    Raises:
        Refusal: `image.invalid_layout`.
    """
    _parse(_Layout, content, "layout")


def unsupported(descriptor: Descriptor, expected: str) -> Refusal:
    """The refusal of a blob of the wrong kind."""
    return Refusal(
        f"cannot use {descriptor.digest} of media type {descriptor.media_type!r:.120}, {expected}",
        code="image.unsupported_media_type",
    )


def _parse(model: type[_Document], content: bytes, what: str) -> _Document:
    try:
        return model.model_validate(parse_json(content, what))
    except ValidationError as exc:
        refuse_json(what, exc)
