"""Images go in layer by layer, what is known is not read, and what goes wrong leaves what can be swept."""

import hashlib
import io
import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from caissond.errors import CaissonError, DockerError, HostUnavailable, Refusal, Stopping
from caissond.host.docker import Inspect, problem_in
from caissond.host.ingest import BEAT_S, check_loaded, import_image, known_layers, sweep_intermediates
from caissond.host.loads import INGEST_LABEL, Load
from caissond.model.ids import ImageId
from caissond.package.compression import Compression
from caissond.package.image import Image
from caissond.package.layers import Layer
from tests.flow.fake_docker import FakeDocker

CLAIM = "0123abcd"
MARK = f"{CLAIM}-u"
TAG = f"caisson.invalid/ingest:{MARK}"
MIB = 1 << 20
BOTTOM, MIDDLE, TOP = b"b" * 5 * MIB, b"m" * 5 * MIB, b"t" * 5 * MIB


def ignore(_more_bytes: int) -> None:
    """Nobody watches."""


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Package(io.BytesIO):
    """Some layers, and the image they make."""

    def __init__(self, *contents: bytes, said: bytes | None = None) -> None:
        super().__init__(b"".join(contents))
        said_contents = contents if said is None else (*contents[:-1], said)
        offsets = [sum(len(below) for below in contents[:number]) for number in range(len(contents))]
        layers = tuple(
            Layer(digest(said), offset, len(content), Compression.NONE)
            for said, offset, content in zip(said_contents, offsets, contents, strict=True)
        )
        document = {
            "os": "linux",
            "architecture": "arm64",
            "rootfs": {"diff_ids": [one.diff_id for one in layers]},
        }
        config = json.dumps(document).encode()
        self.image = Image(digest(config), config, "linux", "arm64", "v8", False, layers)
        self.read_at: set[int] = set()

    def read(self, size: int | None = -1, /) -> bytes:
        self.read_at.add(self.tell())
        return super().read(size)


@pytest.fixture
def engine() -> FakeDocker:
    return FakeDocker()


@pytest.fixture
def load(engine: FakeDocker, tmp_path: Path) -> Iterator[Callable[..., ImageId]]:
    """`import_image` of a package; its work folder is gone at the end, whatever happened."""

    def load(
        package: Package, on_progress: Callable[[int], None] = ignore, limit_bytes: int = 64 * MIB
    ) -> ImageId:
        return import_image(
            engine, package, package.image, tag=TAG, work=tmp_path / "work", mark=MARK,
            limit_bytes=limit_bytes, on_progress=on_progress,
        )  # fmt: skip

    yield load
    assert list(tmp_path.iterdir()) == []


Loading = Callable[..., ImageId]


def sweep(engine: FakeDocker) -> None:
    sweep_intermediates(engine, is_running=lambda _: False, claim=CLAIM)


def undo(engine: FakeDocker) -> None:
    """What the undo of load-image does."""
    engine.untag(TAG)
    sweep(engine)


def test_image_arrives_under_its_own_configuration_and_nothing_else_stays(
    engine: FakeDocker, load: Loading
) -> None:
    package = Package(BOTTOM, MIDDLE, TOP)
    assert load(package) == package.image.config_digest
    assert engine.tagged == {TAG: package.image.config_digest}
    assert list(engine.images) == [package.image.config_digest]


def test_each_large_layer_is_a_load_of_its_own(engine: FakeDocker, load: Loading) -> None:
    load(Package(BOTTOM, MIDDLE, TOP))
    assert engine.calls.count("load") == 1 + 3  # one looks for layers that are of no image


@pytest.mark.parametrize("orphans", [1, 2, 3])
def test_layers_of_no_image_are_not_built_upon(engine: FakeDocker, load: Loading, orphans: int) -> None:
    """dockerd was killed in a load, and the power cut has emptied what it had registered."""
    diff_ids = tuple(layer.diff_id for layer in Package(BOTTOM, MIDDLE, TOP).image.layers)
    engine.orphans = {diff_ids[: number + 1] for number in range(orphans)}
    engine.unsynced = set(engine.orphans)
    engine.lose_unsynced()
    package = Package(BOTTOM, MIDDLE, TOP)
    assert load(package) == package.image.config_digest
    assert engine.hollow_images() == set()
    assert list(engine.images) == [package.image.config_digest]


@pytest.mark.parametrize("damaged", [1, 2, 3])
def test_layer_of_no_image_that_cannot_be_inspected_is_not_built_upon(
    engine: FakeDocker, load: Loading, damaged: int
) -> None:
    """The power cut has emptied the records that overlay2 keeps of it."""
    package = Package(BOTTOM, MIDDLE, TOP)
    diff_ids = tuple(layer.diff_id for layer in package.image.layers)
    engine.orphans = {diff_ids[:number] for number in (1, 2, 3)}
    engine.damaged = {diff_ids[:damaged]}
    assert load(package) == package.image.config_digest
    assert engine.damaged == set()
    assert list(engine.images) == [package.image.config_digest]


def test_what_is_known_is_not_read(load: Loading) -> None:
    load(Package(BOTTOM, MIDDLE))
    package = Package(BOTTOM, MIDDLE, TOP)
    load(package)
    assert min(package.read_at) == len(BOTTOM + MIDDLE)


def test_image_that_is_there_is_not_read_at_all(engine: FakeDocker, load: Loading) -> None:
    load(Package(BOTTOM, MIDDLE))
    again = Package(BOTTOM, MIDDLE)
    load(again)
    assert (again.read_at, engine.calls.count("load")) == (set(), 1 + 3)


def test_layer_that_occurs_twice_is_loaded_twice(engine: FakeDocker, load: Loading) -> None:
    package = Package(BOTTOM, TOP, BOTTOM)
    loaded = engine.images[load(package)]
    assert loaded["RootFS"]["Layers"] == [digest(BOTTOM), digest(TOP), digest(BOTTOM)]


@pytest.mark.parametrize("known", [0, 1, 2])
def test_progress_adds_up_to_the_whole_image(load: Loading, known: int) -> None:
    if known:
        load(Package(*(BOTTOM, MIDDLE)[:known]))
    told: list[int] = []
    load(Package(BOTTOM, MIDDLE), told.append)
    assert sum(told) == len(BOTTOM + MIDDLE)


def test_bad_layer_is_refused_and_what_lies_below_goes_again(engine: FakeDocker, load: Loading) -> None:
    package = Package(BOTTOM, MIDDLE, TOP, said=b"something else")
    with pytest.raises(Refusal) as caught:
        load(package)
    assert caught.value.code == "image.layer_mismatch"
    undo(engine)
    assert (engine.images, engine.tagged) == ({}, {})


def test_layers_may_not_unpack_to_more_than_the_limit(load: Loading) -> None:
    with pytest.raises(Refusal) as caught:
        load(Package(BOTTOM, TOP), limit_bytes=10 * MIB - 1)
    assert caught.value.code == "image.too_large"
    load(Package(BOTTOM))
    load(Package(BOTTOM, TOP), limit_bytes=5 * MIB)


def test_layer_that_is_pruned_meanwhile_is_read_after_all(engine: FakeDocker, load: Loading) -> None:
    load(Package(BOTTOM, MIDDLE))
    pruned: list[int] = []

    def prune(number: int, what: str) -> None:
        if what == "load" and not pruned:
            pruned.append(number)
            engine.images.clear()
            engine.tagged.clear()

    engine.before = prune
    package = Package(BOTTOM, MIDDLE, TOP)
    told: list[int] = []
    assert load(package, told.append) == package.image.config_digest
    assert min(package.read_at) == 0
    assert sum(told) == len(package.getvalue())


def test_image_pruned_before_it_is_looked_at_is_loaded_again(engine: FakeDocker, load: Loading) -> None:
    pruned: list[int] = []

    def prune(number: int, what: str) -> None:
        if what == f"inspect-image {TAG}" and not pruned:
            pruned.append(number)
            engine.images.clear()
            engine.tagged.clear()

    engine.before = prune
    assert load(Package(BOTTOM)) in engine.images


def test_somebody_who_prunes_for_ever_is_given_up_on(engine: FakeDocker, load: Loading) -> None:
    load(Package(BOTTOM))

    def prune(_number: int, what: str) -> None:
        if what == "load":
            engine.images.clear()

    engine.before = prune
    loads = engine.calls.count("load")
    with pytest.raises(DockerError) as caught:
        load(Package(BOTTOM, TOP, MIDDLE))
    assert (caught.value.code, engine.calls.count("load") - loads) == ("docker.load_failed", 3 + 5)


def test_load_that_fails_for_another_reason_is_not_tried_again(engine: FakeDocker, load: Loading) -> None:
    def fail(_number: int, what: str) -> None:
        if what == "load":
            raise DockerError("cannot load an image: no space left on device", code="docker.load_failed")

    engine.before = fail
    with pytest.raises(DockerError, match="no space left"):
        load(Package(BOTTOM))
    assert engine.calls.count("load") == 1 + 1


def test_lost_connection_is_left_to_the_recovery(engine: FakeDocker, load: Loading) -> None:
    def lose(_number: int, what: str) -> None:
        if what == "load":
            raise HostUnavailable("cannot load an image", code="docker.unavailable")

    engine.before = lose
    with pytest.raises(HostUnavailable):
        load(Package(BOTTOM))
    assert engine.calls.count("load") == 1


@pytest.mark.parametrize("beat", range(1, 5))
def test_stop_at_any_sign_of_life_leaves_nothing_that_the_undo_does_not_remove(
    engine: FakeDocker, load: Loading, beat: int
) -> None:
    beats = iter(range(1, 1000))

    def on_progress(_more_bytes: int) -> None:
        if next(beats) >= beat:
            raise Stopping("cannot go on", code="update.interrupted")

    with pytest.raises(Stopping):
        load(Package(BOTTOM, MIDDLE, TOP), on_progress)
    undo(engine)
    assert (engine.images, engine.tagged) == ({}, {})


class Registering(FakeDocker):
    """Takes its time once it has the whole archive."""

    is_registering = False

    def load(self, archive: Iterable[bytes], on_progress: Callable[[], None]) -> None:
        whole = list(archive)
        self.is_registering = sum(map(len, whole)) >= MIB  # else it holds no layer
        for _ in range(3 * self.is_registering):
            time.sleep(BEAT_S)
            on_progress()
        super().load(whole, lambda: None)


def test_stop_while_docker_registers_a_layer_is_heard_when_it_is_done(tmp_path: Path) -> None:
    """It would go on all the same, and its image come when nobody looks any more."""
    engine, package = Registering(), Package(BOTTOM, MIDDLE)

    def on_progress(_more_bytes: int) -> None:
        if engine.is_registering:
            raise Stopping("cannot go on", code="update.interrupted")

    with pytest.raises(Stopping):
        import_image(
            engine, package, package.image, tag=TAG, work=tmp_path, mark=MARK, limit_bytes=64 * MIB,
            on_progress=on_progress,
        )  # fmt: skip
    assert (list(engine.tagged), engine.calls.count("load")) == ([TAG], 1 + 1)
    undo(engine)
    assert engine.images == {}


class ContainerdStore(FakeDocker):
    def describe(self) -> Inspect:
        return {"DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}


def test_containerd_store_gets_the_whole_image_at_once(tmp_path: Path) -> None:
    engine, package = ContainerdStore(), Package(BOTTOM, MIDDLE)
    for _ in range(2):
        import_image(
            engine, package, package.image, tag=TAG, work=tmp_path, mark=MARK, limit_bytes=64 * MIB,
            on_progress=ignore,
        )  # fmt: skip
    assert engine.calls.count("load") == 2
    assert known_layers(engine, [digest(BOTTOM)]) == 0


def test_known_layers_are_those_of_the_image_that_has_most(engine: FakeDocker, load: Loading) -> None:
    load(Package(BOTTOM, MIDDLE))
    assert known_layers(engine, [digest(content) for content in (BOTTOM, MIDDLE, TOP)]) == 2


def test_image_that_cannot_be_inspected_counts_for_nothing(engine: FakeDocker, load: Loading) -> None:
    load(Package(BOTTOM))

    def fail(_number: int, what: str) -> None:
        if what.startswith("inspect-image"):
            raise DockerError("cannot inspect it: layer does not exist", code="docker.error")

    engine.before = fail
    assert known_layers(engine, [digest(BOTTOM)]) == 0


def add_image(engine: FakeDocker, name: str, mark: str | None, *tags: str) -> None:
    labels = {} if mark is None else {INGEST_LABEL: mark}
    engine.images[name] = {"Id": name, "Config": {"Labels": labels}, "RootFS": {"Layers": []}}
    engine.tagged.update(dict.fromkeys(tags, name))


def test_sweep_removes_what_dead_updates_left_and_nothing_else(engine: FakeDocker) -> None:
    add_image(engine, "untagged", f"{CLAIM}-dead")
    add_image(engine, "under its tag", f"{CLAIM}-dead", f"caisson.invalid/ingest:{CLAIM}-dead")
    add_image(engine, "of a running update", f"{CLAIM}-alive")
    add_image(engine, "of another state folder", "89abcdef-dead")
    add_image(engine, "with a name", f"{CLAIM}-dead", "users:1")
    add_image(engine, "with no label", None)
    add_image(engine, "with nonsense", "nonsense")
    sweep_intermediates(engine, is_running=lambda update_id: update_id == "alive", claim=CLAIM)
    assert list(engine.images) == [
        "of a running update",
        "of another state folder",
        "with a name",
        "with no label",
        "with nonsense",
    ]


def test_sweep_leaves_an_image_that_somebody_made_a_container_of(engine: FakeDocker) -> None:
    add_image(engine, "used", f"{CLAIM}-dead")
    engine.run("theirs", "used", policy="no")
    sweep(engine)
    assert list(engine.images) == ["used"]


GOOD = Image("sha256:c", b"{}", "linux", "arm64", "v8", False, (Layer("sha256:1", 0, 1, Compression.NONE),))
LOAD = Load(b"{}", ("sha256:1",), 0, is_last=True)
LOADED: Inspect = {
    "Id": "sha256:m",
    "RootFS": {"Layers": ["sha256:1"]},
    "Os": "linux",
    "Architecture": "arm64",
}


def test_id_of_another_kind_is_no_mismatch() -> None:
    check_loaded(LOADED, LOAD, GOOD)


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
        check_loaded({**LOADED, **other}, LOAD, GOOD)
    assert failed.value.code == "docker.load_mismatch"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ({"stream": "Loaded image: caisson.invalid/ingest:u\n"}, ""),
        ({"status": "Loading layer", "progressDetail": {"current": 1}}, ""),
        ({"errorDetail": {"message": "no space left"}, "error": "no space left"}, "no space left"),
        ({"errorDetail": {"message": "bad"}}, "{'message': 'bad'}"),
        (
            {"stream": "Loaded image: a:1\nError unpacking image a:1: apply\n"},
            "Error unpacking image a:1: apply",
        ),
        ({"stream": "failed: wrong diff id calculated"}, "failed: wrong diff id calculated"),
    ],
)
def test_load_that_answers_yes_and_means_no_is_seen_through(line: Inspect, problem: str) -> None:
    assert problem_in(line) == problem


class Liar(FakeDocker):
    """Says yes, and has loaded nothing."""

    def load(self, archive: object, on_progress: Callable[[], None]) -> None:  # noqa: ARG002
        self.calls.append("load")
        on_progress()


def test_load_that_says_yes_and_has_nothing_is_not_believed(tmp_path: Path) -> None:
    package = Package(BOTTOM)
    with pytest.raises(CaissonError) as failed:
        import_image(
            Liar(), package, package.image, tag=TAG, work=tmp_path, mark=MARK, limit_bytes=64 * MIB,
            on_progress=ignore,
        )  # fmt: skip
    assert failed.value.code == "docker.not_found"
