"""One power cut: an update begins, the power goes, the device boots, settles, and is held against the promises."""

import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Lock

from caissond.model.records import Outcome
from fixtures.machine.device import INBOX, Device
from fixtures.machine.machine import machine_on, make_overlay
from fixtures.machine.ready import LARGE, LARGE_SICK, Ready
from fixtures.machine.recipe import HarnessError, digest_of
from fixtures.machine.releases import FIRST_VERSION, Release
from fixtures.machine.stick import Partition, make_stick
from tests.device.cuts.facts import Facts, gather
from tests.device.cuts.plan import Return, Trial, Way
from tests.device.cuts.promises import (
    allowed_without_caissond,
    broken_promises,
    broken_without_caissond,
    forgotten,
    outcomes_of,
    repeated,
)

_MASKED = "systemd.mask=caissond.service"


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it."""

    seed: int
    number: int
    package: str
    back: str
    instant_s: float
    step: str
    """What caissond had said last when the power went."""
    found: str
    """The version that ran once the device had settled; empty when nobody looked before the package's turn."""
    ended: str
    """The version after the package was tried again; empty when it was not."""
    seconds: float
    broken: tuple[str, ...]
    recovered: bool
    """Whether the next boot found an update that was cut off."""
    boots: int
    """How many it took, until caissond had settled."""
    machine: str
    """What it was run on, and by which version of the checks."""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> "Result":
        fields = json.loads(line)
        return cls(**{**fields, "broken": tuple(fields["broken"])})


class Bench:
    """Where trials are run: a prepared device, and a stick with each package."""

    def __init__(self, ready: Ready, folder: Path) -> None:
        self.ready = ready
        self.folder = folder
        self.machine = f"{ready.folder.name}/{digest_of(*sorted(Path(__file__).parent.glob('*.py')))}"
        self._measuring = Lock()

    def run(self, trial: Trial) -> Result:
        """One trial; takes a minute. Broken promises are part of the result.

        Raises:
            MachineError: it failed before the power was cut.
            HarnessError: what was to look at the device failed, before anything broken was seen.
        """
        began = time.monotonic()
        start_s, gate_s = self._lengths_s(good=trial.good)
        seen = _Seen()
        with self._device(trial) as device:
            self._cut(device, trial, trial.fraction * (gate_s if trial.from_gate else start_s), seen)
            try:
                self._come_back(device, trial, seen)
            except HarnessError:
                if not seen.broken:  # it shows nothing; what was seen before counts all the same
                    raise
            except Exception as exc:  # whatever it is, the trial has not shown that all is well
                seen.broken.append(f"{type(exc).__name__}: {exc}")
        broken = tuple(f"{_release(trial).version}: {one}" for one in dict.fromkeys(seen.broken))
        return Result(
            trial.seed, trial.number, f"{'good' if trial.good else 'sick'} from {trial.way}", trial.back,
            seen.instant_s, seen.said[-1] if seen.said else "-", seen.found, seen.ended,
            round(time.monotonic() - began, 1), broken, seen.recovered, seen.boots, self.machine,
        )  # fmt: skip

    @contextmanager
    def _device(self, trial: Trial) -> Iterator[Device]:
        """One of its own, with a stick beside it."""
        os.utime(self.ready.folder)  # it is in use
        folder = Path(tempfile.mkdtemp(prefix=f"{trial.number}-", dir=self.folder))
        package = self.ready.package(_release(trial))
        disk = make_overlay(folder / "disk.qcow2", self.ready.disk)
        stick = make_stick(folder / "stick.img", Partition(files={package.name: package}))
        try:
            with machine_on(folder, self.ready.base, disk, self.ready.recipe.accelerator) as machine:
                yield Device(machine, self.ready, folder)
        finally:
            disk.unlink()
            stick.unlink()

    def _lengths_s(self, *, good: bool) -> tuple[float, float]:
        """How long such an update takes when nobody cuts it, from its beginning and from the gate on: measured once,
        and kept beside the prepared device.
        """
        path = self.ready.folder / f"uncut-{'good' if good else 'sick'}"
        with self._measuring:
            if not path.exists():
                path.write_text("{:.1f} {:.1f}\n".format(*self._measure_s(good=good)))
        start_s, gate_s = map(float, path.read_text().split())
        return start_s, gate_s

    def _measure_s(self, *, good: bool) -> tuple[float, float]:
        trial = Trial(0, 0, Way.STICK, good, Return.STICK_LATER, from_gate=False, fraction=1)
        with self._device(trial) as device:
            began = self._begin(device, trial)
            device.await_event("update.checking")
            gate = time.monotonic()
            device.await_event("update.committed" if good else "update.rolled_back")
            device.until("nothing goes on", device.is_settled)
            return time.monotonic() - began, time.monotonic() - gate

    def _begin(self, device: Device, trial: Trial) -> float:
        """The device runs, and the package comes: when that was."""
        device.machine.restore(self.ready.memory)
        device.mark()
        if trial.way is Way.STICK:
            device.plug(device.folder / "stick.img")
        else:
            device.drop(_release(trial))
        return time.monotonic()

    def _cut(self, device: Device, trial: Trial, instant_s: float, seen: "_Seen") -> None:
        began = counted = self._begin(device, trial)
        if trial.from_gate:
            device.await_event("update.checking")
            counted = time.monotonic()
        time.sleep(max(0.0, counted + instant_s - time.monotonic()))
        device.machine.cut()
        seen.instant_s = round(time.monotonic() - began, 2)
        seen.said = device.codes()

    def _come_back(self, device: Device, trial: Trial, seen: "_Seen") -> None:
        release = _release(trial)
        if trial.back is Return.NO_CAISSON:
            self._boot_without_caissond(device, trial, seen)
        stick = device.folder / "stick.img"
        self._boot(device, seen, sticks=(stick,) if trial.back is Return.STICK_IN else ())
        if trial.back is not Return.STICK_IN and trial.way is Way.STICK:
            device.until("settled", device.is_settled, 120)
            seen.found = self._look(device, trial, seen, "settled", _allowed(trial, seen)).version
            if trial.back is not Return.STICK_LATER:
                return
            device.plug(stick)
        self._await_turn(device, trial.way)
        allowed = frozenset({release.version if trial.good else FIRST_VERSION})
        facts = self._look(device, trial, seen, "ended", allowed)
        seen.ended = facts.version
        # a sick one that was rolled back before the cut is refused when it comes once more
        outcome = Outcome.SUCCEEDED if trial.good else Outcome.ROLLED_BACK
        known = outcomes_of(facts, release.version)
        if outcome not in known:
            seen.broken.append(f"the package ended as {known}, not as {outcome}")

    def _look(self, device: Device, trial: Trial, seen: "_Seen", name: str, allowed: frozenset[str]) -> Facts:
        """What holds whenever caissond has settled, however the power came back."""
        facts = gather(device, device.folder / name)
        said = device.codes()
        seen.recovered = "update.recovering" in said
        seen.broken += broken_promises(facts, allowed, said)
        seen.broken += forgotten(facts, _release(trial).version, seen.said)
        seen.broken += repeated(seen.said, said)
        return facts

    def _boot(
        self, device: Device, seen: "_Seen", *, sticks: tuple[Path, ...] = (), kernel: str = ""
    ) -> None:
        seen.boots += 1
        device.machine.boot(sticks=sticks, kernel=kernel)

    def _boot_without_caissond(self, device: Device, trial: Trial, seen: "_Seen") -> None:
        self._boot(device, seen, kernel=_MASKED)
        device.until(
            "Docker is up", lambda: not device.machine.try_("systemctl", "is-active", "docker").status
        )
        if not self._is_served(device):  # the next boot brings it back (docs/restart-policies.md)
            device.machine.cut()
            self._boot(device, seen, kernel=_MASKED)
            device.until("it answers", device.served_version)
        facts = gather(device, device.folder / "alone")
        seen.found = facts.version
        version = _release(trial).version
        allowed = allowed_without_caissond(facts, version)
        seen.broken += broken_without_caissond(facts, allowed)
        seen.broken += forgotten(facts, version, seen.said)
        device.machine.cut()

    def _is_served(self, device: Device) -> bool:
        """Whether the service answers, rather than that Docker 20.10 holds its port for nobody."""
        seen = ""

        def look() -> bool:
            nonlocal seen
            seen = device.served_version()
            return seen != "" or _is_port_held(device)

        device.until("something answers", look)
        return seen != ""

    def _await_turn(self, device: Device, way: Way) -> None:
        """Until nothing more will come of the package."""

        def is_over() -> bool:
            if way is Way.STICK:
                has_had_it = "media.done" in device.codes()
            else:
                has_had_it = "daemon.started" in device.codes() and not device.run("ls", "-A", INBOX)
            return has_had_it and device.is_settled()

        device.until("the package has had its turn", is_over, 180)


@dataclass(slots=True)
class _Seen:
    """Filled as the trial goes on, so that what was seen before a failure is not lost."""

    instant_s: float = 0
    said: list[str] = field(default_factory=list)
    """The codes of what caissond had said when the power went."""
    found: str = ""
    ended: str = ""
    recovered: bool = False
    boots: int = 0
    broken: list[str] = field(default_factory=list)


def _release(trial: Trial) -> Release:
    return LARGE if trial.good else LARGE_SICK


def _allowed(trial: Trial, seen: _Seen) -> frozenset[str]:
    """Of which versions one has to run before the package has another turn."""
    if "update.committed" in seen.said:
        return frozenset({_release(trial).version})
    return frozenset({FIRST_VERSION, _release(trial).version} if trial.good else {FIRST_VERSION})


def _is_port_held(device: Device) -> bool:
    """Whether nothing runs, since Docker 20.10 holds the service's port for nobody."""
    errors = "docker ps --all --quiet | xargs docker inspect --format '{{.State.Error}}'"
    held = "port is already allocated" in device.machine.try_("sh", "-c", errors).out
    return held and not device.run("docker", "ps", "--quiet").strip()
