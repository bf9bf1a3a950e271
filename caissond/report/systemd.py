"""The talk with the service manager (sd_notify(3)), and the worker's pulse that decides whether its watchdog is fed.

Without `$NOTIFY_SOCKET` nothing is said. Nothing here ever raises: systemd's absence is no reason to stop an update.
"""

import os
import time
from contextlib import suppress

import sdnotify

from caissond.model.text import printable

STATUS_LIMIT = 200


class ServiceManager:
    """Tells systemd how the daemon is."""

    def __init__(self) -> None:
        # SystemdNotifier without the variable leaks the socket it has made by then (sdnotify 0.3.2)
        self._notifier = sdnotify.SystemdNotifier() if os.environ.get("NOTIFY_SOCKET") else None

    def ready(self) -> None:
        """Recovered, scanned, at work. Also said when a reload is done."""
        self._notify("READY=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._notify(f"STATUS={printable(text, limit=STATUS_LIMIT)}")

    def watchdog(self) -> None:
        """Feed the watchdog."""
        self._notify("WATCHDOG=1")

    def reloading(self) -> None:
        """Settings are read again; `ready` ends it. Type=notify-reload wants the time in the same datagram."""
        self._notify(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        self._notify("STOPPING=1")

    def extend_timeout(self, seconds: float) -> None:
        """Ask for this much more time, from now, to start or to stop."""
        self._notify(f"EXTEND_TIMEOUT_USEC={int(seconds * 1_000_000)}")

    @property
    def watchdog_interval_s(self) -> float | None:
        """How often to feed the watchdog: half of its time, as sd_watchdog_enabled(3) advises; None without one."""
        if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
            return None
        with suppress(ValueError):
            usec = int(os.environ.get("WATCHDOG_USEC", ""))
            return usec / 2_000_000 if usec > 0 else None
        return None

    def close(self) -> None:
        if self._notifier is not None and self._notifier.socket is not None:
            self._notifier.socket.close()

    def _notify(self, state: str) -> None:
        if self._notifier is not None:
            # sdnotify 0.3.2 encodes as Latin-1 and drops what does not fit; systemd wants UTF-8
            self._notifier.notify(state.encode().decode("latin-1"))
