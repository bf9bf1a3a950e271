"""Docker gets an archive of our own making, with the verified image in it and not one name from the package."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caissond.errors import CaissonError, DockerError, NotFound
from caissond.host.docker import Docker, Inspect
from caissond.host.ingest import CHUNK_BYTES, check_loaded, import_image
from caissond.model.ids import ImageId
from caissond.package.image import Compression, Image, Layer

TAG = "caisson.invalid/ingest:0123abcd-u"


def ignore(_more_bytes: int) -> None:
    """Nobody watches."""


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Engine(Docker):
    """Loads an archive as moby does: what manifest.json names, by diff ID."""

    def __init__(self) -> None:
        self.images: dict[str, Inspect] = {}
        self.members: list[str] = []
        self.content: dict[str, bytes] = {}

    def load(self, archive: Iterable[bytes], on_progress: Callable[[], None]) -> None:
        whole = io.BytesIO(b"".join(archive))
        assert whole.getbuffer().nbytes % 512 == 0
        with tarfile.open(fileobj=whole, mode="r:") as tar:
            for member in tar:
                file = tar.extractfile(member)
                assert file is not None
                self.members.append(member.name)
                self.content[member.name] = file.read()
        assert whole.getvalue().endswith(bytes(1024))
        on_progress()
        (entry,) = json.loads(self.content["manifest.json"])
        layers = [digest(self.content[name]) for name in entry["Layers"]]
        loaded = {"RootFS": {"Layers": layers}, "Os": "linux", "Architecture": "amd64"}
        for tag in entry["RepoTags"]:
            self.images[tag] = {"Id": digest(self.content[entry["Config"]]), **loaded}

    def inspect_image(self, image: str) -> Inspect:
        if image not in self.images:
            raise NotFound("cannot find it", code="docker.not_found")
        return self.images[image]


def write(path: Path, *layers: bytes) -> Image:
    """A file with these layers somewhere in it, and the image that was verified from it."""
    config = json.dumps({"rootfs": {"diff_ids": [digest(layer) for layer in layers]}}).encode()
    with path.open("wb") as file:
        known = []
        for layer in layers:
            file.write(b"what stands between them")
            known.append(Layer(digest(layer), file.tell(), len(layer), Compression.NONE))
            file.write(layer)
    return Image(digest(config), config, "linux", "amd64", "", False, tuple(known))


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The private copy."""
    return tmp_path / "copy"


def load(engine: Docker, package: Path, image: Image, on_progress: Callable[[int], None] = ignore) -> ImageId:
    with package.open("rb") as source:
        return import_image(engine, source, image, tag=TAG, on_progress=on_progress)


LAYERS = (b"lower" * 200, b"", b"upper", b"x" * 512)


def test_loaded_image_is_what_was_verified(package: Path) -> None:
    engine, image = Engine(), write(package, *LAYERS)
    assert load(engine, package, image) == image.config_digest
    assert engine.images[TAG]["RootFS"]["Layers"] == [digest(layer) for layer in LAYERS]


def test_archive_names_exactly_one_image_and_one_tag(package: Path) -> None:
    engine = Engine()
    load(engine, package, write(package, *LAYERS))
    (entry,) = json.loads(engine.content["manifest.json"])
    assert entry["RepoTags"] == [TAG]
    assert entry.keys() == {"Config", "RepoTags", "Layers"}


def test_names_in_the_archive_are_made_from_digests_alone(package: Path) -> None:
    engine, image = Engine(), write(package, *LAYERS)
    load(engine, package, image)
    hexes = [hashlib.sha256(layer).hexdigest() for layer in LAYERS]
    assert engine.members == [
        f"{image.config_digest[7:]}.json",
        *(f"{number:03}-{name}.tar" for number, name in enumerate(hexes)),
        "manifest.json",
    ]
    assert engine.content[engine.members[0]] == image.config


def test_layer_that_occurs_twice_stands_twice(package: Path) -> None:
    engine = Engine()
    load(engine, package, write(package, b"same", b"other", b"same"))
    assert engine.images[TAG]["RootFS"]["Layers"] == [digest(b"same"), digest(b"other"), digest(b"same")]


def test_large_layer_is_handed_over_in_pieces_and_every_byte_is_counted(package: Path) -> None:
    told: list[int] = []
    layers = (b"l" * (2 * CHUNK_BYTES + 1), b"u" * 10)
    load(Engine(), package, write(package, *layers), told.append)
    assert told == [CHUNK_BYTES, CHUNK_BYTES, 1, 10, 0]


@given(st.lists(st.binary(max_size=2000), max_size=5))
def test_any_layers_come_out_as_they_went_in(
    tmp_path_factory: pytest.TempPathFactory, layers: list[bytes]
) -> None:
    package = tmp_path_factory.mktemp("ingest") / "copy"
    engine = Engine()
    load(engine, package, write(package, *layers))
    assert [engine.content[name] for name in engine.members[1:-1]] == layers


def test_source_is_read_where_the_layers_are_whatever_its_position(package: Path) -> None:
    engine, image = Engine(), write(package, *LAYERS)
    with package.open("rb") as source:
        source.seek(17)
        import_image(engine, source, image, tag=TAG, on_progress=ignore)
        assert source.tell() == 17


def test_copy_that_became_shorter_ends_the_load(package: Path) -> None:
    image = write(package, *LAYERS)
    package.write_bytes(package.read_bytes()[:-1])
    with pytest.raises(CaissonError, match="cannot read the private copy: it became shorter") as failed:
        load(Engine(), package, image)
    assert failed.value.code == "host.io_error"


class Broken(io.BytesIO):
    """A file whose descriptor cannot be read."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor


def test_disk_that_cannot_be_read_ends_the_load(package: Path) -> None:
    image = write(package, *LAYERS)
    with package.open("ab") as unreadable:
        source: BinaryIO = Broken(unreadable.fileno())
        with pytest.raises(CaissonError, match="cannot read the private copy") as failed:
            import_image(Engine(), source, image, tag=TAG, on_progress=ignore)
    assert failed.value.code == "host.io_error"


class Liar(Engine):
    """Says yes, and has loaded nothing."""

    def load(self, archive: Iterable[bytes], on_progress: Callable[[], None]) -> None:
        for _ in archive:
            on_progress()


def test_load_that_says_yes_and_means_no_is_not_believed(package: Path) -> None:
    with pytest.raises(DockerError) as failed:
        load(Liar(), package, write(package, *LAYERS))
    assert failed.value.code == "docker.not_found"


def test_load_of_something_else_is_not_believed(package: Path) -> None:
    engine, image = Liar(), write(package, *LAYERS)
    engine.images[TAG] = {**LOADED, "Id": image.config_digest}
    with pytest.raises(DockerError) as failed:
        load(engine, package, image)
    assert failed.value.code == "docker.load_mismatch"


GOOD = Image("sha256:c", b"{}", "linux", "arm64", "v8", False, (Layer("sha256:1", 0, 1, Compression.NONE),))
LOADED: Inspect = {
    "Id": "sha256:m",
    "RootFS": {"Layers": ["sha256:1"]},
    "Os": "linux",
    "Architecture": "arm64",
}


def test_id_of_another_kind_is_no_mismatch() -> None:
    check_loaded(LOADED, GOOD)


@pytest.mark.parametrize(
    "other",
    [
        {"RootFS": {"Layers": ["sha256:2"]}},
        {"RootFS": {"Layers": ["sha256:1", "sha256:1"]}},
        {"RootFS": {"Layers": None}},
        {"RootFS": None},
        {"Os": "windows"},
        {"Architecture": "amd64"},
    ],
    ids=["layer", "surplus layer", "no layers", "no file system", "system", "architecture"],
)
def test_loaded_image_that_is_not_what_was_verified_is_refused(other: Inspect) -> None:
    with pytest.raises(DockerError, match="cannot use the loaded image") as failed:
        check_loaded({**LOADED, **other}, GOOD)
    assert failed.value.code == "docker.load_mismatch"
