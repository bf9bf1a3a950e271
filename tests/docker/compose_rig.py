"""A Compose project on a real engine, made by the real command: a service `web` that Caisson updates, and a `db` that
it has no business with.
"""

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker

from caissond.host.docker import Docker
from caissond.update.device import Device
from fixtures.compose import ComposeKind, compose_environment
from fixtures.images import FOREVER, load_image
from fixtures.packages import PLATFORM
from tests.docker.rig import Rig, told_version

FILE = """\
version: "3.7"
services:
  web:
    image: {image}
    restart: unless-stopped
    stop_grace_period: 1s
    environment:
      SITE: north
    volumes:
      - data:/data
  db:
    image: {other}
    restart: always
    stop_grace_period: 1s
volumes:
  data: {{}}
"""


class ComposeRig(Rig):
    """A rig whose service is made by Compose."""

    def __init__(self, folder: Path, client: docker.DockerClient, host: str, kind: ComposeKind) -> None:
        super().__init__(folder, client, host)
        self.kind = kind
        self.environment = compose_environment(kind, folder / "compose-programs", host=host)
        self.project = self.name
        self.file = folder / "shop" / "compose.yaml"
        self.file.parent.mkdir()
        self.image_name, self.other = self.reference("stable"), self.reference("db")
        self.file.write_text(FILE.format(image=self.image_name, other=self.other))
        self.write_compose_catalog()

    def write_compose_catalog(
        self, *, kind: str = "running", more: str = "", stable_secs: float = 0.5
    ) -> None:
        self.paths.services.write_text(f"""\
catalog_version = 1
[[services]]
name = "{self.name}"
service_revision = "1"
platform = "{PLATFORM}"
runtime_mode = "compose"
[services.compose]
project = "{self.project}"
file = "{self.file}"
service = "web"
{more}
[services.health_check]
kind = "{kind}"
timeout_secs = 60
poll_interval_secs = 0.2
stable_secs = {stable_secs}
""")

    def device(self, adjust: Any = lambda _device: None) -> Device:
        """As the daemon opens it where only this command is found."""
        device = super().device()
        device.docker = Docker(timeout_s=60, load_stall_s=60, environment=self.environment)
        adjust(device)
        return device

    # what the developer does

    def compose(self, *arguments: str) -> str:
        """By hand, with nothing added."""
        command = ["docker", "compose"] if self.kind is ComposeKind.V2 else ["docker-compose"]
        program = str(Path(self.environment["PATH"]) / command[0])
        done = subprocess.run(
            [program, *command[1:], "-p", self.project, "-f", str(self.file), *arguments],
            env=self.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def up(self, *arguments: str) -> None:
        """As an admin types it."""
        self.compose("up", "-d", *arguments)

    def make(self, *, scale: int = 1, cmd: Sequence[str] = FOREVER) -> None:
        """The images under the names of the file, and the project on the engine."""
        image = self.image("1.0.0", cmd=cmd)
        load_image(self.client, image.path)
        for name in (self.image_name, self.other):
            self.client.images.get(image.reference).tag(name)
        self.up("--scale", f"web={scale}")

    # looking

    def of(self, service: str) -> list[dict[str, Any]]:
        """The inspects of a Compose service's containers, by their numbers."""
        label = f"com.docker.compose.project={self.project}"
        found = [
            self.client.api.inspect_container(short["Id"])
            for short in self.client.api.containers(all=True, filters={"label": label})
        ]
        mine = [one for one in found if one["Config"]["Labels"]["com.docker.compose.service"] == service]
        return sorted(
            mine, key=lambda one: int(one["Config"]["Labels"]["com.docker.compose.container-number"])
        )

    def ids(self, service: str) -> list[str]:
        return [one["Id"] for one in self.of(service)]

    def releases(self) -> list[str]:
        """What each container of `web` tells of itself."""
        return [told_version(self.client.containers.get(one["Id"])) for one in self.of("web")]

    def config(self, service: str = "web") -> str:
        """What was asked for of the first container, less what a new image brings and what tells of the update."""
        container = self.of(service)[0]
        labels = {
            name: value
            for name, value in container["Config"]["Labels"].items()
            if not name.startswith("io.caisson.")
            and name != "com.docker.compose.image"
            and name != "org.opencontainers.image.version"
        }
        return json.dumps([labels, container["HostConfig"], container["Name"]], sort_keys=True)

    def close(self) -> None:
        if self.file.exists():
            self.compose("down", "--volumes", "--timeout", "0")
        super().close()


@contextmanager
def compose_rig_on(
    folder: Path, client: docker.DockerClient, host: str, kind: ComposeKind
) -> Iterator[ComposeRig]:
    rig = ComposeRig(folder, client, host, kind)
    try:
        yield rig
    finally:
        rig.close()
