"""Updates without end, good and bad in turn, on a real caissond: does anything grow that should not?

    ./dev bench endurance [UPDATES]         500 unless it says otherwise

All releases use one reference, as a service with a moving tag does: a release with a tag of its own keeps it, and so
its image, until somebody removes that.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import docker

from fixtures.engine import private_engine
from fixtures.images import BuiltImage, Healthcheck, ImageRecipe, busybox_image, load_image
from tests.bench.say import say
from tests.docker.daemon_process import DaemonProcess, caissond
from tests.docker.inventory import take_inventory
from tests.docker.rig import Rig, rig_on

UPDATES = 500
WARM_UP = 10
WELL = Healthcheck(test=("CMD", "/bin/true"), interval_s=0.2, retries=1)
ILL = Healthcheck(test=("CMD", "/bin/false"), interval_s=0.2, retries=1)
DEADLINE_S = 300
LOOKS, LOOK_EVERY_S = 20, 0.1


@dataclass(frozen=True, slots=True)
class Stock:
    """What there is: on the engine, of caissond's process, in its state folder."""

    containers: int
    images: int
    tags: int
    volumes: int
    networks: int
    open_files: int
    threads: int
    resident_kib: int
    database_kib: int
    receipts: int


class Endurance:
    """One service that is updated over and over."""

    def __init__(self, rig: Rig, daemon: DaemonProcess) -> None:
        self._rig = rig
        self._daemon = daemon
        self._process = Path("/proc", str(daemon.process.pid))
        self._done = 0

    def update(self, times: int) -> None:
        """Hand in so many packages, one after the other; every second one is bad."""
        for _ in range(times):
            self._done += 1
            self._drop(f"2.0.{self._done}", good=self._done % 2 == 1)
            self._daemon.wait_until_handled(deadline_s=DEADLINE_S)

    def _drop(self, version: str, *, good: bool) -> None:
        rig, image = self._rig, _image(self._rig, version, good=good)
        package = rig.package(version, image, reference=image.reference)
        image.path.unlink()
        package.rename(rig.paths.inbox / package.name)

    def release(self) -> str:
        """The version that runs now."""
        return self._rig.release()

    def outcomes(self) -> list[str]:
        """How the updates ended, the last one first."""
        device = self._rig.device()
        with closing(device.database):
            return [verdict.outcome.value for verdict in device.history.newest()]

    def take_stock(self) -> Stock:
        """Once nothing is going on any more. What is open for a moment, to look at the mount table, does not count."""
        self._daemon.wait_until_idle()
        inventory = take_inventory(self._rig.client)
        status = dict(line.split(":", 1) for line in (self._process / "status").read_text().splitlines())
        return Stock(
            containers=len(inventory.containers),
            images=len(self._rig.client.api.images(all=True)),
            tags=sum(len(image["RepoTags"] or ()) for image in self._rig.client.api.images()),
            volumes=len(inventory.volumes),
            networks=len(inventory.networks),
            open_files=min(self._open_files() for _ in range(LOOKS)),
            threads=int(status["Threads"]),
            resident_kib=int(status["VmRSS"].split()[0]),
            database_kib=self._rig.paths.database.stat().st_size >> 10,
            receipts=len(list(self._rig.paths.receipts.iterdir())),
        )

    def _open_files(self) -> int:
        time.sleep(LOOK_EVERY_S)
        return len(list((self._process / "fd").iterdir()))


@contextmanager
def endurance(rig: Rig) -> Iterator[Endurance]:
    """A service with a volume, a network and a moving tag, and a caissond that looks after it."""
    rig.write_catalog(stable_secs=0.2)
    first = _image(rig, "1.0.0", good=True)
    load_image(rig.client, first.path)
    network = rig.client.networks.create(f"{rig.name}-net")
    options: dict[str, Any] = {"volumes": ["/data"], "restart_policy": {"Name": "unless-stopped"}}
    rig.client.containers.run(first.reference, name=rig.name, network=network.name, detach=True, **options)
    try:
        with caissond(rig.root, rig.host) as daemon:
            daemon.wait_until_logged("is ready")
            yield Endurance(rig, daemon)
            daemon.stop()
    finally:
        rig.close()
        network.remove()


def _image(rig: Rig, version: str, *, good: bool) -> BuiltImage:
    recipe = ImageRecipe(
        reference=rig.reference("current"), version=version, healthcheck=WELL if good else ILL,
        env={"RELEASE": version},
    )  # fmt: skip
    return busybox_image(rig.folder / f"image-{version}.tar", recipe)


def measure(updates: int = UPDATES) -> None:
    """Print what there was after the first few updates, and after all of them."""
    with (
        tempfile.TemporaryDirectory(prefix="caisson-bench-") as folder,
        private_engine("endurance") as engine,
        closing(docker.DockerClient(base_url=engine.host)) as client,
        rig_on(Path(folder), client, engine.host) as rig,
        endurance(rig) as service,
    ):
        service.update(WARM_UP)
        before, began = service.take_stock(), time.monotonic()
        service.update(updates - WARM_UP)
        after, took_s = service.take_stock(), time.monotonic() - began
        outcomes = service.outcomes()
    for outcome in sorted(set(outcomes)):
        say(f"{updates} updates: {outcome.replace('_', ' ')}", str(outcomes.count(outcome)), "")
    say(f"{updates} updates: time for one", f"{took_s / (updates - WARM_UP):.1f} s", "")
    for field in fields(Stock):
        was, now = getattr(before, field.name), getattr(after, field.name)
        name = field.name.replace("_", " ")
        say(f"{updates} updates: {name}", str(now), f"{was} after the first {WARM_UP}")
