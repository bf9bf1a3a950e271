"""The descriptors that tell of media: the kernel's mount table, and udev's block events. For the main thread's poll.

Owned here and not by pyudev's MonitorObserver, whose thread dies silently when its socket overflows (pyudev#194). On
any error a new monitor is made. The mount table alone is enough: udev only makes it quicker to notice a yank.
"""

import os
import select
from collections.abc import Callable
from enum import Flag, auto
from pathlib import Path
from typing import Protocol

import pyudev

from caissond.intake.mounts import MOUNTINFO

_MOST_EVENTS = 1000
# libudev gives itself 128 MiB of kernel memory where it may. This holds some 300 events; losing one costs nothing.
_BUFFER_BYTES = 128 * 1024
# What containers, snaps and swap make; none of it is ever plugged in.
_NOT_PLUGGED_IN = ("loop", "dm-", "nbd", "ram", "zram", "md")

REST_S = 5.0
"""Docker's health checks mount and unmount all the time (runc does); the mount table is looked at once in this time."""
EAGER_REST_S = 0.1
EAGER_S = 5.0
"""How long after a word of udev a mount is waited for."""


class Noticed(Flag):
    """What may be otherwise than before."""

    NOTHING = 0
    MOUNTS = auto()
    DEVICES = auto()


class Pace:
    """How often the mount table is looked at: seldom, but while something is being plugged in."""

    def __init__(self) -> None:
        self._quiet_until = 0.0
        self._eager_until = 0.0

    def after(self, noticed: Noticed, now: float) -> None:
        """Something was noticed, and looked at.

        Args:
            now: on any clock that does not jump.
        """
        if Noticed.MOUNTS in noticed:
            self._quiet_until = now + (EAGER_REST_S if now < self._eager_until else REST_S)
        if Noticed.DEVICES in noticed:
            self._eager_until = now + EAGER_S
            self._quiet_until = min(self._quiet_until, now + EAGER_REST_S)

    def rest_s(self, now: float) -> float:
        """How long the mount table is left alone from now on; 0 when it is not."""
        return max(0.0, self._quiet_until - now)


class Monitor(Protocol):
    """A source of device events."""

    def fileno(self) -> int:
        """A descriptor that is readable while there are events."""

    def drain(self) -> bool:
        """Take the events that are there; whether any was about something that may have been plugged in or pulled out.

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
        matters = False
        for _ in range(_MOST_EVENTS):  # a flood must not keep the main thread here; the rest wakes it again
            device = self._monitor.poll(timeout=0)
            if device is None:
                break
            matters |= not str(device.sys_name).startswith(_NOT_PLUGGED_IN)
        return matters


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

    def descriptors(self, *, resting: bool = False) -> dict[int, int]:
        """What to poll (with `select.poll`, not epoll), and for which events. The same as long as this lives.

        Args:
            resting: without the mount table. An empty event mask would not silence it: poll(2) reports POLLERR unasked.
        """
        events = {self._events: select.POLLIN}
        # The table is always readable; POLLPRI says that it changed, and asking takes it back (fs/proc_namespace.c).
        return events if resting else {self._mounts: select.POLLPRI | select.POLLERR, **events}

    def drain(self, descriptor: int) -> Noticed:
        """Take what woke the poll; what is worth looking at again."""
        if descriptor == self._mounts:
            if self._monitor is None:
                self._renew()
            return Noticed.MOUNTS
        if self._monitor is None:
            return Noticed.NOTHING
        try:
            return Noticed.DEVICES if self._monitor.drain() else Noticed.NOTHING
        except OSError:
            self._renew()
            return Noticed.MOUNTS | Noticed.DEVICES

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
