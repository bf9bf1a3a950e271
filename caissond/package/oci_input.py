"""Reading an OCI image layout that somebody else made, as a folder or as an archive of one.

Rules it keeps: what is named by a digest is that digest; a blob is found by its digest, never by a path; an index may
hold indexes, to a bound; attestations, which buildkit lists beside images, are passed over.

Sources: OCI image spec 1.1; containers-transports(5) for what REF means; buildkit docs, attestation-storage.md.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO, Literal, TypeVar

from pydantic import Field, ValidationError

from caissond.errors import CaissonError, Refusal
from caissond.package.compression import MAGIC_BYTES, Compression, sniff
from caissond.package.image import MAX_CONFIG_BYTES, MAX_MANIFEST_BYTES, Image
from caissond.package.image_json import ExactJson, parse_config, parse_json, refuse_json
from caissond.package.inputs import InputImage, familiar, which_image
from caissond.package.layers import Layer
from caissond.package.layout import INDEX_NAME, blob_name
from caissond.package.layout_input import Layout
from caissond.package.oci_json import (
    CONFIG_TYPE,
    INDEX_TYPE,
    MANIFEST_TYPE,
    REF_NAME,
    Descriptor,
    unsupported,
)
from caissond.package.source import Window, read_exact

MAX_DEPTH = 4
MAX_IMAGES = 256
"""Indexes included: what one source may list."""

_DOCKER = "application/vnd.docker"
_INDEX_TYPES = {INDEX_TYPE, f"{_DOCKER}.distribution.manifest.list.v2+json"}
_MANIFEST_TYPES = {MANIFEST_TYPE, f"{_DOCKER}.distribution.manifest.v2+json"}
_CONFIG_TYPES = {CONFIG_TYPE, f"{_DOCKER}.container.image.v1+json"}
_FULL_NAME = "io.containerd.image.name"
_ATTESTATION = "vnd.docker.reference.type"


class _Platform(ExactJson):
    os: str
    architecture: str
    variant: str = ""


class _Entry(Descriptor):
    annotations: dict[str, str] = Field(default_factory=dict)
    platform: _Platform | None = None

    @property
    def is_attestation(self) -> bool:
        unknown = self.platform is not None and self.platform.os == self.platform.architecture == "unknown"
        return unknown or _ATTESTATION in self.annotations

    @property
    def name(self) -> str:
        """What the layout calls it: a full reference, a tag alone, or nothing."""
        return self.annotations.get(_FULL_NAME) or self.annotations.get(REF_NAME, "")


class _Index(ExactJson):
    schema_version: Literal[2] = Field(alias="schemaVersion")
    manifests: list[_Entry] = Field(max_length=MAX_IMAGES)


class _Manifest(ExactJson):
    schema_version: Literal[2] = Field(alias="schemaVersion")
    config: Descriptor
    layers: list[Descriptor]


_Document = TypeVar("_Document", bound=ExactJson)


def read_layout(layout: Layout, reference: str, platforms: Sequence[str]) -> tuple[InputImage, ...]:
    """The images of a layout that bear this name, one for each platform; without a name the only one there is.

    Args:
        platforms: `os/architecture[/variant]`; what the index says is for another is not looked at. Empty: all.

    Raises:
        Refusal: `image.*`.
        SourceGone: the source cannot be read.
        CaissonError: `build.which_image`, `build.digest_mismatch`, `build.invalid_layout`.
    """
    with layout.open(INDEX_NAME) as (source, window):
        index = _parse(_Index, _read(source, window, MAX_MANIFEST_BYTES, INDEX_NAME), "index")
    chosen = _choose([entry for entry in index.manifests if not entry.is_attestation], reference)
    found = {entry.digest: entry for entry in _leaves(layout, chosen) if _may_fit(entry, platforms)}
    name = _full(reference) or _full(chosen[0].name)
    return tuple(_read_image(layout, entry, name) for entry in found.values())


def _choose(entries: Sequence[_Entry], reference: str) -> Sequence[_Entry]:
    wanted = {reference, familiar(reference)}
    fitting = [entry for entry in entries if not reference or wanted & _names(entry)]
    if not fitting or len({entry.name for entry in fitting}) > 1:
        raise which_image(reference, (entry.name for entry in entries if entry.name))
    return fitting


def _names(entry: _Entry) -> set[str]:
    names = {entry.annotations.get(key, "") for key in (_FULL_NAME, REF_NAME)}
    return names | {familiar(name) for name in names}


def _full(name: str) -> str:
    """A reference in full; empty for what may be a tag alone."""
    return familiar(name) if "/" in name or ":" in name else ""


def _leaves(layout: Layout, entries: Sequence[_Entry]) -> Iterator[_Entry]:
    """Every image below these, whatever indexes are in between."""
    seen, level = 0, list(entries)
    for _ in range(MAX_DEPTH):
        below: list[_Entry] = []
        for entry in level:
            seen += 1
            if seen > MAX_IMAGES:
                raise CaissonError(
                    f"cannot read a layout that lists more than {MAX_IMAGES} images",
                    code="build.invalid_layout",
                )
            if entry.media_type in _INDEX_TYPES:
                index = _parse(_Index, _read_blob(layout, entry, MAX_MANIFEST_BYTES), "index")
                below += [inner for inner in index.manifests if not inner.is_attestation]
            else:
                yield entry
        level = below
    if level:
        raise CaissonError(
            f"cannot read a layout whose indexes stand more than {MAX_DEPTH} deep",
            code="build.invalid_layout",
        )


def _may_fit(entry: _Entry, platforms: Sequence[str]) -> bool:
    """By what the index says; the config has the last word."""
    if not platforms or entry.platform is None:
        return True
    own = f"{entry.platform.os}/{entry.platform.architecture}"
    return any(wanted == own or wanted.startswith(f"{own}/") for wanted in platforms)


def _read_image(layout: Layout, entry: _Entry, name: str) -> InputImage:
    if entry.media_type not in _MANIFEST_TYPES:
        raise unsupported(entry, "expected an image")
    manifest = _parse(_Manifest, _read_blob(layout, entry, MAX_MANIFEST_BYTES), "manifest")
    if manifest.config.media_type not in _CONFIG_TYPES:
        raise unsupported(manifest.config, "expected an image's config")
    content = _read_blob(layout, manifest.config, MAX_CONFIG_BYTES)
    config = parse_config(content)
    if len(manifest.layers) != len(config.rootfs.diff_ids):
        raise Refusal(
            f"cannot match {len(manifest.layers)} layers with {len(config.rootfs.diff_ids)} diff IDs",
            code="image.layer_count_mismatch",
        )
    pairs = zip(config.rootfs.diff_ids, manifest.layers, strict=True)
    image = Image(
        config_digest=manifest.config.digest,
        config=content,
        os=config.os,
        architecture=config.architecture,
        variant=config.variant,
        has_healthcheck=config.has_healthcheck,
        layers=tuple(_find_layer(layout, diff_id, blob) for diff_id, blob in pairs),
    )
    return InputImage(image, name, lambda layer: _open_layer(layout, layer))


def _find_layer(layout: Layout, diff_id: str, blob: Descriptor) -> Layer:
    """Its media type is not believed: what it is packed with shows in its first bytes, as Docker sees it."""
    with layout.open(blob_name(blob.digest)) as (source, window):
        _check_size(blob, window)
        compression = sniff(read_exact(source, window.offset, min(MAGIC_BYTES, window.size_bytes)))
    if compression is None:
        raise Refusal(
            f"cannot read layer {blob.digest}, expected a tar, packed with gzip, zstd or not at all",
            code="image.unsupported_compression",
        )
    return Layer(diff_id, window.offset, window.size_bytes, Compression(compression), blob.digest)


@contextmanager
def _open_layer(layout: Layout, layer: Layer) -> Iterator[BinaryIO]:
    with layout.open(blob_name(layer.blob_digest)) as (source, _):
        yield source


def _read_blob(layout: Layout, blob: Descriptor, limit: int) -> bytes:
    with layout.open(blob_name(blob.digest)) as (source, window):
        _check_size(blob, window)
        content = _read(source, window, limit, blob.digest)
    if f"sha256:{hashlib.sha256(content).hexdigest()}" != blob.digest:
        raise CaissonError(f"cannot use {blob.digest}: it holds something else", code="build.digest_mismatch")
    return content


def _check_size(blob: Descriptor, window: Window) -> None:
    if window.size_bytes != blob.size:
        raise Refusal(
            f"cannot use {blob.digest} of {window.size_bytes} bytes, expected {blob.size}",
            code="image.size_mismatch",
        )


def _read(source: BinaryIO, window: Window, limit: int, name: str) -> bytes:
    if window.size_bytes > limit:
        raise CaissonError(
            f"cannot read {name} of {window.size_bytes} bytes, at most {limit} are allowed",
            code="build.invalid_layout",
        )
    return read_exact(source, window.offset, window.size_bytes)


def _parse(model: type[_Document], content: bytes, what: str) -> _Document:
    try:
        return model.model_validate(parse_json(content, what))
    except ValidationError as exc:
        refuse_json(what, exc)
