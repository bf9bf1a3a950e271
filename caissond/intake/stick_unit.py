"""The program `caisson-stick`: writes receipts to a medium, which it makes writable for just that moment.

systemd starts it for each connection (`caisson-stick.socket`, Accept=yes) in the host's mount namespace, with standard
input as the connection. It decides itself where it may write: on media that Caisson mounted, and on others below
`[media] roots` that are writable already. One at a time, and never longer than its deadline.
"""

import argparse
import errno
import fcntl
import os
import signal
import socket
import sys
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from caissond.intake.mounts import resolve_roots, sequence_of
from caissond.intake.remount import (
    ENDING,
    CannotWrite,
    left_writable,
    make_all_read_only,
    mount_of,
    sync,
    writable,
)
from caissond.report.stick import MESSAGE_LIMIT_BYTES, OK, Delivery, device_at, parse_delivery
from caissond.report.stick_files import FOLDER, write_files

MEDIA = Path("/run/caisson/media")
CONFIG = Path("/etc/caisson/caissond.toml")
DEADLINE_S = 30
REQUEST_S = 10.0

_OVERDUE = "it took too long"
_WORDS = {
    errno.EROFS: "it is write-protected",
    errno.EACCES: "it is write-protected",
    errno.ENOSPC: "it is full",
    errno.EDQUOT: "it is full",
    errno.EFBIG: "it is full",
    errno.EIO: "it cannot be written to, or was pulled out",
    errno.ENODEV: "it was pulled out",
    errno.ENXIO: "it was pulled out",
    errno.ENOENT: "it was removed",
} | dict.fromkeys(
    (errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY, errno.EXDEV, errno.EEXIST),
    f"something else is in the way in {FOLDER}",
)


class Overdue(Exception):
    """The time for it is over."""


def serve(connection: socket.socket, media: Path, config: Path) -> int:
    """Answer one delivery; the exit code.

    It is not 0 after the deadline, or when a medium is writable still: whoever started us then tidies.
    """
    connection.settimeout(REQUEST_S)
    try:
        document = _receive(connection)
    except (OSError, Overdue) as exc:
        print(f"<4>nobody says what is to be written: {str(exc) or _OVERDUE}", file=sys.stderr)
        return 1
    answer = answer_to(document, media, config)
    with suppress(OSError):  # whoever asked may have gone
        connection.sendall(f"{answer}\n".encode())
    return int(answer == _OVERDUE or bool(left_writable(media.resolve())))


def _receive(connection: socket.socket) -> bytes:
    received = bytearray()
    while len(received) <= MESSAGE_LIMIT_BYTES and (chunk := connection.recv(65_536)):
        received += chunk
    return bytes(received)


def answer_to(document: bytes, media: Path, config: Path) -> str:
    """Write what is wanted; the line that says how it went."""
    try:
        if len(document) > MESSAGE_LIMIT_BYTES:
            raise ValueError(f"expected at most {MESSAGE_LIMIT_BYTES} bytes")
        write(parse_delivery(document), media.resolve(), config)
    except Overdue:
        return _OVERDUE
    except OSError as exc:
        return _WORDS.get(exc.errno or 0) or f"it cannot be written to: {exc.strerror or exc}"
    except CannotWrite as exc:
        return str(exc)
    except ValueError as exc:
        return f"caisson-stick was not understood: {exc}"
    return OK


def write(delivery: Delivery, media: Path, config: Path) -> None:
    """Write the files of a delivery to its medium.

    Raises:
        CannotWrite: what is wrong, for people.
        OSError: as the kernel answers.
        Overdue: it takes too long.
    """
    files = {name: text.encode(errors="replace") for name, text in delivery.files.items()}
    with _lock(media), _opened(delivery, media, config) as root, writable(root, media):
        write_files(root, delivery.host, files)
        sync(root)


@contextmanager
def _opened(delivery: Delivery, media: Path, config: Path) -> Iterator[int]:
    """The topmost folder of a medium that is served, and that is the one that is meant."""
    place = delivery.place
    if ".." in place.parts or not _is_served(place, media, config):
        raise CannotWrite("it is not mounted where media are served")
    root = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        mount = mount_of(root)
        if mount.point != place.resolve():
            raise CannotWrite("it was removed")
        if not _is_meant(delivery, device_at(root), sequence_of(mount.device)):
            raise CannotWrite("another one is in its place")
        yield root
    finally:
        os.close(root)


def _is_meant(delivery: Delivery, device: str, sequence: str | None) -> bool:
    """Whether it is not another one that was plugged in since, as far as the delivery knows."""
    return delivery.device in ("", device) and delivery.sequence in ("", sequence)


def _is_served(place: Path, media: Path, config: Path) -> bool:
    if place.parent.resolve().is_relative_to(media):
        return True
    return any(place.resolve().is_relative_to(root) for root in resolve_roots(_roots(config)))


def _roots(config: Path) -> tuple[Path, ...]:
    """`[media] roots`, read without all that the daemon's settings need. A mistake there means none."""
    try:
        with config.open("rb") as file:
            roots = tomllib.load(file).get("media", {}).get("roots", [])
        return tuple(Path(root) for root in roots if isinstance(root, str) and root.startswith("/"))
    except (OSError, ValueError, AttributeError, TypeError):
        return ()


@contextmanager
def _lock(media: Path) -> Iterator[None]:
    """Nobody else writes to a medium, or makes one read-only, meanwhile."""
    descriptor = os.open(media, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def tidy(media: Path) -> int:
    """Make read-only again what a program that was killed left writable; the exit code."""
    try:
        with _lock(media):
            make_all_read_only(media.resolve())
    except FileNotFoundError:
        return 0
    except (CannotWrite, OSError, Overdue) as exc:
        print(f"<3>cannot make a medium read-only again: {exc}", file=sys.stderr)
        return 1
    return 0


def take_signals(deadline_s: int = DEADLINE_S) -> None:
    """From now on a signal, and the deadline, end what goes on."""
    for number in ENDING:
        signal.signal(number, _on_signal)
    signal.alarm(deadline_s)


def _on_signal(number: int, _frame: FrameType | None) -> None:
    """Whatever goes on ends at once; on its way out it puts the medium back, and is not disturbed in that."""
    for other in ENDING:
        signal.signal(other, signal.SIG_IGN)
    if number == signal.SIGALRM:
        raise Overdue
    raise SystemExit(128 + number)


def run(arguments: Sequence[str]) -> int:
    """Run the program; the exit code."""
    parser = argparse.ArgumentParser(
        prog="caisson-stick",
        description="Writes receipts of Caisson to a medium. Started by caisson-stick.socket.",
    )
    parser.add_argument("what", nargs="?", choices=("serve", "tidy"), default="serve")
    parser.add_argument("--media", type=Path, default=MEDIA, help="where caisson-mount mounts")
    parser.add_argument("--config", type=Path, default=CONFIG, help="the settings, for [media] roots")
    parser.add_argument("--deadline-secs", type=int, default=DEADLINE_S, help="when to give up")
    given = parser.parse_args(arguments)
    take_signals(given.deadline_secs)
    os.umask(0o022)
    if given.what == "tidy":
        return tidy(given.media)
    with socket.socket(fileno=os.dup(0)) as connection:
        return serve(connection, given.media, given.config)


def main() -> None:
    """The entry point `caisson-stick`."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
