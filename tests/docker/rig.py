"""A managed service on a real engine, with a Caisson of its own below a temporary folder."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import docker
import docker.errors
from docker.models.containers import Container

from caissond.host.docker import Docker
from caissond.intake.scan import Origin
from caissond.model.events import Event
from caissond.model.ids import TAG_DOMAIN, claim_of
from caissond.model.paths import Paths
from caissond.model.records import Verdict
from caissond.report.bus import Bus
from caissond.update.acceptance import Request
from caissond.update.device import Device
from caissond.update.recovery import settle
from caissond.update.updater import Updater
from caissond.wiring import open_device
from fixtures.images import FOREVER, HEALTHY, BuiltImage, Healthcheck, ImageRecipe, busybox_image, load_image
from fixtures.packages import PLATFORM, write_package
from fixtures.shapes import Shape

CRASHES = ("sh", "-c", "exit 3")
CRASHES_LATER = ("sh", "-c", "sleep 0.5; exit 3")
PATIENT_S = 2.0
"""How long a gate has to last to see one of these end: a busy engine calls it running for a while yet."""


class Rig:
    """One service `web…`, its packages, and everything to look at afterwards."""

    def __init__(self, folder: Path, client: docker.DockerClient, host: str) -> None:
        self.folder = folder
        self.client = client
        self.host = host
        self.name = f"web-{secrets.token_hex(3)}"
        self.root = folder / "root"
        self.paths = Paths.below(self.root)
        self.events: list[Event] = []
        self._surprises: dict[str, Callable[[], object]] = {}
        (self.root / "etc/caisson").mkdir(parents=True)
        self.write_settings("[trust]\nallow_unsigned = true\n")
        self.write_catalog()
        self._devices: list[Device] = []

    # what the admin writes

    def write_settings(self, text: str) -> None:
        self.paths.config.write_text(text)

    def write_catalog(
        self, *, kind: str = "container_health", timeout_secs: int = 60, stable_secs: float = 0.5
    ) -> None:
        self.paths.services.write_text(f"""\
catalog_version = 1

[[services]]
name = "{self.name}"
service_revision = "1"
platform = "{PLATFORM}"
runtime_mode = "docker"

[services.docker]
container_name = "{self.name}"
image_reference = "{self.reference("1.0.0")}"

[services.health_check]
kind = "{kind}"
timeout_secs = {timeout_secs}
poll_interval_secs = 0.2
stable_secs = {stable_secs}
""")

    def reference(self, version: str) -> str:
        return f"rig/{self.name}:{version}"

    # what is there before

    def image(
        self, version: str, *, cmd: Sequence[str] = FOREVER, healthcheck: Healthcheck | None = HEALTHY,
        shape: Shape = Shape.DOCKER20, **config: object,
    ) -> BuiltImage:  # fmt: skip
        recipe = ImageRecipe(
            reference=self.reference(version), version=version, cmd=tuple(cmd), healthcheck=healthcheck,
            shape=shape, config=config, env={"RELEASE": version},
        )  # fmt: skip
        return busybox_image(self.folder / f"image-{secrets.token_hex(4)}.tar", recipe)

    def run_old(self, version: str = "1.0.0", **options: Any) -> Container:
        """The service's first container, as an admin would have made it."""
        image = self.image(version)
        load_image(self.client, image.path)
        return self.client.containers.run(image.reference, name=self.name, detach=True, **options)

    # packages

    def package(
        self, version: str, image: BuiltImage | None = None, *, name: str = "", **fields: Any
    ) -> Path:
        """A package for the service, outside of the inbox."""
        image = image or self.image(version)
        fields = {"service": self.name, "reference": self.reference(version), **fields}
        path = self.folder / (name or f"{self.name}-{version}.edgepkg")
        return write_package(path, version=version, image_tar=image.path, **fields)

    # doing

    def device(self, adjust: Callable[[Device], None] = lambda _device: None) -> Device:
        """A device as the daemon opens it."""
        device = open_device(self.paths, Bus([self._hear]))
        device.docker = Docker(timeout_s=60, load_stall_s=60, environment={"DOCKER_HOST": self.host})
        device.restart_docker = None  # that would be the machine's own
        self._devices.append(device)
        adjust(device)
        return device

    def _hear(self, event: Event) -> None:
        self.events.append(event)
        if surprise := self._surprises.pop(event.code, None):
            surprise()

    def when(self, code: str, surprise: Callable[[], object]) -> None:
        """Do this, once, as soon as the event is told: what somebody does by hand in the middle of an update."""
        self._surprises[code] = surprise

    def update(self, package: Path, *, origin: Origin = Origin.INBOX, **options: Any) -> Verdict:
        """Settle, then give the package its turn."""
        device = self.device()
        settle(device)
        verdict = Updater(device).handle(Request(package, origin, **options))
        assert verdict is not None
        device.database.close()
        return verdict

    def settle(self) -> tuple[Verdict, ...]:
        device = self.device()
        verdicts = settle(device)
        device.database.close()
        return verdicts

    # looking

    def container(self) -> Container:
        return self.client.containers.get(self.name)

    def release(self) -> str:
        """The version that the running service itself tells."""
        return told_version(self.container())

    def running(self, command: str, name: str = "") -> int:
        """How often this very command runs in the service's container, or in another one that runs."""
        processes = self.client.api.top(name or self.name)["Processes"] or ()
        return sum(process[-1] == command for process in processes)

    def containers(self) -> list[str]:
        """Every container whose name has to do with the service."""
        listed = self.client.api.containers(all=True)
        names = [name.removeprefix("/") for one in listed for name in one["Names"]]
        return sorted(name for name in names if self.name in name and "/" not in name)  # "a/b": a links to it

    def private_tags(self) -> list[str]:
        """Caisson's own tags on images of this service."""
        return sorted(
            tag
            for image in self.client.api.images()
            for tag in image["RepoTags"] or ()
            if tag.startswith(TAG_DOMAIN) and self.claim in tag
        )

    @property
    def claim(self) -> str:
        return claim_of(self.paths.state_dir)

    def codes(self) -> list[str]:
        return [event.code for event in self.events]

    def close(self) -> None:
        """Remove everything that bears the service's name."""
        for device in self._devices:
            device.database.close()
        volumes: set[str] = set()
        for name in self.containers():
            mounts = self.client.api.inspect_container(name)["Mounts"]
            volumes |= {mount["Name"] for mount in mounts if mount["Type"] == "volume"}
            self.client.api.remove_container(name, force=True)
        for volume in volumes:
            with suppress(docker.errors.APIError):  # another container has it too
                self.client.api.remove_volume(volume)
        for image in self.client.api.images():
            for tag in image["RepoTags"] or ():
                if self.name in tag or self.claim in tag:
                    self.client.api.remove_image(tag)


def told_version(container: Container) -> str:
    """What stands in a running container's own `/version`. Not asked by exec: on a busy machine Docker 20.10 now and
    then loses what so short a command says.
    """
    container.reload()
    assert container.status == "running"
    stream, _ = container.get_archive("/version")
    return b"".join(stream)[512:].split(b"\n")[0].decode()


def told_by(container: Container, *command: str) -> bytes:
    """What a command says in a running container. It lives a second longer, so that nothing of it is lost, either."""
    told = container.exec_run(["sh", "-c", '"$@"; sleep 1', "sh", *command]).output
    assert isinstance(told, bytes)
    return told


def told_by_run(client: docker.DockerClient, image: str, command: str | list[str], **options: Any) -> bytes:
    """What a container of an image says until it ends, read once all of it is written: Docker 20.10 may stop following
    a log before its last line.
    """
    container = client.containers.run(image, command, detach=True, **options)
    try:
        container.wait()
        return bytes(container.logs(stderr=False))
    finally:
        container.remove(force=True)


@contextmanager
def rig_on(folder: Path, client: docker.DockerClient, host: str) -> Iterator[Rig]:
    rig = Rig(folder, client, host)
    try:
        yield rig
    finally:
        rig.close()
