"""Unpacking: what Go's readers would read, no more, and nothing that unfolds in memory."""

import gzip
import random
import struct
import time
import tracemalloc
from collections.abc import Iterable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caissond.package import compression
from caissond.package.compression import BrokenStream, Compression, sniff, unpack, zstd

NOISE = random.Random(1).randbytes(300_000)
SKIPPABLE = struct.pack("<II", 0x184D2A50, 3) + b"xyz"
PACKED = [Compression.GZIP, Compression.ZSTD]


def pack(content: bytes, how: Compression) -> bytes:
    if how is Compression.ZSTD:
        return zstd.compress(content, options={zstd.CompressionParameter.checksum_flag: 1})
    return gzip.compress(content, 1, mtime=0) if how is Compression.GZIP else content


def whole(packed: bytes, how: Compression, piece_bytes: int = 1 << 20) -> bytes:
    return b"".join(unpack(pieces(packed, piece_bytes), how))


def pieces(content: bytes, size_bytes: int) -> Iterable[bytes]:
    return (content[start : start + size_bytes] for start in range(0, len(content), size_bytes))


@given(
    contents=st.lists(st.binary(max_size=3000), min_size=1, max_size=4),
    how=st.sampled_from(PACKED),
    piece_bytes=st.integers(1, 5000),
)
def test_streams_behind_one_another_are_read_as_one(
    contents: list[bytes], how: Compression, piece_bytes: int
) -> None:
    packed = b"".join(pack(content, how) for content in contents)
    assert whole(packed, how, piece_bytes) == b"".join(contents)


@pytest.mark.parametrize("how", Compression)
@pytest.mark.parametrize("size_bytes", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5_000_000])
def test_content_of_any_size_comes_out_as_it_went_in(how: Compression, size_bytes: int) -> None:
    for content in (bytes(size_bytes), random.Random(size_bytes).randbytes(size_bytes)):
        assert whole(pack(content, how), how) == content


@pytest.mark.parametrize("how", PACKED)
class TestRefused:
    def test_cut_anywhere(self, how: Compression) -> None:
        packed = pack(NOISE[:2000], how)
        for cut in range(len(packed)):
            with pytest.raises(BrokenStream, match="ends early"):
                whole(packed[:cut], how)

    def test_cut_in_the_second_stream(self, how: Compression) -> None:
        with pytest.raises(BrokenStream, match="ends early"):
            whole(pack(b"a", how) + pack(b"b", how)[:-1], how)

    @pytest.mark.parametrize("surplus", [b"\0", bytes(512), b"garbage", b"BZh9"])
    def test_anything_else_behind_a_stream(self, how: Compression, surplus: bytes) -> None:
        with pytest.raises(BrokenStream, match=r"is broken|ends early"):
            whole(pack(b"a", how) + surplus, how)

    def test_one_bit_changed(self, how: Compression) -> None:
        packed = bytearray(pack(NOISE, how))
        packed[len(packed) // 2] ^= 1
        with pytest.raises(BrokenStream, match="is broken"):
            whole(bytes(packed), how)

    def test_streams_without_end(self, how: Compression) -> None:
        """Each is empty: they would cost time and never reach a limit on the content."""
        began = time.process_time()
        with pytest.raises(BrokenStream, match="more than"):
            whole(pack(b"", how) * (compression.MAX_STREAMS + 1), how)
        assert time.process_time() - began < 30


def test_skippable_frames_are_passed_over() -> None:
    packed = SKIPPABLE + pack(b"one", Compression.ZSTD) + SKIPPABLE + pack(b"two", Compression.ZSTD)
    assert whole(packed, Compression.ZSTD, 7) == b"onetwo"


@pytest.mark.parametrize(("window_log", "is_read"), [(22, True), (23, True), (24, False), (27, False)])
def test_zstd_window_may_take_eight_mebibytes(window_log: int, is_read: bool) -> None:
    """What a decoder sets aside for it comes from the header, whatever the content."""
    options: dict[int, int] = {zstd.CompressionParameter.window_log: window_log}
    compressor = zstd.ZstdCompressor(options=options)
    packed = compressor.compress(NOISE) + compressor.flush()
    if is_read:
        assert whole(packed, Compression.ZSTD) == NOISE
    else:
        with pytest.raises(BrokenStream):
            whole(packed, Compression.ZSTD)


@pytest.mark.parametrize("how", PACKED)
def test_bomb_unfolds_piece_by_piece(how: Compression) -> None:
    bomb = pack(bytes(200 << 20), how)
    assert len(bomb) < 1 << 20
    tracemalloc.start()
    unpacked_bytes = longest = 0
    for piece in unpack([bomb], how):
        unpacked_bytes, longest = unpacked_bytes + len(piece), max(longest, len(piece))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (unpacked_bytes, longest) == (200 << 20, 1 << 20)
    assert peak < 16 << 20


@given(noise=st.binary(max_size=2000), how=st.sampled_from(PACKED))
def test_any_bytes_are_unpacked_or_refused(noise: bytes, how: Compression) -> None:
    with suppress(BrokenStream):
        whole(pack(b"a" * 100, how)[: len(noise)] + noise, how)


@pytest.mark.parametrize(
    ("beginning", "how"),
    [
        (b"\x1f\x8b\x08\0\0\0", Compression.GZIP),
        (b"\x28\xb5\x2f\xfd\0\0", Compression.ZSTD),
        (SKIPPABLE[:6], Compression.ZSTD),
        (b"BZh91A", None),
        (b"\xfd7zXZ\0", None),
        (b"etc/mo", Compression.NONE),
        (b"", Compression.NONE),
    ],
)
def test_how_a_blob_is_packed_is_seen_in_its_first_bytes(beginning: bytes, how: Compression | None) -> None:
    assert sniff(beginning) is how
