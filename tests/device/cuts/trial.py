"""One power cut: an update begins, the power goes, the device boots, settles, and is held against the promises."""

import json
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
from fixtures.machine.recipe import MachineError
from fixtures.machine.releases import FIRST_VERSION
from fixtures.machine.stick import Partition, make_stick
from tests.device.cuts.facts import gather
from tests.device.cuts.plan import Return, Trial, Way
from tests.device.cuts.promises import (
    allowed_without_caissond,
    broken_promises,
    broken_without_caissond,
    outcomes_of,
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
    machine: str
    """What it was run on."""

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
        self._measuring = Lock()

    def run(self, trial: Trial) -> Result:
        """One trial; takes a minute. Broken promises are part of the result.

        Raises:
            MachineError: the machine itself failed before the power was cut.
        """
        began = time.monotonic()
        release = LARGE if trial.good else LARGE_SICK
        instant_s = trial.fraction * self._length_s(good=trial.good)
        with self._device(trial) as device:
            step = self._cut(device, trial, instant_s)
            seen = _Seen()
            try:
                self._come_back(device, trial, seen)
            except MachineError as exc:
                seen.broken.append(f"the device does not settle: {exc}")
        return Result(
            trial.seed, trial.number, f"{'good' if trial.good else 'sick'} from {trial.way}", trial.back,
            round(instant_s, 2), step, seen.found, seen.ended, round(time.monotonic() - began, 1),
            tuple(f"{release.version}: {sentence}" for sentence in seen.broken), self.ready.folder.name,
        )  # fmt: skip

    @contextmanager
    def _device(self, trial: Trial) -> Iterator[Device]:
        """One of its own, with a stick beside it."""
        folder = Path(tempfile.mkdtemp(prefix=f"{trial.number}-", dir=self.folder))
        release = LARGE if trial.good else LARGE_SICK
        package = self.ready.package(release)
        disk = make_overlay(folder / "disk.qcow2", self.ready.disk)
        stick = make_stick(folder / "stick.img", Partition(files={package.name: package}))
        try:
            with machine_on(folder, self.ready.base, disk, self.ready.recipe.accelerator) as machine:
                yield Device(machine, self.ready, folder)
        finally:
            disk.unlink()
            stick.unlink()

    def _length_s(self, *, good: bool) -> float:
        """How long such an update takes when nobody cuts it: measured once, and kept beside the prepared device."""
        path = self.ready.folder / f"uncut-{'good' if good else 'sick'}"
        with self._measuring:
            if not path.exists():
                path.write_text(f"{self._measure_s(good=good):.1f}\n")
        return float(path.read_text())

    def _measure_s(self, *, good: bool) -> float:
        trial = Trial(0, 0, Way.STICK, good, Return.STICK_LATER, 1)
        with self._device(trial) as device:
            began = self._begin(device, trial)
            device.await_event("update.committed" if good else "update.rolled_back")
            device.until("nothing goes on", device.is_settled)
            return time.monotonic() - began

    def _begin(self, device: Device, trial: Trial) -> float:
        """The device runs, and the package comes: when that was."""
        device.machine.restore(self.ready.memory)
        device.mark()
        if trial.way is Way.STICK:
            device.plug(device.folder / "stick.img")
        else:
            device.drop(LARGE if trial.good else LARGE_SICK)
        return time.monotonic()

    def _cut(self, device: Device, trial: Trial, instant_s: float) -> str:
        """The step that was cut."""
        began = self._begin(device, trial)
        time.sleep(max(0.0, began + instant_s - time.monotonic()))
        device.machine.cut()
        said = device.codes()
        return said[-1] if said else "-"

    def _come_back(self, device: Device, trial: Trial, seen: "_Seen") -> None:
        release = LARGE if trial.good else LARGE_SICK
        both = frozenset({FIRST_VERSION, release.version} if trial.good else {FIRST_VERSION})
        if trial.back is Return.NO_CAISSON:
            self._boot_without_caissond(device, trial, seen)
        stick = device.folder / "stick.img"
        device.machine.boot(sticks=(stick,) if trial.back is Return.STICK_IN else ())
        if trial.back is not Return.STICK_IN and trial.way is Way.STICK:
            device.until("settled", device.is_settled, 120)
            facts = gather(device, device.folder / "settled")
            seen.found = facts.version
            seen.broken += broken_promises(facts, both)
            if trial.back is not Return.STICK_LATER:
                return
            device.plug(stick)
        self._await_turn(device, trial.way)
        facts = gather(device, device.folder / "ended")
        seen.ended = facts.version
        seen.broken += broken_promises(facts, frozenset({release.version if trial.good else FIRST_VERSION}))
        # a sick one that was rolled back before the cut is refused when it comes once more
        outcome = Outcome.SUCCEEDED if trial.good else Outcome.ROLLED_BACK
        known = outcomes_of(facts, release.version)
        if outcome not in known:
            seen.broken.append(f"the package ended as {known}, not as {outcome}")

    def _boot_without_caissond(self, device: Device, trial: Trial, seen: "_Seen") -> None:
        device.machine.boot(kernel=_MASKED)
        device.until(
            "Docker is up", lambda: not device.machine.try_("systemctl", "is-active", "docker").status
        )
        device.until("something answers", lambda: device.served_version() or _is_port_held(device))
        if not device.served_version():  # docs/restart-policies.md: the next boot brings it back
            device.machine.cut()
            device.machine.boot(kernel=_MASKED)
            device.until("something answers", device.served_version)
        facts = gather(device, device.folder / "alone")
        seen.found = facts.version
        version = (LARGE if trial.good else LARGE_SICK).version
        seen.broken += broken_without_caissond(facts, allowed_without_caissond(facts, version))
        device.machine.cut()

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
    """Filled while the device comes back, so that what was seen before a failure is not lost."""

    found: str = ""
    ended: str = ""
    broken: list[str] = field(default_factory=list)


def _is_port_held(device: Device) -> bool:
    """Whether nothing runs, since Docker 20.10 holds the service's port for nobody."""
    errors = "docker ps --all --quiet | xargs docker inspect --format '{{.State.Error}}'"
    held = "port is already allocated" in device.machine.try_("sh", "-c", errors).out
    return held and not device.run("docker", "ps", "--quiet").strip()
