"""A private engine with what a scenario's device has on it, made anew for each cell."""

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import docker
import docker.errors

from caissond.host.docker import Docker
from caissond.intake.scan import Origin
from caissond.model.paths import Paths
from caissond.report.bus import Bus
from caissond.update.acceptance import Request
from caissond.update.recovery import settle
from caissond.update.updater import Updater
from caissond.wiring import open_device
from fixtures.compose import ComposeKind, compose_environment
from fixtures.engine import PrivateEngine, private_engine
from fixtures.images import load_image
from tests.matrix.catalog import COMPOSE_FILE, catalog_of, compose_file_of, compose_labels, settings_of
from tests.matrix.scenario import Scenario, Way
from tests.matrix.target import BYSTANDER, DATABASE, EARLIER, JOB, OLD, WEB, Target, reference
from tests.matrix.workshop import Workshop

_KEPT = ((WEB, OLD), (WEB, EARLIER), (DATABASE, OLD), (JOB, OLD))
"""The images that are there before."""


class Lab:
    """One engine. Cells follow each other on it; `reset` removes what one left."""

    def __init__(self, engine: PrivateEngine, folder: Path, client: docker.DockerClient) -> None:
        self.engine = engine
        self.folder = folder
        self.client = client
        self.api: Any = client.api
        self.first: dict[str, str] = {}
        """The ids that the containers of the cell had at first, by their names."""
        self.port = _free_port()
        self._workshop = Workshop(folder)
        self._kept = frozenset(
            load_image(client, self._workshop.image(target, version).path) for target, version in _KEPT
        )

    # what there is before

    def prepare(self, scenario: Scenario, root: Path) -> Paths:
        """The device as the scenario wants it, below this folder; the package is not yet there."""
        paths = Paths.below(root)
        paths.inbox.mkdir(parents=True)
        paths.config.parent.mkdir(parents=True)
        paths.config.write_text(settings_of(scenario))
        paths.services.write_text(catalog_of(scenario))
        paths.services.with_name(COMPOSE_FILE).write_text(compose_file_of(scenario))
        self._stand_up(scenario)
        if scenario.updated_before:
            self._update(paths)
        if scenario.earlier_image_gone:
            self._forget_image(reference(WEB.name, EARLIER))
        self.first = {name: self.inspect(name)["Id"] for name in scenario.names}
        return paths

    @property
    def known(self) -> dict[str, str]:
        """Words for what is known beforehand of the names of requests."""
        old = dict.fromkeys(self.first.values(), "old")
        return old | {f"containers/{name}/": "containers/service/" for name in self.first}

    def environment(self, scenario: Scenario) -> Mapping[str, str]:
        """What a process of Caisson needs besides the address of the engine."""
        return self._compose if any(target.is_composed for target in scenario.targets) else {}

    def bring(self, scenario: Scenario, paths: Paths) -> None:
        """Put the package where the update finds it."""
        if scenario.way is Way.INBOX:
            shutil.copy(self._workshop.package(scenario), paths.inbox / "release.edgepkg")
        elif scenario.way is Way.STICK:
            plug(paths.media / "stick", self._workshop.package(scenario))

    def start_all(self, scenario: Scenario) -> None:
        """What ran at first and does not now."""
        if not scenario.stopped:
            for name in scenario.names:
                self.api.start(name)

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
        for target, version in _KEPT:
            self._restore(target, version)

    # what stands on it

    def inspect(self, name: str) -> dict[str, Any]:
        """What there is to know of a container."""
        return dict(self.api.inspect_container(name))

    def tagged(self, tag: str) -> str | None:
        """The id of the image with this name."""
        with suppress(docker.errors.ImageNotFound):
            return str(self.api.inspect_image(tag)["Id"])
        return None

    def told_version(self, name: str) -> str:
        """What stands in a container's own file `/version`: as its process sees it, or else as the engine, which starts
        a program to answer.
        """
        with suppress(OSError):
            pid = self.inspect(name)["State"]["Pid"] or "-"
            return Path(f"/proc/{pid}/root/version").read_text().split("\n")[0]
        stream, _ = self.api.get_archive(name, "/version")
        return b"".join(stream)[512:].split(b"\n")[0].decode()

    # the parts

    @cached_property
    def _compose(self) -> Mapping[str, str]:
        return compose_environment(ComposeKind.V2, self.folder / "compose")

    def _stand_up(self, scenario: Scenario) -> None:
        first = EARLIER if scenario.updated_before else OLD
        for target in scenario.targets:
            image = reference(target.name, first)
            if target.is_composed:
                self.api.tag(image, target.image_name)
                image = target.image_name
            for name in target.containers:
                self._run(scenario, name, image)
            for name in target.dependants:
                self._run(scenario, name, reference(DATABASE.name, OLD), f"container:{target.containers[0]}")
            if target.runs_once:
                self.api.wait(target.containers[0])
        for name in scenario.bystanders:
            self._run(scenario, name, reference(DATABASE.name, OLD))

    def _run(self, scenario: Scenario, name: str, image: str, network: str = "") -> None:
        placed: dict[str, Any] = {"network_mode": network or scenario.network}
        if scenario.meddling.takes_port:
            placed = {"ports": {"80/tcp": self.port}}
        labels = {"site": "north"}
        if scenario.bystanders:
            placed["hostname"] = name
            labels |= compose_labels(name, str(self.tagged(image)))
        containers: Any = self.client.containers
        container = containers.create(
            image, name=name, environment={"SITE": "north"}, labels=labels, **placed,
            restart_policy={"Name": scenario.policy}, detach=True,
        )  # fmt: skip
        if not scenario.stopped or name == BYSTANDER:
            container.start()

    def _update(self, paths: Paths) -> None:
        """To OLD, as an earlier day did it; its package is gone since."""
        device = open_device(paths, Bus([]))
        device.docker = Docker(timeout_s=60, load_stall_s=60, environment={"DOCKER_HOST": self.engine.host})
        device.restart_docker = None  # that would be the machine's own
        try:
            settle(device)
            verdict = Updater(device).handle(Request(self._workshop.old_package(WEB), Origin.COMMAND))
        finally:
            device.database.close()
        assert verdict is not None
        assert verdict.outcome == "succeeded", verdict

    def _forget_image(self, tag: str) -> None:
        """All of its tags, Caisson's own included."""
        for other in self.api.inspect_image(tag)["RepoTags"]:
            self.api.remove_image(other, force=True)

    def _restore(self, target: Target, version: str) -> None:
        """As it was loaded, with its own tag alone."""
        own = reference(target.name, version)
        try:
            tags = self.api.inspect_image(own)["RepoTags"]
        except docker.errors.ImageNotFound:
            load_image(self.client, self._workshop.image(target, version).path)
            return
        for tag in set(tags) - {own}:
            self.api.remove_image(tag)


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
