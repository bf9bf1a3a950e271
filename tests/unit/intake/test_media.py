"""What wakes the main thread: real mounts, real netlink messages, and monitors that fail."""

import ctypes
import gc
import os
import select
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from caissond.intake.media import (
    EAGER_REST_S,
    EAGER_S,
    REST_S,
    MediaWatch,
    Noticed,
    Pace,
    UdevMonitor,
)
from caissond.intake.mounts import find_media
from caissond.intake.scan import Origin, Place, Scanner

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting and sending uevents need root")

NETLINK_KOBJECT_UEVENT = 15
CLONE_NEWNET = 0x40000000

Mounter = Callable[..., Path]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mounter]:
    """Mounts a tmpfs below the media folder; all of them are gone afterwards."""
    mounted: list[Path] = []

    def mount_tmpfs(name: str, options: str = "rw") -> Path:
        point = tmp_path / "media" / name
        point.mkdir(parents=True)
        mounted.append(point)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=64k,{options}", "stick", point], check=True)
        return point

    yield mount_tmpfs
    for point in reversed(mounted):
        subprocess.run(["umount", "-l", point], check=False, stderr=subprocess.DEVNULL)


@pytest.fixture
def own_udev() -> Iterator[None]:
    """What is heard of udev, and said as udev, stays in a network namespace of our own: tests that run beside this one,
    and the machine, have block devices too.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        assert libc.unshare(CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        yield
        assert libc.setns(before, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
    finally:
        os.close(before)


class Ears:
    """A poll loop around a MediaWatch, as in the daemon's main thread."""

    def __init__(self, watch: MediaWatch) -> None:
        self.watch = watch
        self._poll = select.poll()
        for descriptor, events in watch.descriptors().items():
            self._poll.register(descriptor, events)

    def hear(self, timeout_s: float = 60) -> bool:
        heard = [self.watch.drain(descriptor) for descriptor, _ in self._poll.poll(timeout_s * 1000)]
        return any(heard)

    def silent(self) -> bool:
        return not self._poll.poll(0)


@pytest.fixture
def ears() -> Iterator[Callable[..., Ears]]:
    watches: list[MediaWatch] = []

    def listen(watch: MediaWatch) -> Ears:
        watches.append(watch)
        return Ears(watch)

    yield listen
    for watch in watches:
        watch.close()


class Pipe:
    """A monitor on a pipe. `x` is an event, `!` the error after which it is of no use."""

    def __init__(self) -> None:
        self.read, self.write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def fileno(self) -> int:
        return self.read

    def drain(self) -> bool:
        if b"!" in os.read(self.read, 100):
            raise OSError("No buffer space available")
        return True

    def close(self) -> None:
        os.close(self.read)
        os.close(self.write)


@pytest.fixture
def pipes() -> Iterator[tuple[Pipe, Pipe]]:
    both = Pipe(), Pipe()
    yield both
    for pipe in both:
        pipe.close()


def no_udev() -> Pipe:
    raise OSError("Could not create udev monitor")


def heard_of(ears: Ears, change: Callable[[], object]) -> bool:
    """Whether the change wakes the poll. Mounts of other programs may do so before."""
    while not ears.silent():
        ears.hear(0)
    change()
    return ears.hear()


def test_mount_wakes_the_poll_and_is_found(tmp_path: Path, mount: Mounter, ears: Callable[..., Ears]) -> None:
    listening = ears(MediaWatch(connect=no_udev))
    assert heard_of(listening, lambda: mount("sdb1", "ro"))
    assert find_media(tmp_path / "media") == (Place(tmp_path / "media/sdb1", Origin.MEDIA, read_only=True),)


def test_unmount_wakes_the_poll_and_the_place_is_gone(
    tmp_path: Path, mount: Mounter, ears: Callable[..., Ears]
) -> None:
    point = mount("sdb1")
    listening = ears(MediaWatch(connect=no_udev))
    assert heard_of(listening, lambda: subprocess.run(["umount", point], check=True))
    assert find_media(tmp_path / "media") == ()


def test_remount_read_only_is_seen(tmp_path: Path, mount: Mounter) -> None:
    point = mount("sdb1")
    assert not find_media(tmp_path / "media")[0].read_only
    subprocess.run(["mount", "-o", "remount,ro", point], check=True)
    assert find_media(tmp_path / "media")[0].read_only


def test_medium_with_an_odd_name_is_found(tmp_path: Path, mount: Mounter) -> None:
    point = mount("a b\tc\nd\\e\r#ü\udcff")
    assert [place.path for place in find_media(tmp_path / "media")] == [point]


def test_media_folder_behind_a_link_is_followed(tmp_path: Path, mount: Mounter) -> None:
    point = mount("sdb1")
    (tmp_path / "link").symlink_to(tmp_path)
    assert [place.path for place in find_media(tmp_path / "link/media")] == [point]


def test_medium_that_hides_another_is_the_one_place(tmp_path: Path, mount: Mounter) -> None:
    point = mount("sdb1", "ro")
    subprocess.run(["mount", "-t", "tmpfs", "over", point], check=True)
    try:
        (place,) = find_media(tmp_path / "media")
    finally:
        subprocess.run(["umount", point], check=True)
    assert not place.read_only


def test_filesystem_mounted_inside_a_medium_is_not_part_of_it(tmp_path: Path, mount: Mounter) -> None:
    outer, inner = mount("sdb1"), mount("sdb1/inner")
    for folder in (outer, inner):
        (folder / "a.edgepkg").write_bytes(b"package")
    scanner = Scanner(is_whole=lambda _: True, incomplete_s=30)
    found = scanner.scan(Place(tmp_path / "media/sdb1", Origin.MEDIA, read_only=True)).complete
    assert [file.path for file in found] == [outer / "a.edgepkg"]


# A message of udevd to its listeners (systemd, src/libsystemd/sd-device/device-monitor.c)


def murmur2(content: bytes) -> int:
    """MurmurHash2 of Austin Appleby, by which the kernel filters subsystems; for lengths of 4n to 4n+3."""
    multiplier, mixed = 0x5BD1E995, len(content)
    whole = len(content) // 4 * 4
    for (word,) in struct.iter_unpack("<I", content[:whole]):
        word = word * multiplier & 0xFFFFFFFF
        word = (word ^ word >> 24) * multiplier & 0xFFFFFFFF
        mixed = mixed * multiplier & 0xFFFFFFFF ^ word
    if rest := content[whole:]:
        mixed = (mixed ^ int.from_bytes(rest, "little")) * multiplier & 0xFFFFFFFF
    mixed = (mixed ^ mixed >> 13) * multiplier & 0xFFFFFFFF
    return mixed ^ mixed >> 15


def udev_message(subsystem: str, name: str) -> bytes:
    properties = {
        "ACTION": "change",
        "DEVPATH": f"/devices/virtual/{subsystem}/{name}",
        "SUBSYSTEM": subsystem,
        "DEVTYPE": "disk",
        "SEQNUM": "1",
    }
    body = b"".join(f"{key}={value}\0".encode() for key, value in properties.items())
    hashes = (murmur2(subsystem.encode()), murmur2(b"disk"), 0, 0)
    head = (
        struct.pack(">I", 0xFEEDCAFE) + struct.pack("=III", 40, 40, len(body)) + struct.pack(">IIII", *hashes)
    )
    return b"libudev\0" + head + body


def send(subsystem: str, *, times: int = 1, name: str = "caissontest") -> None:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_KOBJECT_UEVENT) as sender:
        for _ in range(times):
            sender.sendto(udev_message(subsystem, name), (0, 2))


def deaf_to_mounts(tmp_path: Path) -> MediaWatch:
    """On a mount table that never changes."""
    table = tmp_path / "mountinfo"
    table.touch()
    return MediaWatch(mountinfo=table)


@pytest.mark.usefixtures("own_udev")
def test_block_event_of_udev_wakes_the_poll(tmp_path: Path, ears: Callable[..., Ears]) -> None:
    listening = ears(deaf_to_mounts(tmp_path))
    assert heard_of(listening, lambda: send("block"))


@pytest.mark.usefixtures("own_udev")
def test_event_of_another_subsystem_does_not(tmp_path: Path, ears: Callable[..., Ears]) -> None:
    listening = ears(deaf_to_mounts(tmp_path))
    send("net")
    assert listening.silent()


@pytest.mark.usefixtures("own_udev")
def test_flood_is_survived_and_the_next_event_is_heard(tmp_path: Path, ears: Callable[..., Ears]) -> None:
    listening = ears(deaf_to_mounts(tmp_path))
    assert heard_of(listening, lambda: send("block", times=2000))
    while not listening.silent():
        listening.hear(0)
    assert heard_of(listening, lambda: send("block"))


@pytest.mark.usefixtures("own_udev")
def test_flood_is_an_error_of_the_monitor() -> None:
    monitor = UdevMonitor()
    send("block", times=2000)
    with pytest.raises(OSError, match="Error while polling"):
        monitor.drain()


def test_failing_monitor_is_replaced_behind_the_same_descriptor(
    tmp_path: Path, ears: Callable[..., Ears], pipes: tuple[Pipe, Pipe]
) -> None:
    first, second = pipes
    waiting = [second, first]
    (tmp_path / "table").touch()
    listening = ears(MediaWatch(connect=lambda: waiting.pop(), mountinfo=tmp_path / "table"))
    before = listening.watch.descriptors()
    assert heard_of(listening, lambda: os.write(first.write, b"!"))
    assert heard_of(listening, lambda: os.write(second.write, b"x"))
    assert listening.watch.descriptors() == before


def test_monitor_that_cannot_be_replaced_does_not_spin(
    tmp_path: Path, ears: Callable[..., Ears], pipes: tuple[Pipe, Pipe]
) -> None:
    waiting = [pipes[0]]

    def connect() -> Pipe:
        return waiting.pop() if waiting else no_udev()

    (tmp_path / "table").touch()
    listening = ears(MediaWatch(connect=connect, mountinfo=tmp_path / "table"))
    assert heard_of(listening, lambda: os.write(pipes[0].write, b"!"))
    assert listening.silent()
    assert not any(listening.watch.drain(fd) for fd in list(listening.watch.descriptors())[1:])


def test_lost_monitor_is_tried_again_with_the_next_mount(
    mount: Mounter, ears: Callable[..., Ears], pipes: tuple[Pipe, Pipe]
) -> None:
    answers: list[Callable[[], Pipe]] = [lambda: pipes[0], no_udev]
    listening = ears(MediaWatch(connect=lambda: answers.pop()()))
    assert heard_of(listening, lambda: mount("sdb1"))
    assert heard_of(listening, lambda: os.write(pipes[0].write, b"x"))


# How often the table is looked at


def test_table_that_changes_all_the_time_is_looked_at_seldom() -> None:
    pace = Pace()
    pace.after(Noticed.MOUNTS, now=100)
    assert (pace.rest_s(100), pace.rest_s(100 + REST_S)) == (REST_S, 0)


def test_mount_of_what_was_just_plugged_in_is_noticed_at_once() -> None:
    pace = Pace()
    pace.after(Noticed.MOUNTS, now=100)
    pace.after(Noticed.DEVICES, now=100)
    assert pace.rest_s(100) <= EAGER_REST_S
    pace.after(Noticed.MOUNTS, now=101)
    assert pace.rest_s(101) == pytest.approx(EAGER_REST_S)
    pace.after(Noticed.MOUNTS, now=100 + EAGER_S)
    assert pace.rest_s(100 + EAGER_S) == REST_S


def test_devices_are_heard_of_while_the_table_is_left_alone(
    tmp_path: Path, ears: Callable[..., Ears], pipes: tuple[Pipe, Pipe]
) -> None:
    (tmp_path / "table").touch()
    listening = ears(MediaWatch(connect=lambda: pipes[0], mountinfo=tmp_path / "table"))
    mounts, events = listening.watch.descriptors()
    assert list(listening.watch.descriptors(resting=True)) == [events]
    os.write(pipes[0].write, b"x")
    assert listening.watch.drain(events) == Noticed.DEVICES
    assert listening.watch.drain(mounts) == Noticed.MOUNTS


@pytest.mark.usefixtures("own_udev")
def test_what_containers_make_is_no_news(tmp_path: Path, ears: Callable[..., Ears]) -> None:
    """Docker with devicemapper, and snaps, make block devices all the time."""
    listening = ears(deaf_to_mounts(tmp_path))
    send("block", name="dm-3")
    assert not listening.hear()


def test_closing_leaves_no_descriptor_open(tmp_path: Path) -> None:
    def open_now() -> list[str]:
        return os.listdir("/proc/self/fd")  # noqa: PTH208

    deaf_to_mounts(tmp_path).close()
    gc.collect()  # what other tests left is not to be closed meanwhile
    before = open_now()
    deaf_to_mounts(tmp_path).close()
    assert len(open_now()) <= len(before)
