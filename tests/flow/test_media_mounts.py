"""Media for real: the helper that mounts them, on images in loop devices, and a daemon's sandbox that must see them."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from caissond.intake.mounts import find_media, read_mounts

REPOSITORY = Path(__file__).parents[2]
HELPER = REPOSITORY / "packaging/caisson-mount"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


def run(*command: str | Path) -> str:
    done = subprocess.run(
        command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout
    return done.stdout.strip()


class Stick:
    """A block device with some filesystem, and the helper that mounts it below a media folder."""

    def __init__(self, device: str, media: Path) -> None:
        self.device = Path(device)
        self.media = media
        self.place = media / self.device.name

    def helper(self, verb: str) -> tuple[int, str]:
        environment = {**os.environ, "CAISSON_MEDIA": str(self.media)}
        done = subprocess.run(
            [HELPER, verb, self.device.name], env=environment, check=False, capture_output=True, text=True
        )
        return done.returncode, done.stderr

    def digest(self) -> str:
        return hashlib.sha256(self.device.read_bytes()).hexdigest()


Plug = Callable[[Path], Stick]


@pytest.fixture
def plug(tmp_path: Path) -> Iterator[Plug]:
    """Puts an image on a loop device; unmounted and detached afterwards."""
    sticks: list[Stick] = []

    def attach(image: Path) -> Stick:
        sticks.append(Stick(run("losetup", "--find", "--show", image), tmp_path / "media"))
        return sticks[-1]

    yield attach
    for stick in sticks:
        subprocess.run(["umount", "-Al", stick.device], check=False, stderr=subprocess.DEVNULL)
        run("losetup", "--detach", stick.device)


def make_image(path: Path, fs_type: str = "ext4") -> Path:
    """An image with a package on it, made without mounting it."""
    content = path.with_suffix(".files")
    content.mkdir()
    (content / "a.edgepkg").write_bytes(b"package")
    with path.open("wb") as file:
        file.truncate(8 << 20)
    run("mke2fs", "-q", "-t", fs_type, "-d", content, path)
    return path


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return make_image(tmp_path / "stick.img")


@pytest.mark.parametrize("fs_type", ["ext2", "ext3", "ext4"])
def test_stick_is_mounted_so_that_it_can_do_no_harm(tmp_path: Path, plug: Plug, fs_type: str) -> None:
    stick = plug(make_image(tmp_path / "stick.img", fs_type))
    assert stick.helper("add") == (0, "")
    (mount,) = (mount for mount in read_mounts() if mount.point == stick.place)
    assert mount.options >= {"ro", "nosuid", "nodev", "noexec"}
    assert (stick.place / "a.edgepkg").read_bytes() == b"package"
    assert [(place.path, place.read_only) for place in find_media(stick.media)] == [(stick.place, True)]


def test_stick_pulled_out_while_written_to_is_mounted_without_a_write(
    tmp_path: Path, image: Path, plug: Plug
) -> None:
    """Its journal is not empty; replaying it would change the stick."""
    other = plug(image)
    (tmp_path / "rw").mkdir()
    run("mount", other.device, tmp_path / "rw")
    (tmp_path / "rw/more").write_bytes(b"x" * 100_000)
    run("sync", "--file-system", tmp_path / "rw")
    (tmp_path / "pulled.img").write_bytes(image.read_bytes())
    run("umount", tmp_path / "rw")
    stick = plug(tmp_path / "pulled.img")
    before = stick.digest()
    assert "needs_recovery" in run("dumpe2fs", "-h", stick.device)
    assert stick.helper("add") == (0, "")
    assert (stick.place / "a.edgepkg").exists()
    stick.helper("remove")
    assert stick.digest() == before


def test_removal_leaves_nothing_even_while_a_file_is_open(image: Path, plug: Plug) -> None:
    stick = plug(image)
    stick.helper("add")
    with (stick.place / "a.edgepkg").open("rb") as file:
        assert stick.helper("remove") == (0, "")
        assert file.read() == b"package"
    assert not stick.place.exists()


def test_removal_after_a_start_that_failed_is_no_error(image: Path, plug: Plug) -> None:
    stick = plug(image)
    stick.place.mkdir(parents=True)
    assert stick.helper("remove") == (0, "")
    assert stick.helper("remove") == (0, "")
    assert not stick.place.exists()


def test_filesystem_that_is_not_listed_is_not_mounted(image: Path, plug: Plug) -> None:
    stick = plug(image)
    run("mkswap", stick.device)
    code, text = stick.helper("add")
    assert code == 1
    assert "cannot use a filesystem of type 'swap'" in text


def test_stick_without_a_filesystem_is_told(tmp_path: Path, plug: Plug) -> None:
    (tmp_path / "empty.img").write_bytes(bytes(1 << 20))
    code, text = plug(tmp_path / "empty.img").helper("add")
    assert code == 1
    assert "cannot tell what filesystem it has" in text


def test_disk_that_the_system_uses_is_left_alone(tmp_path: Path, image: Path, plug: Plug) -> None:
    stick = plug(image)
    for name in ("system", "boot"):
        (tmp_path / name).mkdir()
        run("mount", stick.device, tmp_path / name)
    code, text = stick.helper("add")
    assert code == 0
    assert f"left alone, its disk is in use at {tmp_path}/" in text
    assert len(text.splitlines()) == 1
    assert not stick.place.exists()


@pytest.mark.parametrize("arguments", [[], ["add"], ["add", "../vda"], ["add", "sd b"], ["mount", "sdb1"]])
def test_wrong_use_is_refused(arguments: list[str]) -> None:
    assert subprocess.run([HELPER, *arguments], check=False, capture_output=True).returncode == 64


# systemd gives a unit with ProtectSystem= a slave mount namespace in which its own folders are bind mounts.
SANDBOXED = """
import select, sys
from pathlib import Path
from caissond.intake.media import MediaWatch
from caissond.intake.mounts import find_media, read_mounts
run = Path(sys.argv[1])
watch = MediaWatch()
poll = select.poll()
for descriptor, events in watch.descriptors().items():
    poll.register(descriptor, events)
print("ready", flush=True)
while not (places := find_media(run / "media")):
    if not (ready := poll.poll(60_000)):
        sys.exit("nobody told of the mount")
    for descriptor, _ in ready:
        watch.drain(descriptor)
print(*(place.path.name for place in places), [m.point for m in read_mounts()].count(places[0].path))
"""
AS_A_UNIT = 'mount --bind "$1" "$1" && exec "$2" -c "$3" "$1"'


@pytest.fixture
def host_run(tmp_path: Path) -> Iterator[Path]:
    """A folder as /run is on a device: a mount that is shared."""
    run_folder = tmp_path / "run"
    run_folder.mkdir()
    run("mount", "-t", "tmpfs", "run", run_folder)
    run("mount", "--make-shared", run_folder)
    (run_folder / "caisson/media/sdb1").mkdir(parents=True)
    yield run_folder / "caisson"
    run("umount", "--recursive", "--lazy", run_folder)


def test_stick_mounted_by_the_host_is_seen_inside_the_daemons_sandbox(host_run: Path) -> None:
    unit = ["unshare", "--mount", "--propagation=slave", "sh", "-c", AS_A_UNIT, "sh"]
    with subprocess.Popen(
        [*unit, host_run, sys.executable, SANDBOXED], stdout=subprocess.PIPE, text=True
    ) as daemon:
        assert daemon.stdout
        assert daemon.stdout.readline() == "ready\n"
        run("mount", "-t", "tmpfs", "-o", "ro", "stick", host_run / "media/sdb1")
        assert daemon.stdout.readline() == "sdb1 2\n"
    assert daemon.returncode == 0
