"""Layer by layer into real engines: Docker of Debian 12 and of Debian 13, and the whole load of containerd's store."""

import io
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from caissond.errors import CaissonError, DockerError, HostUnavailable, SourceGone, Stopping
from caissond.host.ingest import known_layers, sweep_intermediates
from caissond.host.program import run_program
from caissond.host.snapshots import chain_ids, find_containerd
from caissond.package.compression import Compression
from fixtures.dockerd import containerd_socket
from fixtures.engine import Engine, PrivateEngine, Version, private_engine
from fixtures.shapes import Shape
from tests.docker.ingest_rig import CLAIM, IngestRig, ignore, ingest_rig, read_archive
from tests.docker.killed_at import RENAMES, killed_at
from tests.docker.test_compose_sandbox import confined

CONTAINERD_STORE = {"features": {"containerd-snapshotter": True}}
SNAPSHOTS = "containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/*/fs/filler"


@pytest.fixture(params=["installed", "26"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[IngestRig]:
    engine: Engine = request.getfixturevalue("engine" if request.param == "installed" else "docker26")
    with ingest_rig(engine.host, tmp_path) as rig:
        yield rig
    assert not rig.work.exists()
    assert rig.images() == []


@pytest.fixture(scope="module")
def containerd_store() -> Iterator[PrivateEngine]:
    if os.geteuid() != 0:
        pytest.skip("only root can start a Docker engine")
    with private_engine("d26c", version=Version.DOCKER26, settings=CONTAINERD_STORE) as engine:
        yield engine


@pytest.fixture
def whole_rig(containerd_store: PrivateEngine, tmp_path: Path) -> Iterator[IngestRig]:
    with ingest_rig(containerd_store.host, tmp_path) as rig:
        yield rig
    assert not rig.work.exists()
    assert rig.images() == []


def at_megabyte(megabyte: int, then: Callable[[], None]) -> Callable[[int], None]:
    """Does something once, when so much of the package is done."""
    done = 0

    def on_progress(more_bytes: int) -> None:
        nonlocal done
        was, done = done, done + more_bytes
        if was < megabyte << 20 <= done:
            then()

    return on_progress


def once_half_loaded(rig: IngestRig, then: Callable[[], None]) -> Callable[[int], None]:
    """Does something once, when the first image in between stands in the engine."""
    is_done = False

    def on_progress(_more_bytes: int) -> None:
        nonlocal is_done
        if not is_done and rig.client.api.images(name=rig.tag):
            is_done = True
            then()

    return on_progress


def stop() -> None:
    raise Stopping("cannot go on", code="update.interrupted")


def damage(path: Path, layer: int) -> None:
    """One bit of a layer, without any header of its tar."""
    offset = read_archive(path).layers[layer].offset + 4096
    with path.open("r+b") as file:
        file.seek(offset)
        changed = file.read(1)[0] ^ 1
        file.seek(offset)
        file.write(bytes([changed]))


@pytest.mark.parametrize("shape", Shape)
def test_image_is_the_one_that_docker_load_would_make(rig: IngestRig, shape: Shape) -> None:
    loaded = rig.load(rig.write("a", "b", "a", shape=shape))
    assert loaded.image_id == loaded.image.config_digest
    assert rig.run("ls /filler") == b"/filler\n"
    assert rig.images() == [f"image {loaded.image_id} ['{rig.tag}']"]


@pytest.mark.parametrize("how", Compression)
def test_packed_layers_make_the_same_image_whatever_docker_itself_can_unpack(
    rig: IngestRig, how: Compression
) -> None:
    path, image = rig.write_packed(how, "a", "b")
    loaded = rig.load(path, image)
    assert loaded.image_id == image.config_digest
    assert loaded.bytes_read == path.stat().st_size
    assert rig.run("ls /filler") == b"/filler\n"


def test_of_many_layers_only_the_new_one_is_read(rig: IngestRig) -> None:
    before = rig.load(rig.write("a", "b"))
    path = rig.write("a", "b", "new")
    *known, new = read_archive(path).layers
    loaded = rig.load(path, forbidden=[layer.window for layer in known])
    assert loaded.bytes_read == new.size_bytes
    rig.docker.remove_image(before.image_id)


def test_image_whose_layers_are_all_there_is_not_read(rig: IngestRig) -> None:
    path = rig.write("a", "b")
    image_id = rig.load(path).image_id
    assert known_layers(rig.docker, [layer.diff_id for layer in read_archive(path).layers]) == 3
    again = rig.load(path)
    assert (again.image_id, again.bytes_read) == (image_id, 0)


@pytest.mark.parametrize("filters", [{"dangling": True}, {"dangling": False}], ids=["untagged", "all"])
def test_prune_between_two_layers_does_not_stop_an_import(rig: IngestRig, filters: dict[str, bool]) -> None:
    rig.on_progress = once_half_loaded(rig, lambda: rig.client.images.prune(filters=filters))
    loaded = rig.load(rig.write("a", "b", "c"))
    assert loaded.image_id == loaded.image.config_digest
    assert rig.run("ls /filler") == b"/filler\n"


def test_known_layer_that_is_pruned_is_read_after_all(rig: IngestRig) -> None:
    rig.load(rig.write("a", "b"))
    path = rig.write("a", "b", "c")
    rig.on_progress = at_megabyte(12, lambda: rig.docker.untag(rig.tag))
    loaded = rig.load(path)
    assert loaded.bytes_read > sum(layer.size_bytes for layer in loaded.image.layers)
    assert rig.run("ls /filler") == b"/filler\n"


@pytest.mark.parametrize("megabyte", [1, 4, 8, 14])
def test_stop_in_the_middle_leaves_nothing_that_the_undo_does_not_remove(
    rig: IngestRig, megabyte: int
) -> None:
    path = rig.write("a", "b", "c")
    threads = set(threading.enumerate())
    rig.on_progress = at_megabyte(megabyte, stop)
    with pytest.raises(Stopping):
        rig.load(path)
    assert not rig.work.exists()
    assert set(threading.enumerate()) <= threads
    rig.undo()
    assert rig.images() == []


def test_damaged_layer_is_refused_and_the_layers_below_it_go_again(rig: IngestRig) -> None:
    path = rig.write("a", "b", "c")
    damage(path, 3)
    with pytest.raises(CaissonError) as caught:
        rig.load(path)
    assert caught.value.code == "image.layer_mismatch"
    rig.undo()
    assert rig.images() == []
    assert known_layers(rig.docker, [layer.diff_id for layer in read_archive(path).layers]) <= 1


def test_stick_pulled_while_docker_registers_a_layer_is_an_ordinary_event(
    rig: IngestRig,
) -> None:
    path = rig.write("a", "b", "c")
    third = read_archive(path).layers[3]
    with pytest.raises(SourceGone) as caught:
        rig.load(path, pulled_at=third.offset + third.size_bytes // 2)
    assert caught.value.code == "media.gone"


def test_image_in_between_that_a_crash_leaves_is_swept_and_nothing_else(rig: IngestRig) -> None:
    names = ("note=1", "io.caisson.ingest=89abcdef-u", f"io.caisson.ingest={CLAIM}-u")
    others = [build(rig, label, tag) for label, tag in zip(names, (None, None, "users:1"), strict=True)]
    rig.docker.before_remove = _die
    with pytest.raises(HostUnavailable):
        rig.load(rig.write("a", "b", "c"))
    rig.docker.before_remove = lambda: None
    assert len(rig.images()) == len(others) + 2
    sweep_intermediates(rig.docker, is_running=lambda update_id: update_id == rig.update_id, claim=CLAIM)
    assert len(rig.images()) == len(others) + 2
    sweep_intermediates(rig.docker, is_running=lambda _: False, claim=CLAIM)
    assert len(rig.images()) == len(others)
    for image in others:
        rig.docker.remove_image(image)


def _die() -> None:
    """The process ends when the first image in between is to be removed."""
    raise HostUnavailable("cannot go on", code="docker.unavailable")


def build(rig: IngestRig, label: str, tag: str | None) -> str:
    """An image of somebody else's, with this label."""
    dockerfile = io.BytesIO(f"FROM scratch\nLABEL {label}\n".encode())
    return str(rig.client.images.build(fileobj=dockerfile, tag=tag, rm=True, forcerm=True)[0].id)


def test_full_disk_of_ours_is_told_as_that(rig: IngestRig) -> None:
    path = rig.write("a", "b", "c")
    rig.work.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "none", rig.work], check=True)
    try:
        with pytest.raises(CaissonError) as caught:
            rig.load(path)
        assert caught.value.code == "host.disk_full"
        assert list(rig.work.iterdir()) == []
    finally:
        subprocess.run(["umount", rig.work], check=True)
        rig.work.rmdir()


def test_engine_killed_in_a_load_is_told_as_that_and_the_next_attempt_succeeds(
    own_engine: PrivateEngine, tmp_path: Path
) -> None:
    def kill(sent_bytes: int) -> None:
        if sent_bytes > 8 << 20:
            own_engine.kill()

    with ingest_rig(own_engine.host, tmp_path) as rig:
        path = rig.write("a", "b", "c")
        rig.docker.on_sent = kill
        with pytest.raises(HostUnavailable):
            rig.load(path)
        own_engine.power_cut()
        own_engine.start()
        rig.undo()
        rig.docker.on_sent = ignore
        assert rig.images() == []
        assert rig.load(path).bytes_read > 15 << 20


def empty(root: Path, files: str = "overlay2/*/diff/filler") -> int:
    """Take the content of the noise out of all layers, or Docker's records of them: of how many that had some."""
    full = [path for path in root.glob(files) if path.stat().st_size]
    for path in full:
        path.write_bytes(b"")
    return len(full)


def test_layers_that_a_power_cut_emptied_in_a_load_are_not_built_upon(
    own_engine: PrivateEngine, tmp_path: Path
) -> None:
    """Docker keeps layers that are of no image, and takes them for the next archive's own. It syncs no such file,
    and cannot inspect an image that has a layer without its lower ones.
    """
    left = 0
    with ingest_rig(own_engine.host, tmp_path) as rig:
        for rename in range(1, 9):
            path = rig.write(*(f"{word}{rename}" for word in "abc"), mb=1)
            with killed_at(own_engine, RENAMES, rename), suppress(CaissonError):
                rig.load(path)
            own_engine.power_cut()
            empty(own_engine.data_root)
            empty(own_engine.data_root, f"overlay2/*/{('lower', 'link')[rename % 2]}")
            own_engine.start()
            rig.undo()
            rig.client.images.prune()  # as `Tags.release_new` does, which knows the image's ID
            assert rig.client.images.list(all=True) == []
            left += len(list(own_engine.data_root.glob("image/overlay2/layerdb/sha256/*/cache-id")))
            rig.load(path)
            assert empty(own_engine.data_root) == 3  # whole until now
            rig.undo()
    assert left


def test_full_disk_of_dockers_is_told_in_its_own_words(own_engine: PrivateEngine, tmp_path: Path) -> None:
    with ingest_rig(own_engine.host, tmp_path) as rig:
        folder = own_engine.data_root / "tmp"
        folder.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "none", folder], check=True)
        with pytest.raises(DockerError, match="no space left") as caught:
            rig.load(rig.write("a", "b", mb=8))
        assert caught.value.code == "host.disk_full"


def test_snapshots_that_a_power_cut_emptied_in_a_load_are_not_built_upon(tmp_path: Path) -> None:
    """containerd keeps them for a day, though they are of no image, and takes them for the next archive's own."""
    if os.geteuid() != 0:
        pytest.skip("only root can start a Docker engine")
    left = 0
    with (
        private_engine("d26x", version=Version.DOCKER26, settings=CONTAINERD_STORE) as engine,
        ingest_rig(engine.host, tmp_path) as rig,
    ):
        assert engine.belongings is not None
        socket = str(containerd_socket(engine.belongings))
        rig.docker.environment = {**rig.docker.environment, "CONTAINERD_ADDRESS": socket}
        for layer in (1, 2, 3):
            path = rig.write(*(f"{word}{layer}" for word in "abc"), mb=20)
            with power_cut_at_snapshot(engine, layer), suppress(CaissonError):
                rig.load(path)
            empty(engine.directory, SNAPSHOTS)
            engine.start()
            rig.undo()
            ctr = find_containerd(rig.docker)
            assert ctr is not None
            left += len(
                ctr.unpacked() & set(chain_ids([layer.diff_id for layer in read_archive(path).layers])[1:])
            )
            rig.load(path)
            assert empty(engine.directory, SNAPSHOTS) == 3  # whole until now
            rig.undo()
    assert left


@contextmanager
def power_cut_at_snapshot(engine: PrivateEngine, number: int) -> Iterator[None]:
    """The power goes when so many of the layers of noise have begun to be unpacked, or at the end."""
    folder, over = engine.directory, threading.Event()
    before = set(folder.glob(SNAPSHOTS))

    def cut() -> None:
        while not over.is_set() and len(set(folder.glob(SNAPSHOTS)) - before) < number:
            time.sleep(0.002)
        engine.power_cut()

    thread = threading.Thread(target=cut)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class TestContainerdStore:
    """Where a layer cannot be left out, the image goes in as a whole, verified layer after layer."""

    @pytest.mark.parametrize("shape", Shape)
    def test_image_runs(self, whole_rig: IngestRig, shape: Shape) -> None:
        loaded = whole_rig.load(whole_rig.write("a", "b", "a", shape=shape))
        assert whole_rig.run("ls /filler") == b"/filler\n"
        assert whole_rig.images() == [f"image {loaded.image_id} ['{whole_rig.tag}']"]

    def test_image_of_packed_layers_runs(self, whole_rig: IngestRig) -> None:
        whole_rig.load(*whole_rig.write_packed(Compression.ZSTD, "a", "b"))
        assert whole_rig.run("ls /filler") == b"/filler\n"

    def test_nothing_counts_as_known(self, whole_rig: IngestRig) -> None:
        image = whole_rig.load(whole_rig.write("a")).image
        assert known_layers(whole_rig.docker, [layer.diff_id for layer in image.layers]) == 0

    def test_what_asks_for_snapshots_makes_only_calls_that_the_daemon_may_make(
        self, containerd_store: PrivateEngine
    ) -> None:
        assert containerd_store.belongings is not None
        ctr = ("ctr", "--address", str(containerd_socket(containerd_store.belongings)))
        command = confined(*ctr, "--namespace", "moby", "snapshots", "--snapshotter", "overlayfs", "ls")
        ended = run_program(
            command, environment={"PATH": "/usr/bin:/bin"}, timeout_s=60, folder=Path(__file__).parents[2]
        )
        assert (ended.code, ended.output.split()[:3]) == (0, ["KEY", "PARENT", "KIND"]), ended

    def test_damaged_layer_is_refused_and_docker_has_nothing(self, whole_rig: IngestRig) -> None:
        path = whole_rig.write("a", "b", "c")
        damage(path, 3)
        with pytest.raises(CaissonError) as caught:
            whole_rig.load(path)
        assert caught.value.code == "image.layer_mismatch"
        assert whole_rig.images() == []

    def test_stop_in_the_middle_leaves_nothing(self, whole_rig: IngestRig) -> None:
        whole_rig.on_progress = at_megabyte(8, stop)
        with pytest.raises(Stopping):
            whole_rig.load(whole_rig.write("a", "b", "c"))
        assert whole_rig.images() == []
