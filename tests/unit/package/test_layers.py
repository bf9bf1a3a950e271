"""A layer is what its digests say, to the last byte, and its private copy is what was checked."""

import errno
import hashlib
import io
import random
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caissond.errors import CaissonError, Refusal, SourceGone, Truncated
from caissond.package.compression import Compression
from caissond.package.layers import Layer, check_layer, stage_layer, unpack_layer, verify_layers
from tests.unit.package.test_compression import pack

BEFORE = b"what stands before it"
CONTENT = random.Random(2).randbytes(2_500_000)
LIMIT_BYTES = 1 << 24


def ignore(_more_bytes: int) -> None:
    """Nobody watches."""


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def layer_of(
    content: bytes, how: Compression = Compression.NONE, *, vouched: bool = True
) -> tuple[Layer, io.BytesIO]:
    """A layer and the source that it stands in; with the digest of its blob, or without."""
    stored = pack(content, how)
    layer = Layer(digest(content), len(BEFORE), len(stored), how, digest(stored) if vouched else "")
    return layer, io.BytesIO(BEFORE + stored + b"what stands behind it")


def check(layer: Layer, source: io.BytesIO, limit_bytes: int = LIMIT_BYTES) -> int:
    return check_layer(source, layer, limit_bytes=limit_bytes, progress=ignore)


def code_of(act: Callable[[], object]) -> str:
    with pytest.raises(CaissonError) as caught:
        act()
    return caught.value.code


@pytest.mark.parametrize("vouched", [True, False], ids=["blob digest", "diff ID alone"])
@pytest.mark.parametrize("how", Compression)
class TestEveryKind:
    @given(content=st.binary(max_size=4000))
    def test_layer_that_is_what_it_says_is_accepted(
        self, how: Compression, vouched: bool, content: bytes
    ) -> None:
        layer, source = layer_of(content, how, vouched=vouched)
        assert check(layer, source) == len(content)
        assert b"".join(unpack_layer(source, layer, ignore)) == content

    def test_one_changed_bit_is_refused(self, how: Compression, vouched: bool) -> None:
        layer, source = layer_of(CONTENT, how, vouched=vouched)
        changed = bytearray(source.getvalue())
        for position in range(layer.offset, layer.window.end, layer.size_bytes // 7):
            changed[position] ^= 1
            assert code_of(lambda: check(layer, io.BytesIO(changed))) == "image.layer_mismatch"
            changed[position] ^= 1

    @pytest.mark.parametrize("size_bytes", [0, 1, 1 << 20, (1 << 20) + 1])
    def test_limit_holds_to_the_byte(self, how: Compression, vouched: bool, size_bytes: int) -> None:
        layer, source = layer_of(CONTENT[:size_bytes], how, vouched=vouched)
        assert check(layer, source, size_bytes) == size_bytes
        if size_bytes:
            assert code_of(lambda: check(layer, source, size_bytes - 1)) == "image.too_large"

    def test_copy_is_the_bytes_as_they_are_stored(
        self, how: Compression, vouched: bool, tmp_path: Path
    ) -> None:
        layer, source = layer_of(CONTENT, how, vouched=vouched)
        told: list[int] = []
        copy = tmp_path / "copy"
        size_bytes = stage_layer(source, layer, copy, limit_bytes=LIMIT_BYTES, progress=told.append)
        assert (size_bytes, sum(told)) == (len(CONTENT), layer.size_bytes)
        assert copy.read_bytes() == source.getvalue()[layer.offset : layer.window.end]
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600

    def test_nothing_stays_of_a_copy_that_failed(
        self, how: Compression, vouched: bool, tmp_path: Path
    ) -> None:
        layer, source = layer_of(CONTENT, how, vouched=vouched)
        before = set(threading.enumerate())
        for limit_bytes, cut in ((5, layer.window.end), (LIMIT_BYTES, layer.window.end - 1)):
            cut_short = io.BytesIO(source.getvalue()[:cut])
            with pytest.raises(Refusal):
                stage_layer(cut_short, layer, tmp_path / "c", limit_bytes=limit_bytes, progress=ignore)
            assert list(tmp_path.iterdir()) == []
        assert not set(threading.enumerate()) - before


@pytest.mark.parametrize("how", Compression)
def test_good_content_under_another_blob_digest_is_refused(how: Compression) -> None:
    layer, source = layer_of(CONTENT, how)
    other = Layer(layer.diff_id, layer.offset, layer.size_bytes, how, digest(b"other"))
    assert code_of(lambda: check(other, source)) == "image.layer_mismatch"


@pytest.mark.parametrize("how", Compression)
def test_good_blob_with_another_content_is_refused(how: Compression) -> None:
    layer, source = layer_of(CONTENT, how)
    other = Layer(digest(b"other"), layer.offset, layer.size_bytes, how, layer.blob_digest)
    assert code_of(lambda: check(other, source)) == "image.layer_mismatch"


def test_copy_never_replaces_a_file_nor_follows_a_link(tmp_path: Path) -> None:
    layer, source = layer_of(b"layer")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("file", "link"):
        with pytest.raises((CaissonError, FileExistsError)):
            stage_layer(source, layer, tmp_path / name, limit_bytes=LIMIT_BYTES, progress=ignore)
    assert (tmp_path / "file").read_text() == "mine"
    assert not (tmp_path / "elsewhere").exists()


def test_limit_holds_for_all_layers_together() -> None:
    layer, source = layer_of(b"x" * 1000)
    assert verify_layers(source, [layer] * 3, limit_bytes=3000, progress=ignore) == 3000
    assert code_of(lambda: verify_layers(source, [layer] * 3, limit_bytes=2999, progress=ignore)) == (
        "image.too_large"
    )


class Pulled(io.BytesIO):
    """A stick that is gone after the first MiB."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() > 1 << 20:
            raise OSError(errno.EIO, "gone")
        return super().read(size)


@pytest.mark.parametrize("how", Compression)
def test_stick_pulled_in_a_layer_is_an_ordinary_event(how: Compression, tmp_path: Path) -> None:
    layer, source = layer_of(CONTENT, how)
    pulled = Pulled(source.getvalue())
    with pytest.raises(SourceGone):
        stage_layer(pulled, layer, tmp_path / "copy", limit_bytes=LIMIT_BYTES, progress=ignore)
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("how", Compression)
def test_file_that_ends_in_a_layer_may_still_be_growing(how: Compression) -> None:
    layer, source = layer_of(CONTENT, how)
    with pytest.raises(Truncated):
        check(layer, io.BytesIO(source.getvalue()[: layer.window.end - 1]))
