"""One layer is read ahead, never two; whoever waits gives the signs of life and hears of errors."""

import errno
import hashlib
import io
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from caissond.errors import CaissonError, SourceGone, Stopping
from caissond.host.read_ahead import ReadAhead
from caissond.package.compression import Compression
from caissond.package.layers import Layer

CONTENTS = (b"a" * 3_000_000, b"b" * 2_000_000, b"c" * 1_000_000)
LAYERS = tuple(
    Layer(
        f"sha256:{hashlib.sha256(content).hexdigest()}",
        sum(len(below) for below in CONTENTS[:number]),
        len(content),
        Compression.NONE,
    )
    for number, content in enumerate(CONTENTS)
)
LIMIT_BYTES = 1 << 24


def ignore(_more_bytes: int) -> None:
    """Nobody watches."""


class Stick(io.BytesIO):
    """Holds the layers; can be pulled, slow or damaged."""

    def __init__(self, *, gone_at: int = 1 << 30, pause_s: float = 0) -> None:
        super().__init__(b"".join(CONTENTS))
        self._gone_at = gone_at
        self._pause_s = pause_s

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() >= self._gone_at:
            raise OSError(errno.EIO, "gone")
        time.sleep(self._pause_s)
        return super().read(size)


def await_that(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def sizes_in(folder: Path) -> list[int]:
    return sorted(file.stat().st_size for file in folder.iterdir())


def test_layers_come_in_their_order_and_their_copies_go_when_they_were_read(tmp_path: Path) -> None:
    with ReadAhead(Stick(), LAYERS, tmp_path, limit_bytes=LIMIT_BYTES) as reader:
        assert [b"".join(reader.take(ignore).unpack()) for _ in LAYERS] == list(CONTENTS)
    assert list(tmp_path.iterdir()) == []


def test_one_layer_is_read_ahead_and_never_two(tmp_path: Path) -> None:
    with ReadAhead(Stick(), LAYERS, tmp_path, limit_bytes=LIMIT_BYTES) as reader:
        await_that(lambda: sizes_in(tmp_path) == [3_000_000])
        first = reader.take(ignore)
        await_that(lambda: sizes_in(tmp_path) == [2_000_000, 3_000_000])
        time.sleep(0.1)
        assert sizes_in(tmp_path) == [2_000_000, 3_000_000]
        list(first.unpack())
        assert sizes_in(tmp_path) == [2_000_000]


def test_progress_is_told_in_the_thread_that_waits_and_adds_up(tmp_path: Path) -> None:
    told: list[int] = []
    threads: set[threading.Thread] = set()

    def on_progress(more_bytes: int) -> None:
        told.append(more_bytes)
        threads.add(threading.current_thread())

    with ReadAhead(Stick(pause_s=0.1), LAYERS, tmp_path, limit_bytes=LIMIT_BYTES) as reader:
        for _ in LAYERS:
            reader.take(on_progress)
    assert sum(told) == sum(len(content) for content in CONTENTS)
    assert (len(told) > len(LAYERS), threads) == (True, {threading.current_thread()})


def test_signs_of_life_end_when_the_stick_gives_nothing_any_more(tmp_path: Path) -> None:
    """Or nobody would ever notice that it hangs."""
    told: list[int] = []
    slow = Stick(pause_s=0.7)
    with ReadAhead(slow, LAYERS[2:], tmp_path, limit_bytes=LIMIT_BYTES, silence_s=0.2) as reader:
        reader.take(told.append)
    assert len(told) < 5


@pytest.mark.parametrize("megabyte", [0, 1, 4, 5])
def test_pulled_stick_is_heard_of_when_its_layer_is_asked_for(tmp_path: Path, megabyte: int) -> None:
    pulled = Stick(gone_at=megabyte * 1_000_000)
    with ReadAhead(pulled, LAYERS, tmp_path, limit_bytes=LIMIT_BYTES) as reader:
        for layer in LAYERS:
            if layer.window.end <= megabyte * 1_000_000:
                list(reader.take(ignore).unpack())
        with pytest.raises(SourceGone):
            reader.take(ignore)
    assert list(tmp_path.iterdir()) == []


def test_limit_holds_for_all_layers_together(tmp_path: Path) -> None:
    with ReadAhead(Stick(), LAYERS, tmp_path, limit_bytes=5_999_999) as reader:
        list(reader.take(ignore).unpack())
        list(reader.take(ignore).unpack())
        with pytest.raises(CaissonError) as caught:
            reader.take(ignore)
    assert caught.value.code == "image.too_large"


def test_who_is_asked_to_stop_does_not_wait_for_the_layer(tmp_path: Path) -> None:
    def stop(_more_bytes: int) -> None:
        raise Stopping("cannot go on", code="update.interrupted")

    before, began = set(threading.enumerate()), time.monotonic()
    with (
        pytest.raises(Stopping),
        ReadAhead(Stick(pause_s=2), LAYERS, tmp_path, limit_bytes=LIMIT_BYTES) as reader,
    ):
        reader.take(stop)
    assert time.monotonic() - began < 5  # 6 for all of the layer
    assert list(tmp_path.iterdir()) == []
    assert not set(threading.enumerate()) - before


@pytest.mark.parametrize("left_bytes", [0, 1_000_000])
def test_copy_that_became_shorter_is_the_devices_fault_not_the_packages(
    tmp_path: Path, left_bytes: int
) -> None:
    with ReadAhead(Stick(), LAYERS, tmp_path, limit_bytes=LIMIT_BYTES) as reader:
        staged = reader.take(ignore)
        with staged.path.open("r+b") as copy:
            copy.truncate(left_bytes)
        with pytest.raises(CaissonError, match="cannot read the private copy") as caught:
            list(staged.unpack())
    assert caught.value.code == "host.io_error"
