"""What a package is built from: skopeo's words, archives and layouts of other tools, and hostile ones."""

import json
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from caissond.errors import CaissonError
from caissond.package.image import Image
from caissond.package.inputs import (
    Input,
    InputImage,
    InputKind,
    familiar,
    newest_created,
    open_input,
    parse_input,
    read_docker_archive,
    target_platform,
)
from caissond.package.layout_input import ArchiveLayout, FolderLayout
from caissond.package.oci_input import MAX_DEPTH, MAX_IMAGES, read_layout
from fixtures.oci_layout import (
    CONFIG_TYPE,
    DOCKER,
    LAYER_TYPE,
    MANIFEST_TYPE,
    Json,
    OciLayout,
    digest_of,
    gzipped,
    zstd_packed,
)
from fixtures.raw_package import LAYER, archive, config, entry, image, sha256


def pick(layout: OciLayout, folder: Path, reference: str = "", *platforms: str) -> tuple[InputImage, ...]:
    return read_layout(FolderLayout(layout.write_folder(folder / "layout")), reference, platforms)


def platforms_of(images: Sequence[InputImage]) -> list[str]:
    return [one.image.platform for one in images]


def code_of(action: Callable[[], object]) -> str:
    with pytest.raises(CaissonError) as caught:
        action()
    return caught.value.code


# words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("example/frontend:1.4.0", Input(InputKind.ENGINE, Path(), "example/frontend:1.4.0")),
        ("localhost:5000/a:1", Input(InputKind.ENGINE, Path(), "localhost:5000/a:1")),
        ("docker-daemon:a:1", Input(InputKind.ENGINE, Path(), "a:1")),
        ("docker-archive:a.tar", Input(InputKind.DOCKER_ARCHIVE, Path("a.tar"), "")),
        ("docker-archive:a.tar:x/y:1", Input(InputKind.DOCKER_ARCHIVE, Path("a.tar"), "x/y:1")),
        ("oci-archive:/a/b.tar:1.4.0", Input(InputKind.OCI_ARCHIVE, Path("/a/b.tar"), "1.4.0")),
        ("oci:folder:x/y:1", Input(InputKind.OCI_FOLDER, Path("folder"), "x/y:1")),
    ],
)
def test_sources_are_named_in_skopeos_words(text: str, expected: Input) -> None:
    assert parse_input(text) == expected


@pytest.mark.parametrize("text", ["", "docker-daemon:", "oci:", "docker-archive::x"])
def test_source_without_a_path_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_input(text)


@pytest.mark.parametrize(
    ("reference", "shown"),
    [
        ("docker.io/library/nginx:1", "nginx:1"),
        ("docker.io/example/a", "example/a:latest"),
        ("localhost:5000/a", "localhost:5000/a:latest"),
        ("example/a@sha256:0", "example/a@sha256:0"),
        ("", ""),
    ],
)
def test_references_are_written_as_docker_shows_them(reference: str, shown: str) -> None:
    assert familiar(reference) == shown


@pytest.mark.parametrize("kind", ["missing", "folder", "fifo"])
def test_what_is_no_file_is_an_error_and_never_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "input"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    assert code_of(lambda: open_input(path)) == "build.cannot_read"


# docker save


def two_images(tmp_path: Path) -> Path:
    """As `docker save a b` writes them."""
    configs = [config(created="2026-01-01T00:00:00Z"), config(created="2026-01-02T00:00:00Z")]
    names = [f"{sha256(one)}.json" for one in configs]
    tags = [["docker.io/example/a:1", "example/a:2"], ["example/b:1"]]
    listed = [
        {"Config": name, "RepoTags": tag, "Layers": ["layer.tar"]}
        for name, tag in zip(names, tags, strict=True)
    ]
    path = tmp_path / "two.tar"
    files = [entry(name, one) for name, one in zip(names, configs, strict=True)]
    path.write_bytes(
        archive(entry("layer.tar", LAYER), *files, entry("manifest.json", json.dumps(listed).encode()))
    )
    return path


def test_reference_picks_one_image_of_several(tmp_path: Path) -> None:
    with open_input(two_images(tmp_path)) as source:
        found = read_docker_archive(source, "example/a:1")
        other = read_docker_archive(source, "docker.io/example/b:1")
    assert (found.reference, other.reference) == ("example/a:1", "example/b:1")
    assert found.image.config_digest != other.image.config_digest


@pytest.mark.parametrize("reference", ["", "example/c:1"])
def test_several_images_and_none_named_is_an_error_that_lists_them(tmp_path: Path, reference: str) -> None:
    with open_input(two_images(tmp_path)) as source, pytest.raises(CaissonError) as caught:
        read_docker_archive(source, reference)
    assert caught.value.code == "build.which_image"
    assert "docker.io/example/a:1, example/a:2, example/b:1" in caught.value.message


def test_image_with_several_tags_has_none_that_could_be_taken_for_granted(tmp_path: Path) -> None:
    one = json.loads(b'{"Config":"c","RepoTags":["a:1","b:1"],"Layers":["layer.tar"]}')
    (tmp_path / "a.tar").write_bytes(image(manifest=json.dumps([one]).encode(), named="c"))
    with open_input(tmp_path / "a.tar") as source:
        assert [read_docker_archive(source, name).reference for name in ("", "b:1")] == ["", "b:1"]


def test_docker_archive_may_hold_zstd_layers_as_containerd_saves_them(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(image(layer=zstd_packed(LAYER)))
    with open_input(tmp_path / "a.tar") as source:
        (layer,) = read_docker_archive(source).image.layers
    assert layer.compression == "zstd"


# OCI layouts


def several_platforms() -> OciLayout:
    """As buildx writes it: one index in `index.json`, an image for each platform, attestations beside them."""
    layout = OciLayout()
    images = [layout.image(architecture="amd64"), layout.image(architecture="arm64", variant="v8")]
    inner = layout.index(*images, layout.attestation(), layout.attestation(), name="example/frontend:1")
    layout.entries = [inner]
    return layout


def test_every_platform_is_found_and_attestations_are_passed_over(tmp_path: Path) -> None:
    found = pick(several_platforms(), tmp_path)
    assert platforms_of(found) == ["linux/amd64", "linux/arm64/v8"]
    assert {one.reference for one in found} == {"example/frontend:1"}


@pytest.mark.parametrize("platform", ["linux/arm64", "linux/arm64/v8"])
def test_platform_picks_and_the_others_need_not_even_be_there(tmp_path: Path, platform: str) -> None:
    layout = several_platforms()
    amd64 = next(digest for digest, blob in layout.blobs.items() if b'"amd64"' in blob and b"rootfs" in blob)
    del layout.blobs[amd64]
    assert platforms_of(pick(layout, tmp_path, "", platform)) == ["linux/arm64/v8"]


def test_archive_is_read_as_the_folder_is(tmp_path: Path) -> None:
    layout = several_platforms()
    with open_input(layout.write_archive(tmp_path / "a.tar")) as source:
        found = read_layout(ArchiveLayout.read(source), "", ())
    wanted = [one.image.config_digest for one in pick(layout, tmp_path)]
    assert [one.image.config_digest for one in found] == wanted


@pytest.mark.parametrize(
    ("wanted", "reference"),
    [("1.4.0", ""), ("example/b:2", "example/b:2"), ("docker.io/example/b:2", "example/b:2")],
)
def test_reference_picks_by_name_or_tag(tmp_path: Path, wanted: str, reference: str) -> None:
    layout = OciLayout()
    layout.entries = [layout.image(name="1.4.0"), layout.image(name="example/b:2", architecture="arm")]
    (found,) = pick(layout, tmp_path, wanted)
    assert found.reference == reference


def test_containerds_full_name_goes_before_the_tag_alone(tmp_path: Path) -> None:
    layout = OciLayout()
    one = layout.image(name="1.4.0")
    one["annotations"] = {
        "org.opencontainers.image.ref.name": "1.4.0",
        "io.containerd.image.name": "docker.io/a/b:1",
    }
    layout.entries = [one]
    assert [found.reference for found in pick(layout, tmp_path, "1.4.0")] == ["a/b:1"]


@pytest.mark.parametrize("reference", ["", "3.0.0"])
def test_which_of_several_names_has_to_be_said(tmp_path: Path, reference: str) -> None:
    layout = OciLayout()
    layout.entries = [layout.image(name="1.4.0"), layout.image(name="2.0.0", architecture="arm")]
    assert code_of(lambda: pick(layout, tmp_path, reference)) == "build.which_image"


def test_dockers_media_types_are_understood(tmp_path: Path) -> None:
    types = (
        f"{DOCKER}.distribution.manifest.v2+json",
        f"{DOCKER}.container.image.v1+json",
        f"{DOCKER}.image.rootfs.diff.tar.gzip",
    )
    layout = OciLayout()
    layout.entries = [layout.image(pack=gzipped, types=types)]
    (found,) = pick(layout, tmp_path)
    assert found.image.layers[0].compression == "gzip"


def image_with(layout: OciLayout, **changes: object) -> Json:
    """An image whose manifest says something else."""
    one = layout.image()
    document = json.loads(layout.blobs[str(one["digest"])])
    return layout.blob(json.dumps(document | changes).encode(), MANIFEST_TYPE)


def nested(layout: OciLayout, depth: int) -> Json:
    inner = layout.image()
    for _ in range(depth):
        inner = layout.index(inner)
    return inner


def lying(layout: OciLayout, **lies: object) -> Json:
    return layout.image() | lies


FAULTS: dict[str, tuple[Callable[[OciLayout], Json], str]] = {
    "indexes too deep": (lambda layout: nested(layout, MAX_DEPTH), "build.invalid_layout"),
    "too many images": (
        lambda layout: layout.index(*[layout.index(*[layout.image()] * 200)] * 2), "build.invalid_layout",
    ),
    "manifest of another size": (lambda layout: lying(layout, size=1), "image.size_mismatch"),
    "manifest that is missing": (
        lambda layout: lying(layout, digest=digest_of(b"nothing")), "image.missing_blob",
    ),
    "digest that is a path": (
        lambda layout: lying(layout, digest="sha256:../../../../etc/passwd"), "image.invalid_index",
    ),
    "no image": (lambda layout: layout.blob(b"{}", "text/plain"), "image.unsupported_media_type"),
    "config of another kind": (
        lambda layout: layout.image(types=(MANIFEST_TYPE, "application/json", LAYER_TYPE)),
        "image.unsupported_media_type",
    ),
    "layers too few": (lambda layout: image_with(layout, layers=[]), "image.layer_count_mismatch"),
    "manifest that is none": (lambda layout: layout.blob(b"[]", MANIFEST_TYPE), "image.invalid_manifest"),
    "key in another case": (lambda layout: image_with(layout, Layers=[]), "image.invalid_manifest"),
    "config that is none": (
        lambda layout: image_with(layout, config=layout.blob(b"{}", CONFIG_TYPE)), "image.invalid_config",
    ),
    "manifest far too large": (
        lambda layout: layout.blob(b" " * (1 << 20) + b"{}", MANIFEST_TYPE), "build.invalid_layout",
    ),
    "bzip2": (lambda layout: layout.image(pack=lambda _: b"BZh91AY"), "image.unsupported_compression"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_hostile_layout_is_refused(tmp_path: Path, fault: str) -> None:
    make, code = FAULTS[fault]
    layout = OciLayout()
    layout.entries = [make(layout)]
    assert code_of(lambda: pick(layout, tmp_path)) == code


def test_blob_that_is_something_else_is_refused(tmp_path: Path) -> None:
    layout = OciLayout()
    layout.entries = [layout.image()]
    digest = str(layout.entries[0]["digest"])
    layout.blobs[digest] = layout.blobs[digest].replace(b"layers", b"lAyers")
    assert code_of(lambda: pick(layout, tmp_path)) == "build.digest_mismatch"


@pytest.mark.parametrize("place", ["blobs", "blobs/sha256", "index.json", "a blob"])
def test_link_in_a_layout_is_not_followed(tmp_path: Path, place: str) -> None:
    layout = OciLayout()
    layout.entries = [layout.image()]
    folder = layout.write_folder(tmp_path / "layout")
    name = f"blobs/sha256/{str(layout.entries[0]['digest'])[7:]}" if place == "a blob" else place
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    assert code_of(lambda: read_layout(FolderLayout(folder), "", ())) == "image.missing_blob"


def test_fifo_in_a_layout_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "index.json")
    assert code_of(lambda: read_layout(FolderLayout(tmp_path), "", ())) == "image.missing_blob"


def test_folder_that_is_no_layout_is_refused(tmp_path: Path) -> None:
    assert code_of(lambda: read_layout(FolderLayout(tmp_path / "none"), "", ())) == "image.missing_blob"


def test_most_images_allowed_are_read(tmp_path: Path) -> None:
    layout = OciLayout()
    layout.entries = [layout.index(*[layout.image()] * (MAX_IMAGES - 1))]
    assert platforms_of(pick(layout, tmp_path)) == ["linux/amd64"]


# what the images say


def image_for(**words: object) -> Image:
    content = config(**words)
    plain = {"os": "linux", "architecture": "amd64", "variant": ""} | words
    return Image(
        "sha256:0", content, str(plain["os"]), str(plain["architecture"]), str(plain["variant"]), False, ()
    )


@pytest.mark.parametrize(
    ("architecture", "variant", "wanted", "platform"),
    [
        ("amd64", "", [], "linux/amd64"),
        ("arm64", "v8", [], "linux/arm64"),
        ("arm64", "v8", ["linux/arm64/v8"], "linux/arm64/v8"),
        ("arm", "v7", [], "linux/arm/v7"),
        ("arm", "v7", ["linux/amd64", "linux/arm"], "linux/arm"),
        ("arm", "v7", ["linux/arm/v6"], None),
        ("amd64", "", ["linux/arm64"], None),
    ],
)
def test_target_has_the_platform_that_was_asked_for(
    architecture: str, variant: str, wanted: list[str], platform: str | None
) -> None:
    assert target_platform(image_for(architecture=architecture, variant=variant), wanted) == platform


def test_release_is_as_old_as_its_newest_image() -> None:
    texts = [
        "2026-01-01T00:00:00Z",
        "2026-02-01T00:30:00.123456789+01:00",
        "0001-01-01T00:00:00Z",
        "soon",
        None,
    ]
    images = [image_for(created=text) for text in texts]
    assert newest_created(images) == datetime(2026, 1, 31, 23, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["1970-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-99-99T00:00:00Z", 7]
)
def test_image_that_does_not_say_when_it_was_made_says_nothing(text: object) -> None:
    assert newest_created([image_for(created=text)]) is None
