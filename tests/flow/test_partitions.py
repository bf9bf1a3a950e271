"""When a stick with two partitions may be removed: it is pulled as a whole. A worker on fakes."""

from pathlib import Path

import pytest

from caissond.intake.scan import Origin, Place
from caissond.model.events import Event
from tests.flow.device import World, package
from tests.flow.test_visits import Stick

FIRST, SECOND = "sdb1", "sdb2"
PACKAGES = {FIRST: package(version="1.2.3", crashes=True), SECOND: package(version="1.2.2")}
"""The newest comes first."""


class Halves(Stick):
    """A stick with two partitions: `path` is the first one."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.mounted = {name: self.path.with_name(name) for name in (FIRST, SECOND)}
        self.are_read_only = True
        self.sequences = dict.fromkeys(self.mounted, "7")
        for path in self.mounted.values():
            path.mkdir()

    def places(self) -> tuple[Place, ...]:
        return tuple(
            Place(path, Origin.MEDIA, read_only=self.are_read_only, sequence=self.sequences[name])
            for name, path in self.mounted.items()
        )

    def fill(self) -> None:
        for name, content in PACKAGES.items():
            (self.mounted[name] / "a.edgepkg").write_bytes(content)

    def done(self) -> list[str]:
        return [event.fields["medium"] for event in self.world.events if event.code == "media.done"]

    def done_before_last(self, code: str) -> list[str]:
        """Those of which it had been said when this was told last."""
        events = self.world.events
        last = max(number for number, event in enumerate(events) if event.code == code)
        return [event.fields["medium"] for event in events[:last] if event.code == "media.done"]


@pytest.fixture
def halves(tmp_path: Path) -> Halves:
    return Halves(World.make(tmp_path))


def test_partition_whose_package_is_done_waits_for_the_other_one(halves: Halves) -> None:
    halves.fill()
    halves.look()
    assert halves.done_before_last("update.loading") == []
    assert halves.done_before_last("update.stopping_old") == [FIRST, SECOND]
    assert halves.done() == [FIRST, SECOND]


def test_partitions_of_two_sticks_do_not_wait_for_each_other(halves: Halves) -> None:
    halves.sequences[SECOND] = "8"
    halves.fill()
    halves.look()
    assert halves.done_before_last("update.loading") == [FIRST]
    assert halves.done() == [FIRST, SECOND]


def test_partition_without_a_package_keeps_nobody_waiting(halves: Halves) -> None:
    (halves.path.with_name(FIRST) / "a.edgepkg").write_bytes(PACKAGES[SECOND])
    halves.look()
    assert halves.done_before_last("update.stopping_old") == [FIRST]
    assert halves.done() == [FIRST]


def test_partition_waits_for_what_still_grows_beside_it(halves: Halves) -> None:
    halves.are_read_only = False
    halves.fill()
    half = halves.mounted[SECOND] / "a.edgepkg"
    half.write_bytes(PACKAGES[SECOND][:3000])
    with halves.worker() as worker:
        worker.look()
        worker.look()
        assert "update.rolled_back" in halves.told()
        assert halves.done() == []
        half.unlink()
        for _ in range(3):
            worker.look()
    assert halves.done() == [FIRST, SECOND]


def test_partition_that_is_unmounted_keeps_nobody_waiting_any_more(halves: Halves) -> None:
    halves.are_read_only = False
    halves.fill()
    (halves.mounted[SECOND] / "a.edgepkg").write_bytes(PACKAGES[SECOND][:3000])
    with halves.worker() as worker:
        worker.look()
        worker.look()
        assert halves.done() == []
        del halves.mounted[SECOND]
        worker.look()
    assert halves.done() == [FIRST]


def mount_second_in_the_middle(halves: Halves) -> None:
    """The second partition comes while the first one's good package is read."""
    second = halves.mounted.pop(SECOND)
    (halves.mounted[FIRST] / "a.edgepkg").write_bytes(PACKAGES[SECOND])

    def mount(event: Event) -> None:
        if event.code == "update.loading":
            halves.mounted[SECOND] = second

    halves.world.on_event = mount


def test_partition_that_is_mounted_in_the_middle_of_an_update_is_looked_at_first(halves: Halves) -> None:
    (halves.mounted[SECOND] / "a.edgepkg").write_bytes(PACKAGES[FIRST])
    mount_second_in_the_middle(halves)
    with halves.worker() as worker:
        worker.look()
        assert "update.committed" in halves.told()
        assert halves.done() == []
        worker.look()
    assert halves.done_before_last("package.received") == []
    assert halves.done() == [FIRST, SECOND]


def test_partition_that_is_found_empty_in_the_end_keeps_nobody_waiting(halves: Halves) -> None:
    mount_second_in_the_middle(halves)
    with halves.worker() as worker:
        worker.look()
        assert halves.done() == []
        worker.look()
    assert halves.done() == [FIRST]
