"""The worker's pulse: systemd's watchdog is fed only while the worker makes progress or waits for work."""

import threading
import time
from collections.abc import Callable


class Heartbeat:
    """Written by the worker, read by whoever feeds the watchdog.

    It tells a worker that hangs from one that works. It does **not** notice a worker that died while it waited: look
    at the thread itself.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._silent_until: float | None = None

    def beat(self, silent_s: float = 0.0) -> None:
        """Progress was made; the next sign may take `silent_s` longer than usual."""
        with self._lock:
            self._silent_until = self._clock() + silent_s

    def idle(self) -> None:
        """The worker waits for work: silence is right."""
        with self._lock:
            self._silent_until = None

    def alive(self, now: float, limit_s: float) -> bool:
        """Whether the worker is well.

        Args:
            now: on the clock that the heartbeat was made with.
            limit_s: the longest silence, on top of what was announced.
        """
        with self._lock:
            return self._silent_until is None or now - self._silent_until <= limit_s
