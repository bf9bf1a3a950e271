"""How images get into Docker: layer by layer against "stage it whole, then load it", on one engine in one run."""

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

from caissond.host.docker import Docker
from caissond.host.ingest import import_image
from caissond.host.sync import sync_filesystem
from caissond.package.validate import read_package, read_target
from fixtures.engine import PrivateEngine
from fixtures.images import ImageRecipe, layered_image
from fixtures.layers import Layer, noise_layer
from fixtures.packages import write_package
from tests.bench.content import PacedFile, real_layers
from tests.bench.say import run_caisson, say

STICK_MB_PER_S = 35.0
ENDLESS_MB_PER_S = 1e6
TAG = "caisson.invalid/ingest:bench"
LIMIT_BYTES = 1 << 40


@dataclass(frozen=True, slots=True)
class Pair:
    """One image, in a package of either format."""

    image_tar: Path
    format_1: Path
    format_2: Path


class Loading:
    """Measurements on one engine."""

    def __init__(self, folder: Path, engine: PrivateEngine) -> None:
        self._folder = folder
        self._engine = engine
        self._docker = Docker(timeout_s=600, load_stall_s=600, environment={"DOCKER_HOST": engine.host})

    def measure(self) -> None:
        layers = real_layers(self._folder, count=5, size_mb=42)
        pair = self._pack("paced", layers)
        whole_s = self._timed(lambda: self._stage_then_load(pair))
        layerwise_s = self._timed(lambda: self._import(pair.format_1, STICK_MB_PER_S))
        zstd_s = self._timed(lambda: self._import(pair.format_2, STICK_MB_PER_S))
        note = f"{whole_s:.1f} s staged whole; at most {{}} wanted"
        say("210 MB at 35 MB/s, layer by layer", f"{layerwise_s / whole_s:.2f}", note.format(0.75))
        say("210 MB at 35 MB/s, zstd layers", f"{zstd_s / whole_s:.2f}", note.format(0.45))
        self._measure_one_new_layer()
        self._measure_disk()

    def _measure_one_new_layer(self) -> None:
        """All layers but the topmost are there, in another image."""
        base = tuple(noise_layer(self._folder / f"base-{n}", 40, seed=f"base {n}") for n in range(5))
        old = self._pack("old", base)
        new = self._pack("new", (*base, noise_layer(self._folder / "top", 10, seed="top")))
        self._import(old.format_1, keep=True)
        load_s = self._timed(lambda: self._load_and_sync(new.image_tar))
        began = time.monotonic()
        read_bytes = self._import(new.format_2)
        took_s = time.monotonic() - began
        self._docker.untag(TAG)
        share = 100 * read_bytes / new.format_2.stat().st_size
        say("10 MB of 210 MB new: read of the package", f"{share:.1f} %", "at most 8 % wanted")
        say(
            "10 MB of 210 MB new: time",
            f"{took_s / load_s:.2f}",
            f"of docker load's {load_s:.1f} s, both synced; at most 0.3 wanted",
        )

    def _measure_disk(self) -> None:
        layers = tuple(noise_layer(self._folder / f"tenth-{n}", 100, seed=f"tenth {n}") for n in range(10))
        size_bytes = sum(layer.size_bytes for layer in layers)
        package = self._pack("disk", layers).format_2
        with self._peak() as peak_bytes:
            self._import(package)
        share = peak_bytes() / size_bytes
        say("1 GB image of 10 layers: disk at the peak", f"{share:.2f}", "of it; at most 1.4 wanted")

    def _pack(self, name: str, layers: tuple[Layer, ...]) -> Pair:
        recipe = ImageRecipe(reference=f"bench:{name}", version="1.0.0")
        image = layered_image(self._folder / f"{name}.tar", recipe, layers)
        pair = Pair(image.path, self._folder / f"{name}-1.edgepkg", self._folder / f"{name}-2.edgepkg")
        write_package(
            pair.format_1, service=name, version="1.0.0", reference=image.reference, image_tar=image.path
        )
        run_caisson("package", "convert", pair.format_1, pair.format_2)
        return pair

    def _timed(self, work: Callable[[], object]) -> float:
        began = time.monotonic()
        work()
        took_s = time.monotonic() - began
        self._docker.untag(TAG)
        for reference in ("bench:paced", "bench:new"):
            self._docker.untag(reference)
        return took_s

    def _import(self, package: Path, mb_per_s: float = ENDLESS_MB_PER_S, *, keep: bool = False) -> int:
        """As an update does it, the sync included; the bytes that were read."""
        with PacedFile(package, mb_per_s=mb_per_s) as source:
            opened = read_package(source)
            image = read_target(source, opened, opened.manifest.targets[0])
            import_image(
                self._docker, source, image, tag=TAG.replace("bench", "kept") if keep else TAG,
                work=self._folder / "work", mark="bench-bench", limit_bytes=LIMIT_BYTES, on_progress=lambda _: None,
            )  # fmt: skip
            self._sync()
            return source.read_bytes

    def _stage_then_load(self, pair: Pair) -> None:
        """The other way: all of it to the disk, hashed and synced, then into Docker at once."""
        digest, staged = hashlib.sha256(), self._folder / "staged"
        with PacedFile(pair.image_tar, mb_per_s=STICK_MB_PER_S) as source, staged.open("wb") as file:
            while chunk := source.read(1 << 20):
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        self._load_and_sync(staged)
        staged.unlink()

    def _load_and_sync(self, image_tar: Path) -> None:
        with image_tar.open("rb") as file:
            self._docker.load(iter(lambda: file.read(1 << 20), b""), lambda: None)
        self._sync()

    def _sync(self) -> None:
        sync_filesystem(self._engine.data_root, deadline_s=600, beat=lambda: None)

    @contextmanager
    def _peak(self) -> Iterator[Callable[[], int]]:
        """The most that Docker's data root and the work folder take at once, beyond what they take now."""
        folders = (self._engine.data_root, self._folder / "work")
        done, sizes, before = Event(), [0], sum(map(_size_bytes, folders))

        def watch() -> None:
            while not done.wait(0.05):
                sizes.append(sum(map(_size_bytes, folders)) - before)

        watcher = Thread(target=watch, name="disk")
        watcher.start()
        try:
            yield lambda: max(sizes)
        finally:
            done.set()
            watcher.join()


def _size_bytes(folder: Path) -> int:
    """Blocks in use, each file once; what vanishes meanwhile counts for nothing."""
    seen: dict[tuple[int, int], int] = {}
    device = folder.stat().st_dev if folder.exists() else 0
    for path, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                status = (Path(path) / name).lstat()
                if status.st_dev == device:  # not a container's view of the same files
                    seen[status.st_dev, status.st_ino] = 512 * status.st_blocks
    return sum(seen.values())
