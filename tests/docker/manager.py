"""What systemd would hear: a real datagram socket for sd_notify, and everything that came, with its time."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

_MARK = b"\0"
"""Nobody says this to systemd."""
_DEADLINE_S = 60


class NotifySocket:
    """Collects datagrams until it is closed. To be asked from one thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._said: list[tuple[float, str]] = []
        self._caught_up = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def said(self) -> list[str]:
        """Every datagram that was sent before now."""
        self._catch_up()
        return [text for _, text in self._said]

    def times_of(self, text: str) -> list[float]:
        """When this was said, on the monotonic clock."""
        self._catch_up()
        return [at for at, said in self._said if said == text]

    def longest_silence_s(self, text: str, since: float) -> float:
        """How long this was not said at most, from a time of the monotonic clock until it was said last."""
        times = [since, *(at for at in self.times_of(text) if at > since)]
        return max(later - earlier for earlier, later in pairwise(times))

    def statuses(self) -> list[str]:
        return [text.removeprefix("STATUS=") for text in self.said() if text.startswith("STATUS=")]

    def where(self, part: str) -> int:
        """The position of the first datagram that holds this."""
        return next(number for number, text in enumerate(self.said()) if part in text)

    def close(self) -> None:
        self._send(b"")
        self._thread.join()
        self._socket.close()

    def _catch_up(self) -> None:
        """Datagrams are heard in the order in which they were sent: what a process said last may be on its way yet."""
        self._caught_up.clear()
        self._send(_MARK)
        assert self._caught_up.wait(_DEADLINE_S)

    def _send(self, datagram: bytes) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as us:
            us.sendto(datagram, str(self.path))

    def _listen(self) -> None:
        while datagram := self._socket.recv(65536):
            if datagram == _MARK:
                self._caught_up.set()
            else:
                self._said.append((time.monotonic(), datagram.decode()))


@contextmanager
def notify_socket(folder: Path) -> Iterator[NotifySocket]:
    listener = NotifySocket(folder / "notify")
    try:
        yield listener
    finally:
        listener.close()
