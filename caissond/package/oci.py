"""The images of a package of format 2: a view through the digests that the signed manifest vouches for.

The chain is manifest.toml → OCI manifest → config and layers → diff IDs; each link is a digest that is checked, so
`index.json`, which nothing vouches for, decides nothing: it is only held against the rest, for other people's tools.
"""

import hashlib
from collections.abc import Mapping
from typing import BinaryIO

from caissond.errors import Refusal
from caissond.model.manifest import Manifest, Target
from caissond.package.archive import Member, read_small
from caissond.package.compression import Compression
from caissond.package.image import MAX_CONFIG_BYTES, MAX_MANIFEST_BYTES, Image
from caissond.package.image_json import ImageConfig, parse_config
from caissond.package.layers import Layer
from caissond.package.layout import INDEX_NAME, LAYOUT_NAME, blob_name
from caissond.package.oci_json import (
    LAYER_TYPE,
    Descriptor,
    OciManifest,
    check_layout_file,
    parse_index,
    parse_oci_manifest,
    unsupported,
)

_COMPRESSIONS = {
    LAYER_TYPE: Compression.NONE,
    f"{LAYER_TYPE}+gzip": Compression.GZIP,
    f"{LAYER_TYPE}+zstd": Compression.ZSTD,
}


_MANIFEST = "image.invalid_manifest", "image.manifest_digest_mismatch"
_CONFIG = "image.invalid_config", "image.config_digest_mismatch"


def read_oci_image(source: BinaryIO, members: Mapping[str, Member], target: Target) -> Image:
    """The image of a target: its config, checked, and where its layers are.

    This is **not** a verification of the layers.

    Raises:
        Refusal: `image.*`.
        Truncated: the source ends inside a blob; it was changed since its headers were read.
        SourceGone: the source cannot be read.
    """
    return _read_image(source, members, target, _read_manifest(source, members, target))


def _read_image(
    source: BinaryIO, members: Mapping[str, Member], target: Target, manifest: OciManifest
) -> Image:
    if manifest.config.digest != target.config_digest:
        raise Refusal(
            f"cannot use config {manifest.config.digest}: the package's manifest says {target.config_digest}",
            code="image.config_digest_mismatch",
        )
    content = _read_blob(source, _member(members, manifest.config), MAX_CONFIG_BYTES, _CONFIG)
    config = parse_config(content)
    _check_size(members, manifest, target)
    return Image(
        config_digest=manifest.config.digest,
        config=content,
        os=config.os,
        architecture=config.architecture,
        variant=config.variant,
        has_healthcheck=config.has_healthcheck,
        layers=_find_layers(members, manifest, config),
    )


def check_layout(source: BinaryIO, members: Mapping[str, Member], manifest: Manifest) -> None:
    """Every blob of every target stands in its place, and none besides; `oci-layout` and `index.json` agree with that.

    Of the blobs only the image manifests and configs are read.

    Raises:
        Refusal: `image.*`, `archive.wrong_order`.
        Truncated: the source ends inside a member.
        SourceGone: the source cannot be read.
    """
    check_layout_file(read_small(source, members[LAYOUT_NAME], 4096, code="image.invalid_layout"))
    expected: dict[str, None] = {}
    images: dict[tuple[str, str], str] = {}
    for target in manifest.targets:
        digest = str(target.manifest_digest)
        expected[blob_name(digest)] = None
        image = _read_manifest(source, members, target)
        for blob in image.blobs:
            expected[_member(members, blob).name] = None
        images[digest, target.reference] = _read_image(source, members, target, image).platform
    _check_blobs([name for name in members if name.startswith("blobs/")], expected)
    _check_index(source, members, images)


def _read_manifest(source: BinaryIO, members: Mapping[str, Member], target: Target) -> OciManifest:
    name = blob_name(str(target.manifest_digest))
    if name not in members:
        raise Refusal(f"cannot find {name} in the package", code="image.missing_blob")
    return parse_oci_manifest(_read_blob(source, members[name], MAX_MANIFEST_BYTES, _MANIFEST))


def _read_blob(source: BinaryIO, member: Member, limit: int, codes: tuple[str, str]) -> bytes:
    """A blob that is small, checked against the digest in its name."""
    too_large, mismatch = codes
    content = read_small(source, member, limit, code=too_large)
    if not member.name.endswith(digest := hashlib.sha256(content).hexdigest()):
        raise Refusal(
            f"cannot accept {member.name}: the digest of its content is {digest}",
            code=mismatch,
        )
    return content


def _member(members: Mapping[str, Member], blob: Descriptor) -> Member:
    """Where a blob stands, with the size it should have."""
    member = members.get(blob_name(blob.digest))
    if member is None:
        raise Refusal(f"cannot find {blob_name(blob.digest)} in the package", code="image.missing_blob")
    if member.size_bytes != blob.size:
        raise Refusal(
            f"cannot accept {member.name} of {member.size_bytes} bytes, expected {blob.size}",
            code="image.size_mismatch",
        )
    return member


def _find_layers(
    members: Mapping[str, Member], manifest: OciManifest, config: ImageConfig
) -> tuple[Layer, ...]:
    diff_ids = config.rootfs.diff_ids
    if len(manifest.layers) != len(diff_ids):
        raise Refusal(
            f"cannot match {len(manifest.layers)} layers with {len(diff_ids)} diff IDs",
            code="image.layer_count_mismatch",
        )
    return tuple(
        _find_layer(members, blob, diff_id) for blob, diff_id in zip(manifest.layers, diff_ids, strict=True)
    )


def _find_layer(members: Mapping[str, Member], blob: Descriptor, diff_id: str) -> Layer:
    compression = _COMPRESSIONS.get(blob.media_type)
    if compression is None:
        raise unsupported(blob, f"expected a layer, {' or '.join(_COMPRESSIONS)}")
    member = _member(members, blob)
    return Layer(diff_id, member.offset, member.size_bytes, compression, blob.digest)


def _check_size(members: Mapping[str, Member], manifest: OciManifest, target: Target) -> None:
    stored = members[blob_name(str(target.manifest_digest))].size_bytes
    stored += sum(_member(members, blob).size_bytes for blob in manifest.blobs)
    if stored != target.size_bytes:
        raise Refusal(
            f"cannot accept an image of {stored} bytes, the package's manifest says {target.size_bytes}",
            code="image.size_mismatch",
        )


def _check_blobs(found: list[str], expected: Mapping[str, None]) -> None:
    if surplus := [name for name in found if name not in expected]:
        raise Refusal(f"cannot accept {surplus[0]}: no image needs it", code="image.surplus_blob")
    if found != list(expected):
        raise Refusal(
            "cannot accept blobs in another order than their images name them", code="archive.wrong_order"
        )


def _check_index(
    source: BinaryIO, members: Mapping[str, Member], images: Mapping[tuple[str, str], str]
) -> None:
    """`index.json` names the same images, by the same references and for the same platforms."""
    index = parse_index(
        read_small(source, members[INDEX_NAME], MAX_MANIFEST_BYTES, code="image.invalid_index")
    )
    named = [(entry.digest, entry.annotations.reference) for entry in index.manifests]
    if len(set(named)) != len(named) or not images.keys() >= set(named):
        raise Refusal("cannot accept an index.json that names other images", code="image.invalid_index")
    if {digest for digest, _ in named} != {digest for digest, _ in images}:
        raise Refusal("cannot accept an index.json that leaves an image out", code="image.invalid_index")
    for entry in index.manifests:
        _member(members, entry)
        platform = images[entry.digest, entry.annotations.reference]
        if entry.platform_text not in (None, platform):
            text = f"cannot accept an index.json with an image for {entry.platform_text!r:.80}, it is for {platform}"
            raise Refusal(text, code="image.invalid_index")
