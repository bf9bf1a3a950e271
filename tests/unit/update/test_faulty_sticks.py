"""Sticks that are not mounted are told once, and when they are pulled out."""

from dataclasses import replace
from pathlib import Path

from caissond.intake.mounts import Mount, parse_mounts
from caissond.intake.sticks import MOUNT_S, SETTLE_S, Stick, Volume
from caissond.model.events import Event
from caissond.report.bus import Bus
from caissond.update.faulty_sticks import FaultySticks

NTFS = Stick("sdb", "7", (Volume("sdb", "8:16", seen_s=100, usage="filesystem", fs_type="ntfs"),))
VFAT = Stick("sdc", "8", (Volume("sdc", "8:32", seen_s=95, usage="filesystem", fs_type="vfat"),))
MEDIUM = Path("/run/caisson/media/sdc")


class Desk:
    """A port to plug sticks into."""

    def __init__(self) -> None:
        self.told: list[Event] = []
        self.now = 100.0
        self.plugged: tuple[Stick, ...] = ()
        self.mounts: tuple[Mount, ...] = ()
        self.faulty = FaultySticks(
            Bus([lambda event: self.told.append(event)]),
            sticks=lambda: self.plugged,
            mounts=lambda: self.mounts,
            clock=lambda: self.now,
        )

    def look(self, *plugged: Stick, after_s: float = 0) -> float | None:
        self.now += after_s
        self.plugged = plugged
        return self.faulty.look([mount.point for mount in self.mounts])

    def mount(self) -> None:
        self.mounts = parse_mounts(f"30 1 8:32 / {MEDIUM} ro - vfat /dev/sdc ro".encode())

    def said(self) -> list[str]:
        return [event.text for event in self.told]


def test_stick_is_told_once_after_a_short_while() -> None:
    desk = Desk()
    assert desk.look(NTFS) == SETTLE_S
    assert desk.said() == []
    assert desk.look(NTFS, after_s=SETTLE_S) is None
    desk.look(NTFS, after_s=60)
    assert [event.code for event in desk.told] == ["media.unsupported"]
    assert desk.told[0].fields == {"medium": "sdb"}


def test_stick_is_told_again_when_it_is_plugged_in_again() -> None:
    desk = Desk()
    desk.look(NTFS, after_s=60)
    desk.look(replace(NTFS, sequence="8"), after_s=60)
    assert desk.said() == [
        "sdb: cannot be used: sdb (ntfs)",
        "sdb: removed",
        "sdb: cannot be used: sdb (ntfs)",
    ]


def test_stick_that_was_never_told_is_not_told_when_it_goes() -> None:
    desk = Desk()
    desk.look(NTFS)
    desk.look()
    assert desk.said() == []


def test_stick_that_is_unmounted_before_it_is_pulled_is_no_fault() -> None:
    desk = Desk()
    desk.mount()
    desk.look(VFAT)
    desk.mounts = ()
    assert desk.look(VFAT, after_s=MOUNT_S) is None
    desk.look()
    assert desk.said() == []


def test_stick_that_comes_after_one_that_was_unmounted_is_told() -> None:
    desk = Desk()
    desk.mount()
    desk.look(VFAT)
    desk.mounts = ()
    desk.look(replace(VFAT, sequence="9"), after_s=MOUNT_S)
    assert desk.said() == ["sdc: cannot be mounted: sdc (vfat)"]


def test_several_sticks_are_looked_at_again_when_the_first_is_due() -> None:
    assert Desk().look(NTFS, VFAT) == min(SETTLE_S, MOUNT_S - 5)


def test_without_udev_nothing_is_told_and_nothing_is_waited_for() -> None:
    desk = Desk()
    assert desk.look() is None
    assert desk.said() == []
