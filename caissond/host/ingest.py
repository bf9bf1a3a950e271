"""Images in: layer by layer, and nothing that was not verified.

What the engine has is not read. Each layer that it lacks is copied and verified, goes into Docker from that copy on
top of the layer before, and the copy is deleted; the next is read meanwhile. What stands between two layers is an image
under the private tag, with a label that tells whose it is, so that no prune takes it and a sweep finds it. After the
last layer the image is there under its own configuration, byte for byte. Nothing is retried after a lost connection.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from caissond.errors import Conflict, DockerError, NotFound, Stopping
from caissond.host.archive import Content, write_archive
from caissond.host.docker import Docker, Inspect
from caissond.host.loads import (
    INGEST_LABEL,
    Load,
    count_known,
    is_containerd_store,
    plan_loads,
    plan_probes,
    plan_whole,
)
from caissond.host.read_ahead import ReadAhead, Staged
from caissond.host.snapshots import drop_left_over
from caissond.model.ids import ImageId, update_of_tag
from caissond.package.image import Image
from caissond.package.staging import writing

RESTARTS = 2
BEAT_S = 0.1


@dataclass(frozen=True, slots=True)
class _Job:
    docker: Docker
    source: BinaryIO
    image: Image
    tag: str
    work: Path
    mark: str
    limit_bytes: int


def import_image(
    docker: Docker,
    source: BinaryIO,
    image: Image,
    *,
    tag: str,
    work: Path,
    mark: str,
    limit_bytes: int,
    on_progress: Callable[[int], None],
) -> ImageId:
    """Bring an image into the engine, verified, under a private tag. It is **not** synced to the disk.

    Args:
        source: the package; read from a thread of its own, and left alone until this returns.
        tag: the only tag that is touched.
        work: a private folder of this update, for one or two layers at a time; made if missing, gone at the end.
        mark: `<claim>-<update id>`, for the label on the images in between.
        limit_bytes: the most that the layers to be loaded may unpack to.
        on_progress: called in this thread with the bytes of the package done since the last call (known layers at
            once, 0 for a sign of life), in all the layers' `size_bytes`; what it raises ends the import.

    Raises:
        Refusal: `image.layer_mismatch`, `image.too_large`, `host.disk_full`, `host.io_error`; of this layer nothing
            went to Docker.
        SourceGone, Truncated: the package cannot be read any more.
        DockerError: `docker.load_failed`, `docker.containerd_unreachable`, or `docker.load_mismatch` when the engine
            said yes and means no.
        HostUnavailable: the connection was lost. What stays in the engine is for `sweep_intermediates`.
    """
    job = _Job(docker, source, image, tag, work, mark, limit_bytes)
    progress = _Progress(sum(layer.size_bytes for layer in image.layers), on_progress)
    for _ in range(RESTARTS):
        with suppress(_Pruned):
            return _import(job, progress)
    try:
        return _import(job, progress)
    except _Pruned as exc:
        raise exc.error from exc


def known_layers(docker: Docker, diff_ids: Sequence[str]) -> int:
    """How many of these layers, from the bottom, the engine has: they are not read. None with containerd's store.

    Raises:
        HostUnavailable: the engine does not answer.
    """
    if is_containerd_store(docker.describe()):
        return 0
    return count_known(diff_ids, image_chains(docker))


def sweep_intermediates(docker: Docker, *, is_running: Callable[[str], bool], claim: str) -> None:
    """Remove the images between two layers that cut-off updates of this claim left, with the layers only they have.

    An image that somebody gave a name or made a container of stays.

    Args:
        is_running: whether the update with this id still needs them.
    """
    for short in docker.list_images(label=INGEST_LABEL):
        owner, _, update_id = str((short.get("Labels") or {}).get(INGEST_LABEL)).partition("-")
        names = set(short.get("RepoTags") or ()) - {"<none>:<none>"}
        if owner != claim or is_running(update_id):
            continue
        if all(update_of_tag(claim, name) == update_id for name in names):
            _remove(docker, short["Id"])


def check_loaded(loaded: Inspect, load: Load, image: Image) -> None:
    """Whether the engine has what was verified. The id is not compared: it is the manifest's digest with the
    containerd store.

    Raises:
        DockerError: `docker.load_mismatch`.
    """
    wanted = list(load.diff_ids), image.os, image.architecture
    found = _layers(loaded), loaded.get("Os"), loaded.get("Architecture")
    if found != wanted:
        raise DockerError(
            f"cannot use the loaded image: Docker has {found}, not {wanted}", code="docker.load_mismatch"
        )


class _Pruned(Exception):
    """A layer that was known, or loaded a moment ago, is gone: somebody pruned."""

    def __init__(self, error: DockerError) -> None:
        super().__init__(str(error))
        self.error = error


class _Progress:
    """Tells no more bytes than there are, though a layer be read again, and not more often than is useful."""

    def __init__(self, total_bytes: int, on_progress: Callable[[int], None]) -> None:
        self._left_bytes = total_bytes
        self._on_progress = on_progress
        self._told_s = 0.0

    def advance(self, more_bytes: int) -> None:
        told_bytes = min(more_bytes, self._left_bytes)
        self._left_bytes -= told_bytes
        self._told_s = time.monotonic()
        self._on_progress(told_bytes)

    def beat(self, reader: ReadAhead) -> None:
        if time.monotonic() - self._told_s >= BEAT_S:
            self.advance(reader.newly_read())


def _import(job: _Job, progress: _Progress) -> ImageId:
    diff_ids = [layer.diff_id for layer in job.image.layers]
    if is_containerd_store(job.docker.describe()):
        drop_left_over(job.docker, diff_ids, image_chains(job.docker))
        return _load_all(job, (plan_whole(job.image),), progress)
    known = count_known(diff_ids, image_chains(job.docker))
    _drop_orphans(job, known)
    progress.advance(sum(layer.size_bytes for layer in job.image.layers[:known]))
    return _load_all(job, plan_loads(job.image, known, job.mark), progress)


def _drop_orphans(job: _Job, known: int) -> None:
    """Have Docker delete the layers above the known ones that are registered and of no image: dockerd or the power was
    gone in the middle of a load. Docker would take them for the package's own, and they may be empty (docs/ingest.md).
    Layers go with the last image that has them, so they are given one. It is looked for in the list: a layer whose own
    records a power cut has emptied cannot be inspected.
    """
    adopted = []
    for probe in plan_probes(job.image, known, job.mark):
        with suppress(DockerError):  # refused where they end; what came of it is looked at
            job.docker.load(write_archive(probe, (), job.tag), lambda: None)
        if _tagged(job.docker, job.tag) != f"sha256:{probe.config_hex}":
            break
        adopted.append(f"sha256:{probe.config_hex}")
    for image in adopted:
        _remove(job.docker, image)


def _tagged(docker: Docker, tag: str) -> str | None:
    listed = docker.list_images()
    return next((str(short["Id"]) for short in listed if tag in (short.get("RepoTags") or ())), None)


def _load_all(job: _Job, loads: Sequence[Load], progress: _Progress) -> ImageId:
    """One archive after the other; the image in between is removed as soon as the next one holds its layers."""
    before: str | None = None
    missing = job.image.layers[loads[0].first :]
    with (
        _private_folder(job.work),
        ReadAhead(job.source, missing, job.work, limit_bytes=job.limit_bytes) as reader,
    ):
        for load in loads:
            loaded = _load(job, load, reader, progress)
            if before is not None and before != loaded:
                _remove(job.docker, before)
            before = loaded
    assert before is not None  # a plan has one load at least
    return ImageId(before)


def _load(job: _Job, load: Load, reader: ReadAhead, progress: _Progress) -> str:
    ending = _Ending(lambda: progress.beat(reader))
    archive = write_archive(load, _contents(load, reader, progress), job.tag)
    try:
        job.docker.load(_beating(archive, lambda: progress.beat(reader)), ending.beat)
        ending.check()
        loaded = job.docker.inspect_image(job.tag)
    except DockerError as exc:
        needed = load.stop if isinstance(exc, NotFound) else load.first
        if known_layers(job.docker, load.diff_ids[:needed]) < needed:
            raise _Pruned(exc) from exc
        raise
    check_loaded(loaded, load, job.image)
    return str(loaded["Id"])


def _contents(load: Load, reader: ReadAhead, progress: _Progress) -> Iterator[Content]:
    """The first layer is waited for before Docker hears anything; the others while it does."""
    staged = [reader.take(progress.advance)] if load.first < load.stop else []

    def rest() -> Iterator[Staged]:
        yield from staged
        for _ in range(load.first + 1, load.stop):
            yield reader.take(progress.advance)

    return (Content(layer.unpacked_bytes, layer.unpack()) for layer in rest())


def _beating(archive: Iterator[bytes], beat: Callable[[], None]) -> Iterator[bytes]:
    for chunk in archive:
        yield chunk
        beat()


class _Ending:
    """Signs of life while Docker has the whole archive: it registers it whatever we do, so who asks us to stop is
    heard when it is done, and what it made is known.
    """

    def __init__(self, beat: Callable[[], None]) -> None:
        self._beat = beat
        self._stopping: Stopping | None = None

    def beat(self) -> None:
        if self._stopping is None:
            try:
                self._beat()
            except Stopping as exc:
                self._stopping = exc

    def check(self) -> None:
        if self._stopping is not None:
            raise self._stopping


def image_chains(docker: Docker) -> Iterator[Sequence[str]]:
    """The diff IDs of every image, from the bottom; one that goes away meanwhile, or is broken, counts for nothing."""
    for short in docker.list_images():
        with suppress(DockerError):
            yield _layers(docker.inspect_image(short["Id"]))


def _layers(image: Inspect) -> Sequence[str]:
    return (image.get("RootFS") or {}).get("Layers") or []


def _remove(docker: Docker, image: str) -> None:
    with suppress(NotFound, Conflict):
        docker.remove_image(image)


@contextmanager
def _private_folder(path: Path) -> Iterator[None]:
    with writing(path):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        yield
    finally:
        shutil.rmtree(path, ignore_errors=True)
