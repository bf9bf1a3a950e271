"""The docker-save view: the three shapes that are about, and images that are cut, changed or pulled out."""

import gzip
import io
import json
import tarfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caissond.errors import CaissonError, Refusal, Truncated
from caissond.package.archive import Window
from caissond.package.image import Image, read_image
from caissond.package.layers import verify_layers
from fixtures.raw_package import LAYER, archive, config, entry, image, sha256

OTHER = archive(entry("etc/issue", b"other\n"))
CONFIG = config(sha256(LAYER), sha256(OTHER), sha256(LAYER))
GOOD = image()


def tar_of(files: dict[str, bytes | str | None]) -> bytes:
    """What moby writes: bytes are a file, text is where a symlink points, None is a directory."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                member.size = len(content)
            elif isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
            else:
                member.type = tarfile.DIRTYPE
            tar.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return buffer.getvalue()


def manifest(config_name: str, *layers: str) -> bytes:
    return json.dumps([{"Config": config_name, "RepoTags": ["a:1"], "Layers": layers}]).encode()


def docker_24() -> bytes:
    one, two, three = "1" * 64, "2" * 64, "3" * 64
    name = f"{sha256(CONFIG)}.json"
    files: dict[str, bytes | str | None] = {}
    layers: dict[str, bytes | str] = {one: LAYER, two: OTHER, three: f"../{one}/layer.tar"}
    for layer_id, content in layers.items():
        files |= {f"{layer_id}/": None, f"{layer_id}/VERSION": b"1.0", f"{layer_id}/json": b"{}"}
        files[f"{layer_id}/layer.tar"] = content
    files[name] = CONFIG
    files["manifest.json"] = manifest(name, *(f"{layer_id}/layer.tar" for layer_id in layers))
    return tar_of(files | {"repositories": b"{}"})


def docker_25() -> bytes:
    blob = "blobs/sha256/"
    names = [blob + sha256(content) for content in (CONFIG, LAYER, OTHER, LAYER)]
    files: dict[str, bytes | str | None] = {"blobs/": None, blob: None, names[0]: CONFIG}
    files |= {names[1]: LAYER, names[2]: OTHER, "index.json": b"{}"}
    return tar_of(files | {"manifest.json": manifest(*names), "oci-layout": b"{}", "repositories": b"{}"})


def skopeo() -> bytes:
    name, one, two = f"{sha256(CONFIG)}.json", f"{sha256(LAYER)}.tar", f"{sha256(OTHER)}.tar"
    files: dict[str, bytes | str | None] = {one: LAYER, two: OTHER, "1" * 64 + "/layer.tar": f"../{one}"}
    return tar_of(files | {name: CONFIG, "manifest.json": manifest(name, one, two, one)})


def read(content: bytes) -> Image:
    return read_image(io.BytesIO(content), Window(0, len(content)))


def verify(content: bytes, limit_bytes: int = 1 << 20) -> None:
    verify_layers(io.BytesIO(content), read(content).layers, limit_bytes=limit_bytes, progress=lambda _: None)


def code_of(content: bytes) -> str:
    """The code of the refusal; empty for what is accepted."""
    try:
        verify(content)
    except CaissonError as exc:
        return exc.code
    return ""


@pytest.mark.parametrize("shape", [docker_24, docker_25, skopeo])
class TestShape:
    def test_layers_come_bottom_up_and_verify(self, shape: Callable[[], bytes]) -> None:
        content = shape()
        found = read(content)
        assert [content[one.offset : one.window.end] for one in found.layers] == [LAYER, OTHER, LAYER]
        assert [one.diff_id for one in found.layers] == [
            f"sha256:{sha256(one)}" for one in (LAYER, OTHER, LAYER)
        ]
        verify(content)

    def test_config_is_handed_out_byte_for_byte(self, shape: Callable[[], bytes]) -> None:
        found = read(shape())
        assert (found.config, found.config_digest) == (CONFIG, f"sha256:{sha256(CONFIG)}")
        assert (found.platform, found.has_healthcheck) == ("linux/amd64", False)

    def test_image_cut_anywhere_is_refused_as_truncated(self, shape: Callable[[], bytes]) -> None:
        """The package around it is whole, so nobody shall wait for the rest."""
        content = shape().rstrip(b"\0")
        for cut in range(0, len(content), 512):
            with pytest.raises(Refusal) as caught:
                read(content[:cut])
            assert caught.value.code == "image.truncated"
            assert not isinstance(caught.value, Truncated)

    def test_one_changed_byte_of_a_layer_is_found(self, shape: Callable[[], bytes]) -> None:
        content = bytearray(shape())
        layer = read(bytes(content)).layers[1]
        for position in range(layer.offset, layer.window.end, 97):
            content[position] ^= 1
            assert code_of(bytes(content)) == "image.layer_mismatch"
            content[position] ^= 1


def test_image_inside_a_package_is_read_in_its_place() -> None:
    content = b"x" * 512 + GOOD + b"y" * 512
    found = read_image(io.BytesIO(content), Window(512, len(GOOD)))
    verify_layers(io.BytesIO(content), found.layers, limit_bytes=1 << 20, progress=lambda _: None)


def test_manifest_may_come_first() -> None:
    name = f"{sha256(config())}.json"
    first = entry("manifest.json", manifest(name, "layer.tar"))
    assert code_of(archive(first, entry("layer.tar", LAYER), entry(name, config()))) == ""


def test_config_without_a_digest_in_its_name_is_accepted() -> None:
    assert code_of(image(named="config.json")) == ""


def test_config_named_in_capitals_is_compared_all_the_same() -> None:
    assert code_of(image(named=f"{sha256(config()).upper()}.json")) == ""
    assert code_of(image(named=f"{sha256(b'other').upper()}.json")) == "image.config_digest_mismatch"


@pytest.mark.parametrize(
    ("test", "has"), [(["CMD", "true"], True), (["NONE"], False), ([], False), (None, False)]
)
def test_health_check_counts_when_docker_would_run_it(test: list[str] | None, has: bool) -> None:
    assert read(image(config=config(config={"Healthcheck": {"Test": test}}))).has_healthcheck is has


def test_empty_defaults_are_no_health_check() -> None:
    assert not read(image(config=config(config=None))).has_healthcheck


def test_variant_is_part_of_the_platform() -> None:
    assert read(image(config=config(architecture="arm", variant="v7"))).platform == "linux/arm/v7"


def test_labels_that_differ_in_case_only_are_accepted() -> None:
    assert code_of(image(config=config(config={"Labels": {"os": "a", "OS": "b"}}))) == ""


def test_lone_surrogates_are_refused_or_ignored() -> None:
    assert code_of(image(config=config(os="\ud800"))) == "image.invalid_config"
    assert code_of(image(config=config(author="\ud800", **{"\ud800": 1}))) == ""


def test_127_layers_are_accepted() -> None:
    content = config(*[sha256(LAYER)] * 127)
    assert code_of(image(config=content, layers=["layer.tar"] * 127)) == ""


def test_reading_an_image_does_not_read_its_layers() -> None:
    class Counting(io.BytesIO):
        bytes_read = 0

        def read(self, size: int | None = -1, /) -> bytes:
            content = super().read(size)
            self.bytes_read += len(content)
            return content

    content = image(layer=bytes(10 << 20))
    source = Counting(content)
    read_image(source, Window(0, len(content)))
    assert source.bytes_read < 8192


@given(st.data())
def test_changed_image_raises_nothing_but_our_errors(data: st.DataObject) -> None:
    changed = bytearray(image(layer=gzip.compress(LAYER, mtime=0)))
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(changed) - 1))
        changed[position] = data.draw(st.integers(0, 255))
    code_of(bytes(changed))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["Config", "config", "Layers", "os", "OS", "rootfs", "type", "diff_ids", "Healthcheck"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(document=JSON)
def test_any_json_is_accepted_or_refused_with_a_code(document: object) -> None:
    text = json.dumps(document).encode()
    assert code_of(image(manifest=text)).startswith("image.")
    assert code_of(image(manifest=json.dumps([document]).encode())).startswith("image.")
    assert code_of(image(config=text)) == "image.invalid_config"
