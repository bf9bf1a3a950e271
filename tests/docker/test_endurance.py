"""Bounded for ever: what many updates leave, and what a bad package left in place costs."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from caissond.model.records import Outcome
from tests.bench.endurance import endurance
from tests.docker.daemon_process import caissond
from tests.docker.rig import CRASHES, PATIENT_S, Rig
from tests.docker.test_daemon_media import Stick

GROWTH_KIB = 3 << 10
"""Of resident memory: less than a tenth of one update's share would be of 500, and more than the noise."""


def test_updates_in_a_row_leave_everything_as_it_was(rig: Rig) -> None:
    """The short form of `./dev bench endurance`."""
    with endurance(rig) as service:
        service.update(5)
        before = service.take_stock()
        service.update(14)
        after = service.take_stock()
        assert (service.release(), len(service.outcomes())) == ("2.0.19", 19)
        assert set(service.outcomes()) == {Outcome.SUCCEEDED, Outcome.ROLLED_BACK}
    kept = ("containers", "images", "tags", "volumes", "networks", "open_files", "threads")
    assert [getattr(after, name) for name in kept] == [getattr(before, name) for name in kept]
    assert after.resident_kib - before.resident_kib < GROWTH_KIB


@pytest.fixture
def stick(rig: Rig) -> Iterator[Stick]:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    stick = Stick(rig.paths.media / "stick")
    yield stick
    while os.path.ismount(stick.place):
        stick.pull()


def looks(log: str) -> int:
    """How often a package began its turn, or was found to have had it."""
    return log.count("looking at it") + log.count("had its turn before")


def handled_by(rig: Rig) -> int:
    """Rows in the history."""
    device = rig.device()
    with closing(device.database):
        return len(device.history.newest())


def bad_packages(rig: Rig) -> list[Path]:
    """One that the gate turns down, one that cannot even start, one that is no package."""
    nonsense = rig.folder / "nonsense.edgepkg"
    nonsense.write_bytes(b"nonsense" * 1000)
    return [
        rig.package("2.0.0", rig.image("2.0.0", cmd=CRASHES)),
        rig.package("2.1.0", rig.image("2.1.0", cmd=("/no/such/program",))),
        nonsense,
    ]


def test_bad_stick_that_is_left_in_does_not_go_round_in_circles(rig: Rig, stick: Stick) -> None:
    rig.write_catalog(kind="running", stable_secs=PATIENT_S)
    rig.write_settings("[trust]\nallow_unsigned = true\n[inbox]\nrescan_secs = 1\n")
    old = rig.run_old(restart_policy={"Name": "always"})
    stick.plug(*bad_packages(rig))
    rows = []
    for _start in range(6):
        with caissond(rig.root, rig.host) as daemon:
            daemon.wait_until_logged("stick: may be removed")
            daemon.wait_until_idle()
            handled = looks(daemon.log())
            daemon.process.send_signal(signal.SIGHUP)
            time.sleep(1.5)  # a rescan, at least
            assert daemon.stop() == 0
            assert looks(daemon.log()) == handled
        rows.append(handled_by(rig))
    assert rows == [3, 4, 5, 6, 6, 6]  # three attempts to start what cannot start, and a refusal
    assert (rig.container().id, rig.containers()) == (old.id, [rig.name])
