"""The images of format 2: what may vary is read, and each link of the chain of digests is checked."""

import json
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caissond.package.compression import Compression
from caissond.package.oci_json import check_layout_file, parse_index, parse_oci_manifest
from fixtures.raw_package import LAYER
from fixtures.raw_package_2 import (
    APP_LAYER,
    CONFIG_TYPE,
    GZIP,
    IMAGE,
    LAYOUT,
    MANIFEST_TYPE,
    REF_NAME,
    REFERENCE,
    TAR,
    ZSTD,
    config_2,
    digest,
    image_2,
    index_entry,
    index_json,
    layer,
    manifest_2,
    package_2,
    target_table,
)
from tests.unit.package.reading import code_of, error_of, read_content

OTHER = image_2(layer(APP_LAYER, TAR))
BASE, TOP = layer(LAYER), layer(APP_LAYER)


def with_index(*entries: dict[str, object], **changes: object) -> bytes:
    return package_2(index=index_json(*entries, **changes))


def test_image_is_what_its_config_says_with_its_layers_in_chain_order() -> None:
    _, (image,) = read_content(package_2())
    assert (image.config_digest, image.config) == (digest(IMAGE.config), IMAGE.config)
    assert (image.platform, image.has_healthcheck) == ("linux/amd64", False)
    assert [layer.diff_id for layer in image.layers] == [digest(LAYER), digest(APP_LAYER)]
    assert [layer.blob_digest for layer in image.layers] == [digest(layer.stored) for layer in IMAGE.layers]


@pytest.mark.parametrize(
    ("media_type", "compression"),
    [(TAR, Compression.NONE), (GZIP, Compression.GZIP), (ZSTD, Compression.ZSTD)],
)
def test_layer_may_be_packed_in_three_ways(media_type: str, compression: Compression) -> None:
    _, (image,) = read_content(package_2(image_2(layer(media_type=media_type))))
    assert image.layers[0].compression is compression


def test_one_layer_twice_in_a_chain_stands_once_and_counts_twice() -> None:
    twice = image_2(BASE, TOP, BASE)
    package, (image,) = read_content(package_2(twice))
    assert len([name for name in package.members if name.startswith("blobs/")]) == 4
    assert image.layers[0] == image.layers[2]
    assert package.manifest.targets[0].unpacked_bytes == 2 * len(LAYER) + len(APP_LAYER)


def test_two_targets_may_share_layers() -> None:
    images = image_2(BASE, TOP), image_2(BASE)
    targets = target_table(images[0]), target_table(images[1], service='"backend"')
    _, (first, second) = read_content(package_2(*images, manifest=manifest_2(*targets)))
    assert first.layers[0] == second.layers[0]


def test_two_targets_may_share_an_image_and_each_name_it() -> None:
    manifest = manifest_2(target_table(IMAGE), target_table(IMAGE, service='"backend"', reference='"b:1"'))
    one = package_2(manifest=manifest)
    both = package_2(manifest=manifest, index=index_json(index_entry(IMAGE), index_entry(IMAGE, "b:1")))
    assert (code_of(one), code_of(both)) == ("", "")


def test_package_may_hold_several_platforms() -> None:
    images = [image_2(TOP, platform=platform) for platform in ("linux/amd64", "linux/arm64", "linux/arm/v7")]
    _, found = read_content(package_2(*images))
    assert [image.platform for image in found] == ["linux/amd64", "linux/arm64", "linux/arm/v7"]


@pytest.mark.parametrize("platform", ["linux/arm/v7", "linux/arm"])
def test_target_may_leave_the_variant_out(platform: str) -> None:
    image = image_2(platform="linux/arm/v7")
    manifest = manifest_2(target_table(image, platform=f'"{platform}"'))
    assert code_of(package_2(image, manifest=manifest)) == ""


def test_index_need_not_say_what_platform_an_image_is_for() -> None:
    entry = {key: value for key, value in index_entry(IMAGE).items() if key != "platform"}
    assert code_of(with_index(entry)) == ""


def test_index_and_layout_may_be_laid_out_for_people() -> None:
    pretty = json.dumps(json.loads(index_json(index_entry(IMAGE))), indent=2, sort_keys=True).encode()
    assert code_of(package_2(index=pretty, layout=b'{ "imageLayoutVersion": "1.0.0" }\n')) == ""


def test_keys_of_the_image_manifest_that_nobody_needs_are_passed_over() -> None:
    image = image_2(annotations={"org.example.note": "hello"}, artifactType="application/x")
    assert code_of(package_2(image)) == ""


def change(document: Any, path: tuple[str | int, ...], value: object) -> bytes:
    """The document with one value replaced; None takes the key away."""
    place = document = json.loads(json.dumps(document))
    for step in path[:-1]:
        place = place[step]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schemaVersion",), 1),
        (("schemaVersion",), "2"),
        (("schemaVersion",), 2.0),
        (("schemaVersion",), True),
        (("schemaVersion",), None),
        (("mediaType",), MANIFEST_TYPE),
        (("mediatype",), "x"),
        (("manifests",), []),
        (("manifests",), {}),
        (("manifests",), None),
        (("annotations",), {}),
        (("subject",), {}),
        (("manifests", 0), "x"),
        (("manifests", 0, "digest"), digest(b"").upper()),
        (("manifests", 0, "digest"), "sha512:" + "0" * 128),
        (("manifests", 0, "digest"), digest(b"") + "\n"),
        (("manifests", 0, "digest"), digest(b"other")),
        (("manifests", 0, "size"), -1),
        (("manifests", 0, "size"), "554"),
        (("manifests", 0, "size"), 1 << 60),
        (("manifests", 0, "Size"), 1),
        (("manifests", 0, "urls"), ["https://example.com"]),
        (("manifests", 0, "data"), ""),
        (("manifests", 0, "platform", "architecture"), "arm64"),
        (("manifests", 0, "platform", "variant"), "v8"),
        (("manifests", 0, "platform", "os.version"), "10"),
        (("manifests", 0, "platform", "os"), None),
        (("manifests", 0, "annotations"), None),
        (("manifests", 0, "annotations", REF_NAME), "other/service:1"),
        (("manifests", 0, "annotations", REF_NAME), 1),
        (("manifests", 0, "annotations", "org.example.note"), "freight"),
    ],
)
def test_index_that_says_anything_else_is_refused(path: tuple[str | int, ...], value: object) -> None:
    index = change(json.loads(index_json(index_entry(IMAGE))), path, value)
    assert code_of(package_2(index=index)) == "image.invalid_index"


def test_index_with_another_size_is_refused() -> None:
    assert code_of(with_index(index_entry(IMAGE, size=1))) == "image.size_mismatch"


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        (("schemaVersion",), 1, "image.invalid_manifest"),
        (("mediaType",), "application/x", "image.invalid_manifest"),
        (("Layers",), [], "image.invalid_manifest"),
        (("layers",), [], "image.invalid_manifest"),
        (("config",), None, "image.invalid_manifest"),
        (("config", "digest"), digest(b"other"), "image.missing_blob"),
        (("config", "size"), 1, "image.size_mismatch"),
        (("config", "mediaType"), TAR, "image.unsupported_media_type"),
        (("layers", 0, "mediaType"), CONFIG_TYPE, "image.unsupported_media_type"),
        (("layers", 0, "mediaType"), f"{TAR}+xz", "image.unsupported_media_type"),
        (("layers", 0, "mediaType"), "", "image.unsupported_media_type"),
        (("layers", 0, "mediaType"), "a" * 256, "image.invalid_manifest"),
        (("layers", 0, "digest"), digest(b"other"), "image.missing_blob"),
        (("layers", 0, "size"), 1, "image.size_mismatch"),
    ],
)
def test_image_manifest_that_says_anything_else_is_refused(
    path: tuple[str | int, ...], value: object, code: str
) -> None:
    image = image_2(manifest=change(json.loads(IMAGE.manifest), path, value))
    assert code_of(package_2(image)) == code


def test_blob_under_two_media_types_is_checked_as_each() -> None:
    packed, plain = layer(), layer(media_type=TAR, stored=layer().stored)
    images = image_2(packed), image_2(plain, config=config_2([plain], author="x"))
    targets = target_table(images[0]), target_table(images[1], service_revision='"r2"')
    assert code_of(package_2(*images, manifest=manifest_2(*targets))) == "image.layer_mismatch"


def test_blobs_of_two_images_keep_the_order_of_their_targets() -> None:
    images = IMAGE, OTHER
    targets = [target_table(IMAGE), target_table(OTHER, service='"backend"')]
    assert code_of(package_2(*images, manifest=manifest_2(*targets))) == ""
    assert code_of(package_2(*images, manifest=manifest_2(*reversed(targets)))) == "archive.wrong_order"


REFERENCES = st.sampled_from([REFERENCE, "other/service:1", "example/frontend"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | REFERENCES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.just("digest"), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(JSON | st.binary().map(bytes), st.sampled_from([parse_index, parse_oci_manifest, check_layout_file]))
def test_any_json_is_read_or_refused(document: object, parse: Any) -> None:
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    error = error_of(lambda: parse(content))
    assert error is None or error.code.startswith("image.")
    assert error is None or error.message.isprintable()


@given(st.data())
def test_changed_json_of_a_layout_raises_nothing_but_refusals(data: st.DataObject) -> None:
    original = data.draw(st.sampled_from([IMAGE.manifest, index_json(index_entry(IMAGE)), LAYOUT]))
    start = data.draw(st.integers(0, len(original)))
    end = data.draw(st.integers(start, min(start + 12, len(original))))
    changed = original[:start] + data.draw(st.binary(max_size=12)) + original[end:]
    for parse in (parse_index, parse_oci_manifest, check_layout_file):
        error = error_of(partial(parse, changed))
        assert error is None or error.message.isprintable()
