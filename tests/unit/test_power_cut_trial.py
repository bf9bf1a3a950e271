"""What comes of a power cut when something fails after it: broken promises are kept apart from a broken harness."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fixtures.machine.base import Base
from fixtures.machine.device import Device
from fixtures.machine.machine import Machine
from fixtures.machine.qmp import parse_object
from fixtures.machine.ready import Ready
from fixtures.machine.recipe import Accelerator, HarnessError, MachineError, Recipe, Suite
from tests.device.cuts.plan import Trial, plan_trial
from tests.device.cuts.trial import Bench, Result, _Seen


def device_in(folder: Path) -> Device:
    """One that is off, and stays off."""
    base = Base(folder)
    ready = Ready(Recipe(Suite.BOOKWORM, Accelerator.KVM), base, folder)
    return Device(Machine(folder, base, folder / "disk", Accelerator.KVM), ready, folder)


class FailingBench(Bench):
    """Nothing is run; the power is cut, something is seen, and then something fails."""

    def __init__(self, folder: Path, failure: Exception, seen: tuple[str, ...] = ()) -> None:
        self._at = device_in(folder)
        super().__init__(self._at.ready, folder)
        self._failure = failure
        self._seen = seen

    @contextmanager
    def _device(self, trial: Trial) -> Iterator[Device]:  # noqa: ARG002
        yield self._at

    def _lengths_s(self, *, good: bool) -> tuple[float, float]:  # noqa: ARG002
        return 1, 1

    def _cut(self, device: Device, trial: Trial, instant_s: float, seen: _Seen) -> None:
        pass

    def _come_back(self, device: Device, trial: Trial, seen: _Seen) -> None:  # noqa: ARG002
        seen.broken += self._seen
        raise self._failure

    def result(self) -> Result:
        return self.run(plan_trial(1, 1))


def test_device_that_does_not_settle_is_a_violation(tmp_path: Path) -> None:
    machine = device_in(tmp_path).machine
    with pytest.raises(MachineError) as caught:
        machine.until("settled", lambda: None, 0)
    (broken,) = FailingBench(tmp_path, caught.value).result().broken
    assert "settled: not within" in broken


def test_harness_that_fails_has_no_result(tmp_path: Path) -> None:
    with pytest.raises(HarnessError):
        FailingBench(tmp_path, HarnessError("the machine is gone")).result()


def test_what_was_broken_before_the_harness_failed_counts(tmp_path: Path) -> None:
    bench = FailingBench(tmp_path, HarnessError("the machine is gone"), seen=("it runs nothing",))
    (broken,) = bench.result().broken
    assert "it runs nothing" in broken


def test_machine_that_is_gone_is_not_waited_for(tmp_path: Path) -> None:
    """What is looked at may be a file of this side, which does not tell."""
    machine = device_in(tmp_path).machine
    with subprocess.Popen(["true"]) as machine._process:
        pass
    with pytest.raises(HarnessError, match="QEMU has ended with 0"):
        machine.until("settled", lambda: None, 5)


@pytest.mark.parametrize("line", ["", "Traceback", "[]"])
def test_what_makes_no_sense_is_the_harness_own_failure(line: str) -> None:
    with pytest.raises(HarnessError):
        parse_object(line)


def test_mark_does_not_outlive_the_start_of_the_machine(tmp_path: Path) -> None:
    """Each start begins the journal anew."""
    device = device_in(tmp_path)
    device.machine.journal.write_text('{"CAISSON_CODE": "update.started"}\n')
    device.mark()
    assert device.codes() == []
    device.machine.starts += 1
    device.machine.journal.write_text('{"CAISSON_CODE": "update.recovering"}\n')
    assert device.codes() == ["update.recovering"]
