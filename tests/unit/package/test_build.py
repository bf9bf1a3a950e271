"""Building a package: the same input gives the same bytes, and nothing is left behind when it fails."""

import gzip
import hashlib
import json
import random
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from caissond.errors import CaissonError, Refusal
from caissond.package.compress import PackedLayer, pack_layer
from caissond.package.compression import Compression
from caissond.package.layers import Layer, check_layer
from caissond.package.layout_writer import MAX_MEMBER_BYTES, format_header
from caissond.package.source import Window
from caissond.package.writing import workshop
from fixtures.oci_layout import OciLayout, digest_of, gzipped, gzipped_in_two, plain, zstd_packed
from fixtures.raw_package import LAYER, archive, config, entry, image, sha256
from tests.unit.package.builds import build, docker_input, manifest_of, members, oci_input, read, target

OTHER = archive(entry("etc/other", b"other\n" * 1000))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_package_reads_as_the_specification_lists_its_keys(tmp_path: Path, stack: ExitStack) -> None:
    output = tmp_path / "x.edgepkg"
    manifest = manifest_of(
        target(optional=True),
        allow_downgrade=True,
        device_types=("gw-1", "gw-2"),
        min_updater_version="1.0.0",
    )
    build(output, [docker_input(tmp_path, image(), stack)], manifest)
    content = members(output)
    blobs = {name: len(blob) for name, blob in content.items() if name.startswith("blobs/")}
    oci, conf, _ = (name.rsplit("/", 1)[1] for name in blobs)
    assert (
        content["manifest.toml"].decode()
        == f"""\
format_version = 2
package_type = "service"
package_version = "1.2.3"
created_at = "2026-03-16T18:30:00Z"
allow_downgrade = true

[compatibility]
min_updater_version = "1.0.0"
device_types = ["gw-1", "gw-2"]

[[targets]]
service = "frontend"
service_revision = "r1"
platform = "linux/amd64"
optional = true

[targets.image]
reference = "example/frontend:1.2.3"
manifest_digest = "sha256:{oci}"
config_digest = "sha256:{conf}"
size_bytes = {sum(blobs.values())}
unpacked_bytes = {len(LAYER)}
"""
    )


def test_members_are_plain_files_of_nobody_in_their_order(tmp_path: Path, stack: ExitStack) -> None:
    output = tmp_path / "x.edgepkg"
    build(output, [docker_input(tmp_path, image(), stack)])
    with tarfile.open(output) as tar:
        found = tar.getmembers()
    assert [member.name for member in found[:3]] == ["manifest.toml", "oci-layout", "index.json"]
    for member in found:
        kept = member.type, member.mode, member.uid, member.gid, member.mtime, member.pax_headers
        assert kept == (tarfile.REGTYPE, 0o644, 0, 0, 0, {})
    for name, blob in members(output).items():
        if name.startswith("blobs/"):
            assert name == f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}"


def test_config_is_copied_byte_for_byte(tmp_path: Path, stack: ExitStack) -> None:
    odd = config().replace(b", ", b" ,\n\t")
    build(tmp_path / "x.edgepkg", [docker_input(tmp_path, image(config=odd), stack)])
    package = read(tmp_path / "x.edgepkg")
    assert package.manifest.targets[0].config_digest == f"sha256:{sha256(odd)}"
    assert odd in members(tmp_path / "x.edgepkg").values()


@pytest.mark.parametrize("pack", [plain, gzipped, gzipped_in_two, zstd_packed])
def test_the_same_image_gives_the_same_bytes_however_it_came(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    contents = []
    for name, packing in (("a", plain), ("b", pack)):
        layout = OciLayout()
        layout.entries = [layout.image([LAYER, OTHER], pack=packing)]
        (tmp_path / name).mkdir()
        build(tmp_path / name / "x.edgepkg", oci_input(tmp_path / name / "layout", layout))
        contents.append((tmp_path / name / "x.edgepkg").read_bytes())
    assert contents[0] == contents[1]


@pytest.fixture(scope="module")
def large_layer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Layer]:
    """More than zstd gives to one thread at a time."""
    words = [random.Random(1).randbytes(9).hex() for _ in range(500)]
    content = " ".join(random.Random(2).choices(words, k=400_000)).encode()
    path = tmp_path_factory.mktemp("large") / "layer"
    path.write_bytes(content)
    return path, Layer(f"sha256:{sha256(content)}", 0, len(content), Compression.NONE)


def packed(large_layer: tuple[Path, Layer], target: Path, workers: int) -> PackedLayer:
    path, layer = large_layer
    with path.open("rb", buffering=0) as source:
        return pack_layer(source, layer, target, level=1, workers=workers, progress=lambda _: None)


def test_the_number_of_cores_never_changes_the_bytes(large_layer: tuple[Path, Layer], tmp_path: Path) -> None:
    digests = {packed(large_layer, tmp_path / str(cores), cores).blob_digest for cores in (0, 1, 2, 3, 7)}
    assert len(digests) == 1


def test_packed_layer_knows_its_size_and_its_checksum(
    large_layer: tuple[Path, Layer], tmp_path: Path
) -> None:
    """RFC 8878, 3.1.1.1: the frame header's descriptor and window."""
    one = packed(large_layer, tmp_path / "packed", 1)
    content = one.path.read_bytes()
    has_size, has_checksum, whole = content[4] >> 6, content[4] & 4, content[4] & 0x20
    assert has_size
    assert has_checksum
    assert whole or 10 + (content[5] >> 3) <= 23
    stored = Layer(one.diff_id, 0, one.size_bytes, Compression.ZSTD, one.blob_digest)
    with one.path.open("rb", buffering=0) as source:
        size_bytes = check_layer(source, stored, limit_bytes=1 << 40, progress=lambda _: None)
    assert size_bytes == one.unpacked_bytes == large_layer[1].size_bytes


def test_shared_layers_stand_once(tmp_path: Path) -> None:
    layout = OciLayout()
    layout.entries = [layout.image([LAYER, OTHER]), layout.image([LAYER, LAYER], architecture="arm64")]
    images = oci_input(tmp_path / "layout", layout)
    manifest = manifest_of(target(), target("backend", platform="linux/arm64"))
    built = build(tmp_path / "x.edgepkg", images, manifest)
    assert (built.layers, built.layer_uses) == (2, 4)
    blobs = [name for name in members(tmp_path / "x.edgepkg") if name.startswith("blobs/")]
    assert len(blobs) == 2 + 2 + 2
    sizes = [one.unpacked_bytes for one in built.manifest.targets]
    assert sizes == [len(LAYER) + len(OTHER), 2 * len(LAYER)]


def test_one_image_under_two_names_is_found_by_both(tmp_path: Path, stack: ExitStack) -> None:
    one = docker_input(tmp_path, image(), stack)
    build(
        tmp_path / "x.edgepkg",
        [one, one, one],
        manifest_of(target("a"), target("b"), target("c", reference="example/a:1.2.3")),
    )
    index = json.loads(members(tmp_path / "x.edgepkg")["index.json"])
    names = [entry["annotations"]["org.opencontainers.image.ref.name"] for entry in index["manifests"]]
    assert names == ["example/a:1.2.3", "example/b:1.2.3"]


def test_what_is_signed_is_the_manifest_as_it_stands(tmp_path: Path, stack: ExitStack) -> None:
    asked: list[bytes] = []

    def sign(content: bytes) -> bytes:
        asked.append(content)
        return b"signature\n"

    build(tmp_path / "x.edgepkg", [docker_input(tmp_path, image(), stack)], sign=sign)
    content = members(tmp_path / "x.edgepkg")
    assert list(content)[:3] == ["manifest.toml", "manifest.toml.sig", "oci-layout"]
    assert asked == [content["manifest.toml"]]
    assert content["manifest.toml.sig"] == b"signature\n"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"version": "1.2"}, "manifest.invalid_package_version"),
        ({"min_updater_version": "new"}, "manifest.invalid_min_updater_version"),
        ({"device_types": ("gw\u202e",)}, "manifest.hidden_characters"),
        ({"targets": (target(service_revision=" "),)}, "manifest.empty_field"),
        ({"targets": (target(reference="UPPER:1"),)}, "manifest.invalid_reference"),
        ({"targets": (target(), target())}, "manifest.duplicate_target"),
    ],
)
def test_a_manifest_that_devices_refuse_is_refused_before_anything_is_packed(
    tmp_path: Path, stack: ExitStack, fields: dict[str, object], code: str
) -> None:
    manifest = manifest_of(**fields)
    images = [docker_input(tmp_path, image(), stack)] * len(manifest.targets)
    bars: list[str] = []
    with pytest.raises(Refusal) as caught:
        build(tmp_path / "x.edgepkg", images, manifest, bar=lambda phase, *_: bars.append(phase))
    assert (caught.value.code, bars) == (code, [])


def test_damaged_layer_is_refused_and_the_output_before_stays(tmp_path: Path, stack: ExitStack) -> None:
    output = tmp_path / "x.edgepkg"
    output.write_bytes(b"before")
    damaged = image().replace(b"hello", b"hallo")
    with pytest.raises(Refusal) as caught:
        build(output, [docker_input(tmp_path, damaged, stack)])
    assert caught.value.code == "image.layer_mismatch"
    assert output.read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["input.tar", "x.edgepkg"]


def test_interruption_leaves_nothing(tmp_path: Path, stack: ExitStack) -> None:
    def interrupt(phase: str, _done: int, _total: int) -> None:
        if phase == "writing":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "x.edgepkg", [docker_input(tmp_path, image(), stack)], bar=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["input.tar"]


def test_nothing_is_handed_out_that_a_device_would_refuse(tmp_path: Path, stack: ExitStack) -> None:
    manifest = manifest_of(target(platform="linux/arm64"))
    with pytest.raises(Refusal) as caught:
        build(tmp_path / "x.edgepkg", [docker_input(tmp_path, image(), stack)], manifest)
    assert caught.value.code == "image.platform_mismatch"
    assert [path.name for path in tmp_path.iterdir()] == ["input.tar"]


def test_output_replaces_a_package_but_never_a_link(tmp_path: Path, stack: ExitStack) -> None:
    one = docker_input(tmp_path, image(), stack)
    (tmp_path / "kept").write_bytes(b"kept")
    (tmp_path / "link.edgepkg").symlink_to(tmp_path / "kept")
    with pytest.raises(Refusal) as caught:
        build(tmp_path / "link.edgepkg", [one])
    assert (caught.value.code, (tmp_path / "kept").read_bytes()) == ("package.not_a_file", b"kept")
    (tmp_path / "x.edgepkg").write_bytes(b"before")
    build(tmp_path / "x.edgepkg", [one])
    assert read(tmp_path / "x.edgepkg").manifest.version == "1.2.3"


@pytest.mark.parametrize(
    ("name", "code"),
    [("x.tar", "package.invalid_extension"), ("no/such/x.edgepkg", "build.cannot_write")],
)
def test_output_that_cannot_be_is_refused_at_once(tmp_path: Path, name: str, code: str) -> None:
    with pytest.raises(CaissonError) as caught, workshop(tmp_path / name):
        pass
    assert (caught.value.code, str(tmp_path / name) in caught.value.message) == (code, True)


def test_blob_that_is_not_what_its_digest_says_is_refused(tmp_path: Path) -> None:
    """Even where what is in it would be right: somebody changed the input."""
    layout = OciLayout()
    layout.entries = [layout.image([LAYER], pack=gzipped)]
    (digest,) = (one for one, content in layout.blobs.items() if content == gzipped(LAYER))
    layout.blobs[digest] = gzip.compress(LAYER, mtime=1)
    assert len(layout.blobs[digest]) == len(gzipped(LAYER))
    images = oci_input(tmp_path / "layout", layout)
    with pytest.raises(Refusal) as caught:
        build(tmp_path / "x.edgepkg", images)
    assert caught.value.code == "image.layer_mismatch"


def test_plain_layer_under_the_name_of_another_is_refused(tmp_path: Path) -> None:
    """What is in it is what the config wants; but the manifest names another blob."""
    layout = OciLayout()
    layout.entries = [layout.image([LAYER], pack=lambda _: OTHER[: len(LAYER)])]
    layout.blobs[digest_of(OTHER[: len(LAYER)])] = LAYER
    with pytest.raises(Refusal) as caught:
        build(tmp_path / "x.edgepkg", oci_input(tmp_path / "layout", layout))
    assert caught.value.code == "image.layer_mismatch"


def gzip_of_size(content: bytes, size_bytes: int) -> bytes:
    """A gzip stream of exactly this size: RFC 1952's extra field takes up the rest."""
    stream = gzipped(content)
    extra = bytes(size_bytes - len(stream) - 2)
    return stream[:3] + b"\x04" + stream[4:10] + len(extra).to_bytes(2, "little") + extra + stream[10:]


@pytest.mark.parametrize("content", [b"five5", b"other6", b"seven77"])
def test_layer_that_changes_between_two_readings_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "layer"
    path.write_bytes(gzip_of_size(b"sixsix", 100))
    layer = Layer(f"sha256:{sha256(b'sixsix')}", 0, 100, Compression.GZIP)

    def swap(_more: int) -> None:
        path.write_bytes(gzip_of_size(content, 100))

    with path.open("rb", buffering=0) as source, pytest.raises(Refusal) as caught:
        pack_layer(source, layer, tmp_path / "packed", level=1, progress=swap)
    assert caught.value.code == "image.layer_mismatch"
    assert not (tmp_path / "packed").exists()


def test_layer_that_no_header_can_describe_is_refused() -> None:
    format_header("blobs/x", MAX_MEMBER_BYTES)
    with pytest.raises(CaissonError) as caught:
        format_header("blobs/x", MAX_MEMBER_BYTES + 1)
    assert caught.value.code == "build.layer_too_large"


def test_progress_ends_where_it_said_it_would(tmp_path: Path) -> None:
    layout = OciLayout()
    layout.entries = [layout.image([LAYER, OTHER], pack=gzipped)]
    told: dict[str, tuple[int, int]] = {}
    images = oci_input(tmp_path / "layout", layout)
    build(tmp_path / "x.edgepkg", images, bar=lambda phase, done, total: told.update({phase: (done, total)}))
    assert set(told) == {"packing", "writing"}
    assert all(done == total > 0 for done, total in told.values())


def test_window_of_a_layer_is_its_own(tmp_path: Path, stack: ExitStack) -> None:
    """A layer of an archive is read at its offset, whatever stands around it."""
    one = docker_input(tmp_path, image(entry("junk", b"junk" * 400)), stack)
    (layer,) = one.image.layers
    with one.open_layer(layer) as source:
        source.seek(layer.offset)
        assert source.read(layer.size_bytes) == LAYER
    assert layer.window == Window(layer.offset, len(LAYER))
