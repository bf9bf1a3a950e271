"""The descriptors that tell of media: the kernel's mount table, and udev's block events. For the main thread's poll.

Owned here and not by pyudev's MonitorObserver, whose thread dies silently when its socket overflows (pyudev#194). On
any error a new monitor is made. The mount table alone is enough: udev only makes it quicker to notice a yank.
"""

import os
import select
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pyudev

from caissond.intake.mounts import MOUNTINFO

_MOST_EVENTS = 1000
# libudev gives itself 128 MiB of kernel memory where it may. This holds some 300 events; losing one costs nothing.
_BUFFER_BYTES = 128 * 1024


class Monitor(Protocol):
    """A source of device events."""

    def fileno(self) -> int:
        """A descriptor that is readable while there are events."""

    def drain(self) -> bool:
        """Take the events that are there; whether there were any.

        Raises:
            OSError: events were lost; the monitor is of no use any more.
        """


class UdevMonitor:
    """The adapter for pyudev: block devices, after udev has handled them."""

    def __init__(self) -> None:
        """
        Raises:
            OSError: no netlink socket.
            ImportError: no libudev.
        """
        self._monitor = pyudev.Monitor.from_netlink(pyudev.Context())
        self._monitor.filter_by("block")
        self._monitor.set_receive_buffer_size(_BUFFER_BYTES)
        self._monitor.start()

    def fileno(self) -> int:
        return int(self._monitor.fileno())

    def drain(self) -> bool:
        seen = 0
        # a flood must not keep the main thread here; the rest wakes it again
        while seen < _MOST_EVENTS and self._monitor.poll(timeout=0) is not None:
            seen += 1
        return seen > 0


class MediaWatch:
    """Says when to look at the media again. What is there is found out by looking (`mounts.find_media`)."""

    def __init__(self, *, connect: Callable[[], Monitor] = UdevMonitor, mountinfo: Path = MOUNTINFO) -> None:
        """Events from now on are noticed, so whoever looks after this misses nothing.

        Args:
            connect: makes a started monitor; OSError or ImportError when there is none.
        """
        self._connect = connect
        self._monitor: Monitor | None = None
        self._mounts = os.open(mountinfo, os.O_RDONLY | os.O_CLOEXEC)
        self._silence = os.eventfd(0, os.EFD_CLOEXEC)
        # A duplicate, so that its number stays the same whatever monitor is behind it.
        self._events = os.dup(self._silence)
        self._renew()

    def descriptors(self) -> dict[int, int]:
        """What to poll (with `select.poll`, not epoll), and for which events. The same as long as this lives."""
        # The table is always readable; POLLPRI says that it changed, and asking takes it back (fs/proc_namespace.c).
        return {self._mounts: select.POLLPRI | select.POLLERR, self._events: select.POLLIN}

    def drain(self, descriptor: int) -> bool:
        """Take what woke the poll; whether looking again is worth it."""
        if descriptor == self._mounts:
            if self._monitor is None:
                self._renew()
            return True
        if self._monitor is None:
            return False
        try:
            return self._monitor.drain()
        except OSError:
            self._renew()
            return True

    def close(self) -> None:
        self._monitor = None
        for descriptor in (self._mounts, self._silence, self._events):
            os.close(descriptor)

    def _renew(self) -> None:
        try:
            self._monitor = self._connect()
            source = self._monitor.fileno()
        except (OSError, ImportError):
            self._monitor = None
            source = self._silence
        os.dup2(source, self._events, inheritable=False)
