"""What systemd would hear: a real datagram socket for sd_notify, and everything that came, with its time."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class NotifySocket:
    """Collects datagrams until it is closed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._said: list[tuple[float, str]] = []
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def said(self) -> list[str]:
        """Every datagram so far."""
        return [text for _, text in self._said]

    def times_of(self, text: str) -> list[float]:
        """When this was said, on the monotonic clock."""
        return [at for at, said in self._said if said == text]

    def statuses(self) -> list[str]:
        return [text.removeprefix("STATUS=") for text in self.said() if text.startswith("STATUS=")]

    def where(self, part: str) -> int:
        """The position of the first datagram that holds this."""
        return next(number for number, text in enumerate(self.said()) if part in text)

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", str(self.path))
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        while datagram := self._socket.recv(65536):
            self._said.append((time.monotonic(), datagram.decode()))


@contextmanager
def notify_socket(folder: Path) -> Iterator[NotifySocket]:
    listener = NotifySocket(folder / "notify")
    try:
        yield listener
    finally:
        listener.close()
