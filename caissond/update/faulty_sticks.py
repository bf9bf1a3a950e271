"""Sticks of which nothing is mounted, so that nobody would ever say a word about them: each is told once."""

import time
from collections.abc import Callable, Collection
from pathlib import Path

from caissond.intake.mounts import Mount, read_mounts
from caissond.intake.sticks import Fault, Stick, Wait, judge, mounted_volumes
from caissond.intake.udev import find_sticks
from caissond.report.bus import Bus


class FaultySticks:
    """What was told of which stick. For one thread."""

    def __init__(
        self,
        bus: Bus,
        *,
        sticks: Callable[[], tuple[Stick, ...]] = find_sticks,
        mounts: Callable[[], tuple[Mount, ...]] = read_mounts,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            clock: the one that udev's times are on.
        """
        self._bus = bus
        self._sticks = sticks
        self._mounts = mounts
        self._clock = clock
        self._told: dict[tuple[str, str], Fault] = {}
        self._were_mounted: dict[tuple[str, str], set[str]] = {}
        """By stick: its volumes that were mounted since it was plugged in."""

    def look(self, media: Collection[Path]) -> float | None:
        """Tell what is news.

        Args:
            media: where the media that are looked at are mounted.

        Returns:
            After how many seconds to look again; None: when udev or the mount table has something to say.
        """
        sticks = {(stick.name, stick.sequence): stick for stick in self._sticks()}
        for gone in self._told.keys() - sticks.keys():
            del self._told[gone]
            self._bus.tell("media.gone", f"{gone[0]}: removed", medium=gone[0])
        mounts = self._mounts() if sticks else ()
        self._were_mounted = {
            key: self._were_mounted.get(key, set()) | mounted_volumes(stick, mounts)
            for key, stick in sticks.items()
        }
        waits = [self._judge(key, stick, mounts, media) for key, stick in sticks.items()]
        return min((wait_s for wait_s in waits if wait_s is not None), default=None)

    def _judge(
        self, key: tuple[str, str], stick: Stick, mounts: tuple[Mount, ...], media: Collection[Path]
    ) -> float | None:
        verdict = judge(stick, mounts, media, self._clock(), were_mounted=self._were_mounted[key])
        if isinstance(verdict, Wait):
            return verdict.seconds
        if verdict is not None and verdict != self._told.get(key):
            self._told[key] = verdict
            self._bus.tell(verdict.code, verdict.text, medium=stick.name)
        return None
