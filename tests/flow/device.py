"""A whole Caisson on an engine in memory: one service, a package for it, and the promise to check afterwards."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from caissond.errors import CaissonError
from caissond.intake.scan import Origin
from caissond.model.events import Event
from caissond.model.ids import TAG_DOMAIN
from caissond.model.paths import Paths
from caissond.model.records import Outcome, Verdict
from caissond.report.bus import Bus, Progress
from caissond.store.database import Database
from caissond.store.history import History
from caissond.store.journal import Journal
from caissond.store.releases import Releases
from caissond.update.acceptance import Request
from caissond.update.device import Device
from caissond.update.recovery import settle
from caissond.update.updater import Updater
from caissond.wiring import load_catalog, load_settings
from fixtures import raw_package
from tests.flow.fake_docker import CRASHES, FakeDocker, Interfere, leave_alone

CATALOG = """\
catalog_version = 1
[[services]]
name = "frontend"
service_revision = "r1"
platform = "linux/amd64"
runtime_mode = "docker"
[services.docker]
container_name = "frontend"
image_reference = "example/frontend:1.0.0"
[services.health_check]
poll_interval_secs = 0.001
stable_secs = 0
"""
SIDECAR_REFERENCE = "example/sidecar:1"
OLD_REFERENCE, NEW_REFERENCE = "example/frontend:1.0.0", "example/frontend:1.2.3"


class CountingDatabase(Database):
    """Counts durable writes, and lets each be struck by a fault."""

    def __init__(self, path: Path, world: "World") -> None:
        super().__init__(path)
        self._world = world

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        world = self._world
        world.writes += 1
        number = world.writes
        world.before_write(number, f"write {number}")
        with super().write() as connection:
            yield connection
        world.after_write(number, f"write {number}")


class QuickDevice(Device):
    """Does not wait between two attempts at an undo."""

    def pause_whatever_comes(self, seconds: float) -> None:
        self.beat(seconds)

    def sync_docker(self) -> None:
        assert isinstance(self.docker, FakeDocker)
        self.docker.sync()


def package(
    *,
    crashes: bool = False,
    command: str = "serves",
    version: str = "1.2.3",
    reference: str = NEW_REFERENCE,
    padding: tuple[int, ...] = (0,),
) -> bytes:
    """A package for the service. Its image tells its version apart from others.

    Args:
        padding: for each layer, so many bytes more.
    """
    layers = {
        f"{number}.tar": raw_package.archive(
            raw_package.entry(f"version-{number}", version.encode() + bytes(more))
        )
        for number, more in enumerate(padding)
    }
    config = raw_package.config(
        *map(raw_package.sha256, layers.values()),
        config={"Cmd": [CRASHES if crashes else command], "Env": ["A=b"]},
    )
    manifest = raw_package.MANIFEST.replace(NEW_REFERENCE.encode(), reference.encode())
    manifest = manifest.replace(b'"1.2.3"', f'"{version}"'.encode())
    files = [raw_package.entry(name, layer) for name, layer in layers.items()]
    image = raw_package.image(*files, layers=list(layers), config=config)
    return raw_package.package(image=image, manifest=manifest)


@dataclass
class World:
    """The device, its engine, and what happens to them."""

    root: Path
    docker: FakeDocker
    old: str
    """The container that runs at first."""
    policy: str
    old_image: str
    events: list[Event] = field(default_factory=list)
    reference: str = NEW_REFERENCE
    """The tag that the package names."""
    sidecar: str = ""
    """The restart policy of `sidecar`, which lives in the service's network; empty: there is none."""
    running_device: Device = field(init=False)
    """The process that runs now."""
    writes: int = 0
    """Durable writes so far."""
    before_write: Interfere = leave_alone
    after_write: Interfere = leave_alone
    on_event: Callable[[Event], None] = lambda _event: None
    restart_docker: Callable[[], None] | None = None
    on_progress: Progress = lambda _phase, _done_bytes, _total_bytes: None

    @classmethod
    def make(
        cls, root: Path, *, policy: str = "unless-stopped", reference: str = NEW_REFERENCE, sidecar: str = ""
    ) -> "World":  # fmt: skip
        paths = Paths.below(root)
        paths.services.parent.mkdir(parents=True)
        declared = '[services.docker]\ndependants = ["sidecar"]' if sidecar else "[services.docker]"
        paths.services.write_text(CATALOG.replace("[services.docker]", declared))
        paths.config.write_text("[trust]\nallow_unsigned = true\n")
        docker = FakeDocker()
        image = docker.add_image(OLD_REFERENCE)
        old = docker.run("frontend", OLD_REFERENCE, policy=policy)
        if sidecar:
            docker.add_image(SIDECAR_REFERENCE)
            docker.run_joined("sidecar", SIDECAR_REFERENCE, to=old, policy=sidecar)
        return cls(root, docker, old, policy, image, reference=reference, sidecar=sidecar)

    @property
    def paths(self) -> Paths:
        return Paths.below(self.root)

    @contextmanager
    def device(self) -> Iterator[Device]:
        """A process that has just started."""
        device = QuickDevice(
            paths=self.paths,
            settings=load_settings(self.paths),
            catalog=load_catalog(self.paths),
            docker=self.docker,
            database=(database := CountingDatabase(self.paths.database, self)),
            journal=Journal(database),
            history=History(database),
            releases=Releases(database),
            bus=Bus(
                [lambda event: self.events.append(event), lambda event: self.on_event(event)],
                progress=[self.on_progress],
            ),
            restart_docker=self.restart_docker,
        )
        self.running_device = device
        try:
            yield device
        finally:
            device.database.close()

    def write_package(self, content: bytes) -> Path:
        self.paths.inbox.mkdir(parents=True, exist_ok=True)
        path = self.paths.inbox / "frontend.edgepkg"
        path.write_bytes(content)
        return path

    def update(self, path: Path, **options: Any) -> Verdict | CaissonError:
        """Give the package its turn; how it ended, or what came in between. `options` are those of the request."""
        with self.device() as device:
            try:
                settle(device)
                verdict = Updater(device).handle(Request(path, Origin.INBOX, **options))
            except CaissonError as exc:
                return exc
        assert verdict is not None
        return verdict

    def settle(self) -> tuple[Verdict, ...]:
        with self.device() as device:
            return settle(device)

    def start_by_name(self) -> None:
        """What a unit does at boot for a service that Docker does not revive."""
        if "frontend" in self.docker.named():
            self.docker.start("frontend")

    # what is so afterwards

    def running(self) -> list[str]:
        """What runs, by name."""
        return [name for name, one in self.docker.named().items() if one["State"]["Running"]]

    def version(self) -> str:
        """The release that the service runs; empty when it does not."""
        container = self.docker.named().get("frontend")
        if container is None or "frontend" not in self.running():
            return ""
        return "old" if container["Image"] == self.old_image else "new"

    def private_tags(self) -> list[str]:
        return [tag for tag in self.docker.tagged if tag.startswith(TAG_DOMAIN)]

    def public_tags(self) -> dict[str, str]:
        """Which release the tags of other people point at."""
        return {
            tag: "old" if image == self.old_image else "new"
            for tag, image in self.docker.tagged.items()
            if not tag.startswith(TAG_DOMAIN) and tag != SIDECAR_REFERENCE
        }

    def sidecar_problems(self) -> list[str]:
        """What is not as it has to be with the container that lives in the service's network."""
        found = self.docker.named().get("sidecar")
        if found is None:
            return ["the sidecar is gone"]
        policy = found["HostConfig"]["RestartPolicy"]["Name"]
        promises = {
            "the sidecar runs": found["State"]["Running"],
            "the sidecar is in the service's network": not self.docker.is_cut_off("sidecar"),
            "the service it lives in is the one of that name": found["HostConfig"]["NetworkMode"]
            == f"container:{self.docker.named().get('frontend', {}).get('Id')}",
            f"the sidecar's own restart policy, not {policy}": policy == self.sidecar,
        }
        return [promise for promise, kept in promises.items() if not kept]

    def broken_promises(self) -> list[str]:
        """Everything that is not as promise 1 says: one release, whole, under its name, and nothing besides."""
        with self.device() as device:
            unfinished = device.journal.unfinished()
            installed = device.releases.installed("frontend")
            device.history.verify()
        version = self.version()
        keeps = 1 if version == "new" else 0
        tags = {OLD_REFERENCE: "old"} | ({self.reference: version} if version == "new" else {})
        containers = ["frontend", "sidecar"] if self.sidecar else ["frontend"]
        images = 1 + keeps + bool(self.sidecar)
        policy = self.docker.named().get("frontend", {}).get("HostConfig", {}).get("RestartPolicy", {})
        promises = {
            f"the service runs, not {self.running()}": bool(version),
            f"{containers}, not {sorted(self.docker.named())}": sorted(self.docker.named()) == containers,
            f"its own restart policy, not {policy}": policy.get("Name") == self.policy,
            f"{keeps} private tags, not {self.private_tags()}": len(self.private_tags()) == keeps,
            f"tags {tags}, not {self.public_tags()}": self.public_tags() == tags,
            f"{images} images, not {len(self.docker.images)}": len(self.docker.images) == images,
            "every layer is whole": not self.docker.hollow_images(),
            "the record is closed": not unfinished,
            "the state says what runs": (installed is not None) == (version == "new"),
            "nothing is left in the work folder": not list(self.paths.work.glob("*")),
        }
        broken = [promise for promise, kept in promises.items() if not kept]
        return [*broken, *(self.sidecar_problems() if self.sidecar else [])]


def outcome(result: Verdict | CaissonError) -> Outcome | str:
    return result.outcome if isinstance(result, Verdict) else result.code


def dump(world: World) -> str:
    """The world, to be compared."""
    return json.dumps([world.docker.containers, world.docker.images, world.docker.tagged], sort_keys=True)
