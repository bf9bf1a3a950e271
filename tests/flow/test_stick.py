"""Receipts on real mounts: a stick is writable for a moment, and as it was before in every other way."""

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from caissond.errors import CaissonError
from caissond.intake.mounts import Mount, find_media, read_mounts
from caissond.intake.stick_unit import DEADLINE_S
from caissond.report.stick import Delivery, Outside, deliver, device_at, encode_delivery
from tests.flow.test_media_mounts import HELPER, REPOSITORY, run

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")

NAME = "20260131T235959Z-0a1b2c3d-frontend-1.2.3.txt"


class Device:
    """A device's folders, sticks on loop devices, and who delivers to them."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.media = self.root / "run/caisson/media"
        self.media.mkdir(parents=True)
        self.config = self.root / "caissond.toml"
        self.socket = self.root / "stick.sock"
        self.loops: list[str] = []

    def attach(self, image: Path, *options: str) -> Path:
        """A block device; where `caisson-mount` mounts it."""
        self.loops.append(run("losetup", "--find", "--show", *options, image))
        return self.media / Path(self.loops[-1]).name

    def plug(self, image: Path, *options: str) -> Path:
        place = self.attach(image, *options)
        subprocess.run(
            [HELPER, "add", place.name], env={**os.environ, "CAISSON_MEDIA": str(self.media)}, check=True
        )
        return place

    def deliver(self, place: Path, text: str = "text\n", **meant: str) -> str:
        """What is wrong, or nothing."""
        try:
            deliver(
                Delivery(place, "pump7", {NAME: text}, **meant),
                Outside(self.socket, self.media, self.config),
            )
        except CaissonError as exc:
            return exc.message
        return ""

    def close(self) -> None:
        for mount in reversed(read_mounts()):
            if mount.point.is_relative_to(self.root):
                subprocess.run(["umount", "--lazy", mount.point], check=True)
        for loop in self.loops:
            run("losetup", "--detach", loop)


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    device = Device(tmp_path)
    yield device
    device.close()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "stick.img"
    with path.open("wb") as file:
        file.truncate(8 << 20)
    run("mke2fs", "-q", "-t", "ext4", path)
    return path


def mount_at(place: Path) -> Mount:
    (mount,) = (mount for mount in read_mounts() if mount.point == place)
    return mount


def written(place: Path) -> str:
    return (place / "caisson-receipts/pump7" / NAME).read_text()


def test_receipt_is_on_the_stick_and_its_mount_is_as_before(device: Device, image: Path) -> None:
    place = device.plug(image)
    before = mount_at(place)
    assert device.deliver(place) == ""
    assert written(place) == "text\n"
    assert mount_at(place) == before
    run("umount", place)
    assert run("e2fsck", "-fn", image)


def errors_mean(place: Path) -> list[str]:
    """What the kernel does when it finds the filesystem damaged."""
    options = Path("/proc/fs/ext4", place.name, "options").read_text().splitlines()
    return [option for option in options if option.startswith("errors=")]


@pytest.mark.parametrize(
    "wish", [("-e", "panic"), ("-E", "mount_opts=errors=panic")], ids=lambda wish: wish[1]
)
def test_stick_cannot_have_the_kernel_panic_when_it_is_damaged(
    device: Device, image: Path, wish: tuple[str, str]
) -> None:
    run("tune2fs", *wish, image)
    place = device.plug(image)
    assert errors_mean(place) == ["errors=continue"]
    subprocess.run(["mount", "-i", "-o", "remount,rw", place], check=True)
    assert errors_mean(place) == ["errors=continue"]
    subprocess.run(["mount", "-i", "-o", "remount,ro", place], check=True)
    assert device.deliver(place) == ""
    assert errors_mean(place) == ["errors=continue"]


def test_receipt_is_for_the_stick_that_its_package_came_on(device: Device, image: Path) -> None:
    place = device.plug(image)
    (meant,) = (found for found in find_media(device.media) if found.path == place)
    another = {"device": {"device": "8:17"}, "sequence": {"sequence": f"{meant.sequence}0"}}
    for wrong in another.values():
        assert device.deliver(place, **wrong) == "another one is in its place"
    assert [path.name for path in place.iterdir()] == ["lost+found"]
    assert device.deliver(place, device=device_at(place), sequence=meant.sequence) == ""


def test_stick_that_was_pulled_out_while_written_to_is_not_written_to(
    device: Device, image: Path, tmp_path: Path
) -> None:
    """The kernel would let it happen, and the replay of the journal would undo it."""
    (tmp_path / "rw").mkdir()
    run("mount", device.loops[-1] if device.loops else "/dev/" + device.attach(image).name, tmp_path / "rw")
    (tmp_path / "rw/more").write_bytes(b"x" * 100_000)
    run("sync", "--file-system", tmp_path / "rw")
    (tmp_path / "pulled.img").write_bytes(image.read_bytes())
    run("umount", tmp_path / "rw")
    place = device.plug(tmp_path / "pulled.img")
    before = (tmp_path / "pulled.img").read_bytes()
    assert device.deliver(place) == "it was pulled out while somebody wrote to it; e2fsck puts that right"
    assert mount_at(place).unchanging
    assert (tmp_path / "pulled.img").read_bytes() == before


def test_write_protected_stick_is_told(device: Device, image: Path) -> None:
    place = device.plug(image, "--read-only")
    assert device.deliver(place) == "it is write-protected"
    assert mount_at(place).unchanging


def test_full_stick_is_told_and_left_without_half_a_receipt(device: Device, tmp_path: Path) -> None:
    image, content = tmp_path / "full.img", tmp_path / "content"
    (content / "caisson-receipts/pump7").mkdir(parents=True)
    (content / "film.mkv").write_bytes(b"x" * 900_000)
    image.write_bytes(bytes(1 << 20))
    run("mke2fs", "-q", "-t", "ext2", "-m", "0", "-d", content, image)
    place = device.plug(image)
    assert device.deliver(place, "x" * 500_000) == "it is full"
    assert mount_at(place).unchanging
    assert list((place / "caisson-receipts/pump7").iterdir()) == []


def test_link_on_a_hostile_stick_leads_nowhere(device: Device, tmp_path: Path) -> None:
    (tmp_path / "content").mkdir()
    (tmp_path / "etc").mkdir()
    (tmp_path / "content/caisson-receipts").symlink_to(tmp_path / "etc")
    image = tmp_path / "hostile.img"
    image.write_bytes(bytes(4 << 20))
    run("mke2fs", "-q", "-t", "ext4", "-d", tmp_path / "content", image)
    place = device.plug(image)
    assert device.deliver(place) == "something else is in the way in caisson-receipts"
    assert list((tmp_path / "etc").iterdir()) == []
    assert mount_at(place).unchanging


def test_stick_that_was_pulled_is_told(device: Device, image: Path) -> None:
    place = device.plug(image)
    run("umount", "--lazy", place)
    assert device.deliver(place) == "it was removed"
    place.rmdir()
    assert device.deliver(place) == "it was removed"


@pytest.fixture
def elsewhere(device: Device) -> Path:
    """A medium that udisks mounted, below a folder that the settings name."""
    place = device.root / "media/engineer/STICK OF ANN"
    place.mkdir(parents=True)
    device.config.write_text(f'[media]\nroots = ["{device.root}/media"]\n')
    run("mount", "-t", "tmpfs", "stick", place)
    return place


def test_medium_that_others_mounted_writable_gets_its_receipt_and_stays_writable(
    device: Device, elsewhere: Path
) -> None:
    assert device.deliver(elsewhere) == ""
    assert written(elsewhere) == "text\n"
    assert not mount_at(elsewhere).read_only


def test_root_that_leads_nowhere_does_not_hide_the_others(device: Device, elsewhere: Path) -> None:
    circle = device.root / "circle"
    circle.symlink_to(circle)
    device.config.write_text(f'[media]\nroots = ["{circle}", "/a\\u0000", "{device.root}/media"]\n')
    assert device.deliver(elsewhere) == ""


def test_medium_that_others_mounted_read_only_stays_so(device: Device, elsewhere: Path) -> None:
    run("mount", "-o", "remount,ro", elsewhere)
    assert device.deliver(elsewhere) == "it is mounted read-only, and not by Caisson"
    assert mount_at(elsewhere).unchanging


def test_nothing_is_written_where_no_media_are_served(device: Device, elsewhere: Path) -> None:
    device.config.unlink()
    assert device.deliver(elsewhere) == "it is not mounted where media are served"
    assert device.deliver(device.media / "../../../media/engineer/STICK OF ANN").startswith(
        "it is not mounted"
    )
    assert list(elsewhere.iterdir()) == []


# The program's end, whatever it is

WRITES_FOR_EVER = """
import os, sys, time
from pathlib import Path
from caissond.intake.remount import writable
from caissond.intake.stick_unit import take_signals
take_signals()
root = os.open(sys.argv[1], os.O_RDONLY)
with writable(root, Path(sys.argv[2])):
    print("writable", flush=True)
    sys.stdin.read()
"""


@contextmanager
def writing(device: Device, place: Path) -> Iterator[subprocess.Popen[str]]:
    """A program that keeps the stick writable until its input ends."""
    command: list[str | Path] = [sys.executable, "-c", WRITES_FOR_EVER, place, device.media]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "writable\n"
        assert not mount_at(place).read_only
        yield process


@pytest.fixture
def interrupt(device: Device) -> Callable[[Path, signal.Signals], None]:
    """Ends the program by a signal while the stick is writable."""

    def end(place: Path, number: signal.Signals) -> None:
        with writing(device, place) as process:
            process.send_signal(number)
            process.wait(60)

    return end


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGHUP, signal.SIGALRM], ids=lambda number: number.name
)
def test_program_that_is_asked_to_end_leaves_the_stick_read_only(
    device: Device, image: Path, interrupt: Callable[[Path, signal.Signals], None], number: signal.Signals
) -> None:
    place = device.plug(image)
    interrupt(place, number)
    assert mount_at(place).unchanging


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGALRM], ids=lambda number: number.name)
def test_putting_the_stick_back_is_not_disturbed(device: Device, image: Path, number: signal.Signals) -> None:
    place = device.plug(image)
    with writing(device, place) as process, (place / "film.mkv").open("wb"):
        assert process.stdin
        process.stdin.close()
        wait_until(lambda: is_deaf_to(process.pid, number))
        time.sleep(0.3)  # it is tried again as long as somebody has a file open, for 2 s
        process.send_signal(number)
        time.sleep(0.3)
    assert mount_at(place).unchanging


@pytest.fixture
def busy(device: Device) -> Iterator[None]:
    """Another program has its turn."""
    descriptor = os.open(device.media, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield
    os.close(descriptor)


@contextmanager
def delivering(
    device: Device, place: Path, *options: str
) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    """The program with a delivery, and where its answer comes."""
    ours, its = socket.socketpair()
    command: list[str | Path] = [sys.executable, "-m", "caissond.intake.stick_unit", "--media", device.media]
    with ours, subprocess.Popen([*command, *options], stdin=its.fileno()) as process:
        its.close()
        ours.sendall(encode_delivery(Delivery(place, "pump7", {NAME: "text"})))
        ours.shutdown(socket.SHUT_WR)
        yield process, ours


def end_of(process: subprocess.Popen[bytes], answers: socket.socket) -> tuple[int, str]:
    """Its exit code and its answer."""
    return process.wait(60), answers.recv(100).decode()


@pytest.mark.usefixtures("busy")
def test_program_gives_up_at_its_deadline(device: Device, image: Path) -> None:
    began = time.monotonic()
    with delivering(device, device.plug(image), "--deadline-secs=3") as started:
        assert end_of(*started) == (1, "it took too long\n")
    assert time.monotonic() - began < DEADLINE_S


def test_program_that_is_told_nothing_says_so_in_a_line(device: Device) -> None:
    ours, its = socket.socketpair()
    command = [sys.executable, "-m", "caissond.intake.stick_unit", "--media", str(device.media)]
    with ours, its:
        done = subprocess.run(
            [*command, "--deadline-secs=2"], stdin=its.fileno(), capture_output=True, timeout=60
        )
    assert (done.returncode, done.stderr) == (
        1,
        b"<4>nobody says what is to be written: it took too long\n",
    )


@pytest.mark.usefixtures("busy")
def test_program_that_is_asked_to_end_while_it_waits_ends_in_order(device: Device, image: Path) -> None:
    with delivering(device, device.plug(image)) as (process, answers):
        wait_until(lambda: waits_for_its_turn(process.pid))
        process.terminate()
        assert end_of(process, answers) == (128 + signal.SIGTERM, "")


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_deaf_to(pid: int, number: signal.Signals) -> bool:
    """Whether the process blocks the signal (proc_pid_status(5))."""
    (blocked,) = re.findall(r"^SigBlk:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return bool(int(blocked, 16) >> (number - 1) & 1)


def waits_for_its_turn(pid: int) -> bool:
    """Whether the process waits for a lock (proc_locks(5))."""
    rows = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return any(row[1:3] == ["->", "FLOCK"] and row[5] == str(pid) for row in rows)


def test_stick_of_a_program_that_was_killed_is_put_back_by_the_unit(
    device: Device, image: Path, interrupt: Callable[[Path, signal.Signals], None]
) -> None:
    place = device.plug(image)
    other = device.media / "by-hand"
    other.mkdir()
    run("mount", "-t", "tmpfs", "stick", other)
    interrupt(place, signal.SIGKILL)
    assert not mount_at(place).read_only
    run(sys.executable, "-m", "caissond.intake.stick_unit", "--media", device.media, "tidy")
    assert mount_at(place).unchanging
    assert not mount_at(other).read_only


def test_stick_that_stayed_writable_is_put_back_where_there_is_no_unit(
    device: Device, image: Path, interrupt: Callable[[Path, signal.Signals], None]
) -> None:
    place = device.plug(image)
    interrupt(place, signal.SIGKILL)
    assert device.deliver(place) != ""
    assert mount_at(place).unchanging


def capabilities() -> list[str]:
    """The program before another one that takes all but the unit's capabilities away."""
    settings = (REPOSITORY / "systemd/caisson-stick@.service").read_text()
    (wanted,) = re.findall("^CapabilityBoundingSet=(.*)$", settings, re.MULTILINE)
    kept = ",".join(("-all", *(name.lower().replace("cap_", "+") for name in wanted.split())))
    return ["setpriv", f"--bounding-set={kept}", "--inh-caps=-all", "--no-new-privs"]


def is_listening(path: Path) -> bool:
    """Whether connections are taken, a moment after the socket is there: flags of 1 << 16 (__SO_ACCEPTCON) say so."""
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return any(row[3] == "00010000" and row[-1] == str(path) for row in rows)


@contextmanager
def unit(device: Device) -> Iterator[None]:
    """What systemd does with the socket and the service."""
    program: list[str | Path] = [sys.executable, "-m", "caissond.intake.stick_unit", "--media", device.media]
    command = ["systemd-socket-activate", "--accept", "--inetd", f"--listen={device.socket}"]
    with subprocess.Popen([*command, *capabilities(), *program], stderr=subprocess.DEVNULL) as listener:
        try:
            wait_until(lambda: is_listening(device.socket))
            yield
        finally:
            listener.terminate()


def test_unit_answers_over_its_socket_and_writes_to_sticks_of_anybody(
    device: Device, image: Path, tmp_path: Path
) -> None:
    (tmp_path / "rw").mkdir()
    run("mount", image, tmp_path / "rw")
    os.chown(tmp_path / "rw", 65534, 65534)
    (tmp_path / "rw").chmod(0o700)
    run("umount", tmp_path / "rw")
    place = device.plug(image)
    with unit(device):
        assert device.deliver(place) == ""
    assert written(place) == "text\n"
    assert mount_at(place).unchanging
