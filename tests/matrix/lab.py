"""A private engine with one service on it, made anew for each cell; its packages, and what stands on it."""

import io
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import docker
import docker.errors

from caissond.cli.app import run as caisson
from caissond.host.docker import Docker
from caissond.intake.scan import Origin
from caissond.model.paths import Paths
from caissond.report.bus import Bus
from caissond.update.acceptance import Request
from caissond.update.recovery import settle
from caissond.update.updater import Updater
from caissond.wiring import open_device
from fixtures.engine import PrivateEngine, private_engine
from fixtures.images import FOREVER, SICK, BuiltImage, Healthcheck, ImageRecipe, layered_image, load_image
from fixtures.layers import busybox_layer, files_layer, noise_layer
from fixtures.packages import PLATFORM, write_package
from tests.matrix.scenario import Release, Scenario, Way

NAME = "web"
OLD, EARLIER, NEW = "1.1.0", "1.0.0", "2.0.0"
"""What the service runs, what it ran before that where it was updated before, and what the package brings."""
_LAYER_MB = 5
_COMMANDS: dict[Release, Sequence[str]] = {
    Release.CRASHES: ("sh", "-c", "exit 3"),
    Release.NO_PROGRAM: ("/no/such/program",),
    Release.NO_COMMAND: (),
}
_SICK = Healthcheck(test=SICK.test, interval_s=0.2, retries=1)


def reference(version: str) -> str:
    return f"matrix/{NAME}:{version}"


class Lab:
    """One engine. Cells follow each other on it; `reset` removes what one left."""

    def __init__(self, engine: PrivateEngine, folder: Path, client: docker.DockerClient) -> None:
        self.engine = engine
        self.folder = folder
        self.client = client
        self.api: Any = client.api
        self.known: dict[str, str] = {}
        self.port = _free_port()
        self._built: dict[str, Path] = {}
        self._kept = frozenset(load_image(client, self._image(version).path) for version in (OLD, EARLIER))

    # what there is before

    def prepare(self, scenario: Scenario, root: Path) -> Paths:
        """The device as the scenario wants it, below this folder; the package is not yet there."""
        paths = Paths.below(root)
        paths.inbox.mkdir(parents=True)
        paths.config.parent.mkdir(parents=True)
        timeout_s = 2 if scenario.strike == "hang" else 20
        paths.config.write_text(
            f"[trust]\nallow_unsigned = true\n[docker]\ntimeout_secs = {timeout_s}\nload_stall_secs = {5 * timeout_s}\n"
        )
        paths.services.write_text(_catalog(scenario))
        first = EARLIER if scenario.updated_before else OLD
        self._run_service(first, scenario)
        if scenario.updated_before:
            self._update(paths)
        if scenario.earlier_image_gone:
            self._forget_image(EARLIER)
        self.known = {self.service()["Id"]: "old", f"containers/{NAME}/": "containers/service/"}
        return paths

    def package(self, scenario: Scenario) -> Path:
        """Built once."""
        key = f"{scenario.release}-{scenario.package_format}-{scenario.large_layers}-{scenario.damaged}"
        if key not in self._built:
            image = self._image(NEW, scenario)
            self._built[key] = self._write(image, NEW, key, scenario.package_format)
            if scenario.damaged:
                _damage(self._built[key])
        return self._built[key]

    def bring(self, scenario: Scenario, paths: Paths) -> None:
        """Put the package where the update finds it."""
        if scenario.way is Way.INBOX:
            shutil.copy(self.package(scenario), paths.inbox / "release.edgepkg")
        elif scenario.way is Way.STICK:
            plug(paths.media / "stick", self.package(scenario))

    def reset(self, paths: Paths) -> None:
        """Remove what a cell left, but not the images that all of them begin with."""
        unplug(paths.media / "stick")
        shutil.rmtree(paths.state_dir.parents[2], ignore_errors=True)
        for container in self.api.containers(all=True, quiet=True):
            with suppress(docker.errors.APIError):
                self.api.remove_container(container["Id"], force=True, v=True)
        for image in self.api.images(all=True):
            if image["Id"] not in self._kept:
                with suppress(docker.errors.APIError):
                    self.api.remove_image(image["Id"], force=True)
        self._restore_kept()

    # what stands on it

    def service(self) -> dict[str, Any]:
        """The inspect of the service's container."""
        return dict(self.api.inspect_container(NAME))

    def image_id(self, version: str) -> str:
        return str(self.api.inspect_image(reference(version))["Id"])

    def told_version(self) -> str:
        """What stands in the service's own file `/version`."""
        stream, _ = self.api.get_archive(NAME, "/version")
        return b"".join(stream)[512:].split(b"\n")[0].decode()

    # the parts

    def _run_service(self, version: str, scenario: Scenario) -> None:
        network = (
            {"ports": {"80/tcp": self.port}}
            if scenario.meddling.takes_port
            else {"network_mode": scenario.network}
        )
        containers: Any = self.client.containers
        container = containers.create(
            reference(version), name=NAME, environment={"SITE": "north"}, labels={"site": "north"}, **network,
            restart_policy={"Name": scenario.policy}, detach=True,
        )  # fmt: skip
        if not scenario.stopped:
            container.start()

    def _update(self, paths: Paths) -> None:
        """To OLD, as an earlier day did it; its package is gone since."""
        image = self._image(OLD)
        package = self._built.setdefault("old", self._write(image, OLD, "old", 1))
        device = open_device(paths, Bus([]))
        device.docker = Docker(timeout_s=60, load_stall_s=60, environment={"DOCKER_HOST": self.engine.host})
        try:
            settle(device)
            verdict = Updater(device).handle(Request(package, Origin.COMMAND))
        finally:
            device.database.close()
        assert verdict is not None
        assert verdict.outcome == "succeeded", verdict

    def _forget_image(self, version: str) -> None:
        """All of its tags, Caisson's own included."""
        for tag in self.api.inspect_image(reference(version))["RepoTags"]:
            self.api.remove_image(tag, force=True)

    def _restore_kept(self) -> None:
        for version in (OLD, EARLIER):
            with suppress(docker.errors.ImageNotFound):
                tags = self.api.inspect_image(reference(version))["RepoTags"]
                for tag in set(tags) - {reference(version)}:
                    self.api.remove_image(tag)
                continue
            load_image(self.client, self._image(version).path)

    def _image(self, version: str, scenario: Scenario | None = None) -> BuiltImage:
        release = scenario.release if scenario else Release.GOOD
        count = scenario.large_layers if scenario else 0
        recipe = ImageRecipe(
            reference=reference(version), version=version, cmd=tuple(_COMMANDS.get(release, FOREVER)),
            healthcheck=_SICK if release is Release.SICK else None, env={"RELEASE": version},
        )  # fmt: skip
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            folder = Path(name)
            noise = [
                noise_layer(folder / f"{number}.tar", _LAYER_MB, seed=f"{version}-{number}")
                for number in range(count)
            ]
            layers = (
                busybox_layer(folder / "busybox.tar"),
                *noise,
                files_layer(folder / "version.tar", {"/version": f"{version}\n"}),
            )
            return layered_image(self.folder / f"{version}-{release}-{count}.tar", recipe, layers)

    def _write(self, image: BuiltImage, version: str, key: str, package_format: int) -> Path:
        path = self.folder / f"{key}.edgepkg"
        write_package(path, service=NAME, version=version, reference=image.reference, image_tar=image.path)
        if package_format == 2:
            path = _converted(path)
        return path


def _converted(path: Path) -> Path:
    new = path.with_stem(f"{path.stem}-converted")
    with redirect_stdout(io.StringIO()):
        status = caisson(["package", "convert", str(path), str(new), "--root", str(path.parent)])
    assert status == 0
    return new


def _damage(path: Path) -> None:
    """One bit, in the last large layer."""
    with path.open("r+b") as file:
        file.seek(int(path.stat().st_size * 0.9))
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))


def _catalog(scenario: Scenario) -> str:
    kind = "container_health" if scenario.release is Release.SICK else "running"
    return f"""\
catalog_version = 1
[[services]]
name = "{NAME}"
service_revision = "1"
platform = "{PLATFORM}"
runtime_mode = "docker"
[services.docker]
container_name = "{NAME}"
image_reference = "{reference(OLD)}"
[services.health_check]
kind = "{kind}"
timeout_secs = 6
poll_interval_secs = 0.1
stable_secs = 0.25
"""


def _free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("0.0.0.0", 0))
        return int(asked.getsockname()[1])


def plug(place: Path, package: Path) -> None:
    """A stick that nobody can write to."""
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "stick", place], check=True)
    shutil.copy(package, place / "release.edgepkg")
    subprocess.run(["mount", "-o", "remount,ro", place], check=True)


def unplug(place: Path) -> None:
    while place.is_mount():
        subprocess.run(["umount", "--lazy", place], check=True)


@contextmanager
def lab(*, live_restore: bool) -> Iterator[Lab]:
    """A lab of its own; everything is gone at the end."""
    flags = ["--live-restore"] if live_restore else []
    with (
        private_engine("matrix", flags=flags) as engine,
        tempfile.TemporaryDirectory(prefix="matrix-") as folder,
        closing(docker.DockerClient(base_url=engine.host, timeout=120)) as client,
    ):
        yield Lab(engine, Path(folder), client)
