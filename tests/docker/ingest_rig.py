"""Images on their way into a real engine, with a source that knows what was read of it."""

import errno
import gzip
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import docker

import fixtures.layers
from caissond.host.docker import Docker
from caissond.host.ingest import import_image, sweep_intermediates
from caissond.model.ids import ImageId, UpdateId, ingest_tag, new_update_id
from caissond.package.compression import Compression, zstd
from caissond.package.image import Image, read_image
from caissond.package.layers import Layer
from caissond.package.source import Window, read_exact
from caissond.package.validate import whole_window
from fixtures.images import CREATED, host_architecture
from fixtures.layers import busybox_layer, noise_layer
from fixtures.shapes import Parts, Shape, write_image_tar
from tests.docker.inventory import Inventory, take_inventory
from tests.docker.rig import told_by_run

CLAIM = "0123abcd"
LIMIT_BYTES = 1 << 30


def ignore(_more_bytes: int) -> None:
    """Nobody watches."""


class Watched(io.FileIO):
    """A package on a stick; counts what is read and can be told what must not be."""

    def __init__(self, path: Path, forbidden: Sequence[Window] = (), pulled_at: int = 1 << 62) -> None:
        super().__init__(path)
        self.bytes_read = 0
        self._forbidden = forbidden
        self._pulled_at = pulled_at

    def read(self, size: int | None = -1, /) -> bytes:
        begin = self.tell()
        if begin >= self._pulled_at:
            raise OSError(errno.EIO, "pulled out")
        content = super().read(size)
        end = begin + len(content)
        assert not any(begin < window.end and window.offset < end for window in self._forbidden)
        self.bytes_read += len(content)
        return content


class Interrupted(Docker):
    """An adapter that lets a test come in between: to kill the engine, or to end as if the process were killed."""

    before_remove: Callable[[], None] = staticmethod(lambda: None)
    on_sent: Callable[[int], None] = staticmethod(ignore)
    """Told how many bytes of all archives the engine has had so far."""
    _sent_bytes = 0

    def remove_image(self, image: str) -> None:
        self.before_remove()
        super().remove_image(image)

    def load(self, archive: Iterable[bytes], on_progress: Callable[[], None]) -> None:
        super().load(self._watch(archive), on_progress)

    def _watch(self, archive: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in archive:
            yield chunk
            self._sent_bytes += len(chunk)
            self.on_sent(self._sent_bytes)


@dataclass
class IngestRig:
    """One update's imports into one engine, and what there was before."""

    client: docker.DockerClient
    docker: Interrupted
    folder: Path
    before: Inventory
    update_id: UpdateId = field(default_factory=new_update_id)
    on_progress: Callable[[int], None] = ignore

    @property
    def tag(self) -> str:
        return ingest_tag(CLAIM, self.update_id, "web")

    @property
    def work(self) -> Path:
        return self.folder / "work"

    def write(self, *fillers: str, mb: int = 5, shape: Shape = Shape.DOCKER20) -> Path:
        """An image of the busybox and one layer of noise for each filler; the same word makes the same layer."""
        path = self.folder / f"{'-'.join(fillers)}-{shape}.tar"
        layers = [busybox_layer(self.folder / "busybox.tar")]
        layers += [noise_layer(self.folder / f"{word}.tar", mb, seed=word) for word in fillers]
        write_image_tar(path, shape, Parts("harness/ingest:1", _config(layers), tuple(layers)))
        return path

    def write_packed(self, how: Compression, *fillers: str) -> tuple[Path, Image]:
        """The same image as a package of format 2 holds it: packed blobs with digests of their own."""
        image = read_archive(unpacked := self.write(*fillers))
        path = self.folder / f"{how}.blobs"
        layers = []
        with unpacked.open("rb") as source, path.open("wb") as blobs:
            for layer in image.layers:
                stored = pack(read_exact(source, layer.offset, layer.size_bytes), how)
                digest = f"sha256:{hashlib.sha256(stored).hexdigest()}"
                layers.append(Layer(layer.diff_id, blobs.tell(), len(stored), how, digest))
                blobs.write(stored)
        return path, replace(image, layers=tuple(layers))

    def load(
        self,
        path: Path,
        image: Image | None = None,
        *,
        forbidden: Sequence[Window] = (),
        pulled_at: int = 1 << 62,
    ) -> "Loaded":
        """What `import_image` makes of an image, of the docker-save archive's where none is given."""
        image = image or read_archive(path)
        with Watched(path, forbidden, pulled_at) as source:
            loaded = import_image(
                self.docker,
                source,
                image,
                tag=self.tag,
                work=self.work,
                mark=f"{CLAIM}-{self.update_id}",
                limit_bytes=LIMIT_BYTES,
                on_progress=self.on_progress,
            )
            return Loaded(loaded, image, source.bytes_read)

    def undo(self) -> None:
        """What the undo of load-image does."""
        self.docker.untag(self.tag)
        sweep_intermediates(self.docker, is_running=lambda _: False, claim=CLAIM)

    def images(self) -> list[str]:
        """What is on the engine that was not before."""
        return take_inventory(self.client).since(self.before)

    def run(self, command: str) -> bytes:
        """What a container of the loaded image prints."""
        return told_by_run(self.client, self.tag, command, network_mode="none")


@dataclass(frozen=True, slots=True)
class Loaded:
    image_id: ImageId
    image: Image
    bytes_read: int


def read_archive(path: Path) -> Image:
    with path.open("rb") as source:
        return read_image(source, whole_window(source))


@contextmanager
def ingest_rig(host: str, folder: Path) -> Iterator[IngestRig]:
    """A rig on the engine at this address; what it brought is gone at the end."""
    adapter = Interrupted(timeout_s=30, load_stall_s=60, environment={"DOCKER_HOST": host})
    with closing(docker.DockerClient(base_url=host)) as client, closing(adapter):
        rig = IngestRig(client, adapter, folder, take_inventory(client))
        yield rig
        rig.undo()


def pack(content: bytes, how: Compression) -> bytes:
    match how:
        case Compression.NONE:
            return content
        case Compression.GZIP:
            return gzip.compress(content, 1)
        case Compression.ZSTD:
            return zstd.compress(content)


def _config(layers: Sequence[fixtures.layers.Layer]) -> bytes:
    config = {
        "architecture": host_architecture(),
        "os": "linux",
        "created": CREATED,
        "config": {"Cmd": ["true"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
    }
    return json.dumps(config).encode()
