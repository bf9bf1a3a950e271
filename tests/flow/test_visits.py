"""When a stick may be removed, and what is left on it: a worker on fakes, and the program that writes for real."""

import json
import os
import socket
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from caissond.errors import ConfigError, HostUnavailable
from caissond.intake.scan import Origin, Place, Scanner
from caissond.model.events import Event
from caissond.package.validate import is_whole_file
from caissond.report.led_patterns import State
from caissond.report.led_states import Situation, after_event, states
from caissond.report.stick_files import host_folder
from caissond.update.order import MOST_TURNS
from caissond.update.worker import FIRST_WAIT_S, Worker
from tests.flow.device import World, package
from tests.flow.faults import Killed, kill

MEDIUM = "stick"


class Stick:
    """A medium of this world, and the daemon's worker that looks at it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.path = world.paths.media / MEDIUM
        self.path.mkdir(parents=True)
        self.is_in = True
        self.is_read_only = True
        self.sequence = ""
        self.receipts = self.path / "caisson-receipts" / host_folder(socket.gethostname())

    def put(self, name: str, content: bytes = b"") -> None:
        (self.path / name).write_bytes(content)

    def places(self) -> tuple[Place, ...]:
        place = Place(self.path, Origin.MEDIA, read_only=self.is_read_only, sequence=self.sequence)
        return (place,) if self.is_in else ()

    @contextmanager
    def worker(self) -> Iterator[Worker]:
        clock = count()
        with self.world.device() as device:
            scanner = Scanner(is_whole=is_whole_file, clock=lambda: next(clock), incomplete_s=30)
            yield Worker(device, scanner, self.places)

    def look(self, *, times: int = 1) -> None:
        with self.worker() as worker:
            for _ in range(times):
                worker.look()

    def told(self) -> list[str]:
        return [event.code for event in self.world.events]

    def during(self, code: str, act: Callable[[], object]) -> None:
        """Do this when that is told."""

        def on_event(event: Event) -> None:
            if event.code == code:
                act()

        self.world.on_event = on_event


@pytest.fixture
def stick(tmp_path: Path) -> Stick:
    return Stick(World.make(tmp_path))


def test_stick_may_be_removed_while_the_gate_runs(stick: Stick) -> None:
    stick.put("a.edgepkg", package())
    stick.look()
    told = stick.told()
    assert told.index("update.loading") < told.index("media.done") < told.index("update.stopping_old")
    assert told.count("media.done") == 1
    assert told.index("update.committed") > told.index("media.done")


def test_of_several_packages_the_last_one_says_that_the_stick_may_be_removed(stick: Stick) -> None:
    stick.put("a.edgepkg", package(version="1.2.3", crashes=True))
    stick.put("b.edgepkg", package(version="1.2.2"))
    stick.look()
    told = stick.told()
    assert told.count("media.done") == 1
    assert told.index("media.done") > told.index("update.rolled_back")
    assert told[told.index("media.done") :].count("update.stopping_old") == 1


def test_stick_with_ten_thousand_packages_is_told_in_as_many_lines_as_get_a_turn(stick: Stick) -> None:
    stick.put("a.edgepkg", package())
    for number in range(10_000):
        os.link(stick.path / "a.edgepkg", stick.path / f"b{number}.edgepkg")
    stick.look(times=2)
    told = Counter(stick.told())
    assert (told["media.too_many_packages"], told["media.done"], told["update.committed"]) == (1, 1, 1)
    assert told["package.handled_before"] == MOST_TURNS - 1
    assert told.total() < MOST_TURNS + 20


def test_stick_that_is_pulled_when_it_may_be_does_not_disturb_the_update(stick: Stick) -> None:
    stick.put("a.edgepkg", package())

    def pull() -> None:
        (stick.path / "a.edgepkg").unlink()
        stick.is_in = False

    stick.during("media.done", pull)
    stick.look(times=2)
    assert stick.world.version() == "new"
    assert stick.world.broken_promises() == []
    assert stick.told()[-1] == "media.gone"


def test_stick_is_wanted_again_when_the_update_is_cut_off(stick: Stick) -> None:
    stick.put("a.edgepkg", package())

    def end_docker() -> None:
        stick.world.docker.is_down = True

    stick.during("update.stopping_old", end_docker)
    with pytest.raises(HostUnavailable):
        stick.look()
    assert [code for code in stick.told() if code.startswith("media.")] == [
        "media.found",
        "media.done",
        "media.needed",
    ]


def test_stick_that_was_pulled_too_early_is_asked_for(stick: Stick) -> None:
    stick.put("a.edgepkg", package())

    def pull_and_stop() -> None:
        stick.is_in = False
        stick.world.running_device.stop.set()

    stick.during("media.done", pull_and_stop)
    stick.look()
    (needed,) = [event for event in stick.world.events if event.code == "media.needed"]
    assert needed.text == "stick: is wanted again, plug it in again"
    assert stick.world.version() == "old"


def hook_says_later(stick: Stick) -> None:
    def later(fields: object) -> None:
        raise HostUnavailable(f"cannot begin yet: {fields}", code="hook.later")

    stick.world.running_device.veto = later


def test_stick_with_a_package_that_has_to_wait_is_not_said_to_be_done(stick: Stick) -> None:
    stick.put("a.edgepkg", package())
    with stick.worker() as worker:
        hook_says_later(stick)
        assert worker.look().after_s == FIRST_WAIT_S
        stick.put("other.edgepkg", b"no package" + bytes(2048))
        worker.look()
    assert "media.done" not in stick.told()


def test_package_that_is_added_later_makes_the_stick_wanted_again(stick: Stick) -> None:
    stick.put("a.edgepkg", package())
    stick.is_read_only = False
    with stick.worker() as worker:
        worker.look()
        worker.look()
        stick.put("b.edgepkg", package(version="1.2.4"))
        worker.look()
        worker.look()
    media = [code for code in stick.told() if code.startswith("media.")]
    assert media == ["media.found", "media.done", "media.needed", "media.done"]


def test_file_that_grows_keeps_the_stick_wanted_until_it_is_given_up(stick: Stick) -> None:
    stick.is_read_only = False
    stick.put("a.edgepkg", package())
    stick.put("b.edgepkg", package(version="1.2.4")[:3000])
    with stick.worker() as worker:
        worker.look()
        assert "update.committed" in stick.told()
        assert "media.done" not in stick.told()
        for _ in range(40):
            worker.look()
    media = [code for code in stick.told() if code.startswith("media.")]
    assert media == ["media.found", "media.incomplete", "media.done"]


def cut_off(stick: Stick, worker: Worker) -> None:
    """Docker goes in the middle of the first update, and is back."""

    def end_docker() -> None:
        stick.world.docker.is_down = True

    stick.during("update.stopping_old", end_docker)
    with pytest.raises(HostUnavailable):
        worker.look()
    stick.world.docker.is_down = False


def only_media(stick: Stick) -> list[str]:
    return [code for code in stick.told() if code.startswith("media.")]


def test_stick_whose_package_was_cut_off_and_then_deleted_may_be_removed(stick: Stick) -> None:
    stick.is_read_only = False
    stick.put("a.edgepkg", package())
    with stick.worker() as worker:
        cut_off(stick, worker)
        (stick.path / "a.edgepkg").unlink()
        worker.look()
        worker.look()
    assert only_media(stick) == ["media.found", "media.done", "media.needed", "media.done"]


def test_stick_of_which_a_file_was_deleted_while_it_grew_may_be_removed(stick: Stick) -> None:
    stick.is_read_only = False
    stick.put("a.edgepkg", package()[:3000])
    with stick.worker() as worker:
        worker.look()
        (stick.path / "a.edgepkg").unlink()
        worker.look()
        worker.look()
    assert only_media(stick) == ["media.found", "media.done"]


# What is left on it. The program that writes runs for real, so the stick is a mount.

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture
def mounted(stick: Stick) -> Iterator[Stick]:
    """A stick that somebody mounted writable."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "stick", stick.path], check=True)
    yield stick
    while os.path.ismount(stick.path):
        subprocess.run(["umount", "--lazy", stick.path], check=True)


def with_receipts(stick: Stick) -> Stick:
    config = stick.world.paths.config
    config.write_text(config.read_text() + "[media]\nreceipts = true\n")
    return stick


@needs_root
def test_receipt_is_on_the_stick_before_it_may_be_removed(mounted: Stick) -> None:
    stick = with_receipts(mounted)
    stick.put("a.edgepkg", package())
    stick.look()
    told = stick.told()
    assert told.index("update.committed") < told.index("media.receipt") < told.index("media.done")
    (text,) = stick.receipts.glob("*.txt")
    (document,) = stick.receipts.glob("*.json")
    assert text.read_text().startswith("UPDATED: frontend now runs version 1.2.3\n")
    assert json.loads(document.read_text())["outcome"] == "succeeded"
    assert text.name in {path.name for path in stick.world.paths.receipts.iterdir()}


@needs_root
@pytest.mark.parametrize(
    ("code", "crashes", "receipt"),
    [
        ("update.checking", False, "UPDATED: frontend now runs version 1.2.3"),
        ("update.committed", False, "NOTHING TO DO: frontend runs version 1.2.3 already"),
        ("update.rolled_back", True, "REFUSED: a.edgepkg was not used; nothing was changed"),
    ],
)
def test_stick_that_is_in_after_a_crash_gets_a_receipt(
    mounted: Stick, code: str, crashes: bool, receipt: str
) -> None:
    """Of what is found then, where the verdict was there before."""
    stick = with_receipts(mounted)
    stick.put("a.edgepkg", package(crashes=crashes))
    stick.during(code, partial(kill, stick.world))
    with pytest.raises(Killed):
        stick.look()
    stick.during("", ignore)
    stick.world.settle()
    stick.look()
    (text,) = stick.receipts.glob("*.txt")
    assert text.read_text().splitlines()[0] == receipt


def ignore() -> None:
    """Nothing strikes any more."""


@needs_root
def test_nothing_is_written_to_a_stick_unless_the_settings_say_so(mounted: Stick) -> None:
    mounted.put("a.edgepkg", package())
    mounted.look()
    assert [path.name for path in mounted.path.iterdir()] == ["a.edgepkg"]


@needs_root
def test_refused_packages_get_their_receipts_together(mounted: Stick) -> None:
    stick = with_receipts(mounted)
    for name in ("a", "b", "c"):
        stick.put(f"{name}.edgepkg", name.encode() + bytes(2048))
    stick.look()
    assert stick.told().count("media.receipt") == 1
    assert len(list(stick.receipts.glob("*.txt"))) == 3


def fill(folder: Path) -> None:
    """To the last block."""
    with suppress(OSError), (folder / "film.mkv").open("wb", buffering=0) as film:
        while True:
            film.write(bytes(4096))


@needs_root
def test_full_stick_changes_no_verdict_and_is_told_once(mounted: Stick) -> None:
    stick = with_receipts(mounted)
    stick.put("a.edgepkg", package(crashes=True))
    stick.put("b.edgepkg", package(version="1.2.2"))
    fill(stick.path)
    stick.look()
    (failed,) = [event for event in stick.world.events if event.code == "media.receipt_failed"]
    assert failed.text == "stick: no receipt on the stick: it is full"
    assert stick.told()[-1] == "media.done"
    assert (stick.world.version(), stick.world.broken_promises()) == ("new", [])


@needs_root
def test_stick_that_is_pulled_before_its_receipt_is_told(mounted: Stick) -> None:
    stick = with_receipts(mounted)
    stick.put("a.edgepkg", package())

    def pull() -> None:
        subprocess.run(["umount", "--lazy", stick.path], check=True)
        stick.is_in = False

    stick.during("update.checking", pull)
    stick.look()
    (failed,) = [event for event in stick.world.events if event.code == "media.receipt_failed"]
    assert failed.text == "stick: no receipt on the stick: it was removed"
    assert "media.done" not in stick.told()
    assert stick.world.version() == "new"


@needs_root
@pytest.mark.parametrize("name", ["caisson-inventory", "caisson-inventory.txt"])
def test_stick_without_packages_gets_the_inventory_that_it_asks_for_once(mounted: Stick, name: str) -> None:
    mounted.put(name, b"whatever")
    mounted.look(times=3)
    assert mounted.told() == ["media.found", "media.inventory", "media.done"]
    inventory = json.loads((mounted.receipts / "inventory.json").read_text())
    assert inventory["schema"] == 1
    assert inventory["services"][0]["name"] == "frontend"
    assert (mounted.receipts / "inventory.txt").read_text().startswith("Device:")


@needs_root
def test_inventory_beside_a_package_tells_what_runs_after_it(mounted: Stick) -> None:
    mounted.put("caisson-inventory")
    mounted.put("a.edgepkg", package())
    mounted.look()
    told = mounted.told()
    assert told.index("update.committed") < told.index("media.inventory") < told.index("media.done")
    (service,) = json.loads((mounted.receipts / "inventory.json").read_text())["services"]
    assert (service["version"], service["state"], len(service["layers"])) == ("1.2.3", "running", 1)


def only_inventories(stick: Stick) -> list[str]:
    return [code for code in stick.told() if code in ("media.inventory", "media.receipt_failed")]


@needs_root
def test_stick_left_in_over_a_restart_is_not_written_to_again(mounted: Stick) -> None:
    mounted.put("caisson-inventory")
    mounted.look()
    file = mounted.receipts / "inventory.json"
    before = file.stat()
    (mounted.world.paths.state_dir / "fill").write_bytes(bytes(1 << 20))
    mounted.look()
    assert only_inventories(mounted) == ["media.inventory"]
    assert mounted.told()[-1] == "media.done"
    after = file.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@needs_root
def test_stick_left_in_over_a_restart_gets_an_inventory_that_says_something_new(mounted: Stick) -> None:
    mounted.put("caisson-inventory")
    mounted.look()
    mounted.world.update(mounted.world.write_package(package()))
    mounted.look()
    assert only_inventories(mounted) == ["media.inventory", "media.inventory"]
    (service,) = json.loads((mounted.receipts / "inventory.json").read_text())["services"]
    assert service["version"] == "1.2.3"


@needs_root
def test_receipt_does_not_go_to_another_stick_in_the_same_place(mounted: Stick) -> None:
    stick = with_receipts(mounted)
    stick.put("a.edgepkg", b"a" + bytes(2048))
    stick.sequence = "1000000000"
    stick.look()
    (failed,) = [event for event in stick.world.events if event.code == "media.receipt_failed"]
    assert failed.text == "stick: no receipt on the stick: another one is in its place"
    assert not stick.receipts.exists()


@needs_root
def test_plugging_in_again_asks_for_the_inventory_again(mounted: Stick) -> None:
    mounted.put("caisson-inventory")
    with mounted.worker() as worker:
        worker.look()
        mounted.is_in = False
        worker.look()
        mounted.is_in = True
        worker.look()
    assert mounted.told().count("media.inventory") == 2


@needs_root
def test_stick_that_comes_after_one_that_was_cut_off_may_be_removed(mounted: Stick) -> None:
    for name in ("a.edgepkg", "b.edgepkg"):
        mounted.put(name, package())
    with mounted.worker() as worker:
        cut_off(mounted, worker)
        mounted.is_in = False
        worker.look()
        for path in mounted.path.iterdir():
            path.unlink()
        mounted.put("caisson-inventory")
        mounted.is_in = True
        worker.look()
    assert only_media(mounted)[-4:] == ["media.gone", "media.found", "media.inventory", "media.done"]


@needs_root
@pytest.mark.parametrize("has_package", [False, True])
def test_device_without_a_catalog_gives_its_inventory_and_keeps_packages_waiting(
    mounted: Stick, has_package: bool
) -> None:
    mounted.put("caisson-inventory")
    if has_package:
        mounted.put("a.edgepkg", package())
    with mounted.worker() as worker:
        mounted.world.running_device.config_problem = ConfigError("cannot find", code="catalog.missing")
        worker.look()
    assert only_media(mounted) == ["media.found", "media.inventory", "media.done"]


def test_stick_is_wanted_for_its_packages_as_soon_as_there_is_a_catalog(stick: Stick) -> None:
    stick.put("a.edgepkg", package())
    with stick.worker() as worker:
        device = stick.world.running_device
        device.config_problem = ConfigError("cannot find", code="catalog.missing")
        worker.look()
        worker.look()
        assert only_media(stick) == ["media.found", "media.done"]
        device.config_problem = None
        worker.look()
    assert only_media(stick)[2:] == ["media.needed", "media.done"]
    assert stick.world.version() == "new"


def led_when(stick: Stick, code: str) -> State:
    """What one LED for everything shows as soon as that was told."""
    situation = Situation(working=False)
    for event in stick.world.events:
        situation = after_event(situation, event, 0)
        if event.code == code:
            return next(states(situation))
    raise AssertionError(stick.told())


@pytest.mark.parametrize("neighbour", [package()[:700], None], ids=["truncated", "none"])
def test_led_says_that_a_stick_is_read_whatever_lies_beside_the_package(
    stick: Stick, neighbour: bytes | None
) -> None:
    if neighbour is not None:
        stick.put("a.edgepkg", neighbour)
    stick.put("b.edgepkg", package())
    stick.look()
    assert led_when(stick, "update.loading") is State.READING
    assert led_when(stick, "media.done") is State.SAFE


def test_stick_with_nothing_but_a_truncated_package_may_be_removed(stick: Stick) -> None:
    stick.put("a.edgepkg", package()[:700])
    stick.look(times=2)
    assert stick.told()[:3] == ["media.found", "media.incomplete", "media.done"]
    assert stick.told().count("media.done") == 1
    assert led_when(stick, "media.done") is State.FAILURE


def test_thousands_of_truncated_packages_are_told_in_a_few_lines(stick: Stick) -> None:
    for number in range(2000):
        stick.put(f"{number}.edgepkg", b"x")
    stick.look()
    assert stick.told().count("media.incomplete") == 11
