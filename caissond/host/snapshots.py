"""What a load that was cut off leaves with containerd's image store: unpacked layers, which it calls snapshots.

They are of no image, a lease keeps them for a day, and the next load takes them as they are, though a power cut may
have emptied them (docs/ingest.md). Docker's API knows neither, so containerd's own `ctr` is asked.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from caissond.errors import DockerError
from caissond.host.docker import Docker
from caissond.host.held_port import is_docker_of_systemd
from caissond.host.program import run_program
from caissond.model.text import printable

SOCKETS = (Path("/run/containerd/containerd.sock"), Path("/run/docker/containerd/containerd.sock"))
"""The system's containerd, and one that Docker has started for itself."""
_CALL_S = 50
"""For one call of `ctr`; less than half of what the daemon's watchdog waits for."""


def chain_ids(diff_ids: Sequence[str]) -> list[str]:
    """What tells each layer with all below it (OCI image specification, config, "Layer ChainID")."""
    chains = list(diff_ids[:1])
    for diff_id in diff_ids[1:]:
        chains.append(f"sha256:{hashlib.sha256(f'{chains[-1]} {diff_id}'.encode()).hexdigest()}")
    return chains


def drop_left_over(docker: Docker, diff_ids: Sequence[str], of_images: Iterable[Sequence[str]]) -> None:
    """Have containerd delete the unpacked layers of an image to be loaded that no image has. Others' loads that go on
    at this very moment may fail of it, and can be repeated.

    Nothing is done where the engine's containerd is not known to be on this machine.

    Args:
        diff_ids: of the image to be loaded.
        of_images: the diff IDs of each image that is there.

    Raises:
        DockerError: `docker.load_failed`, containerd could not be asked.
    """
    ctr = Ctr.of(docker)
    if ctr is None:
        return
    owned = {chain for layers in of_images for chain in chain_ids(layers)}
    if ctr.unpacked() & set(chain_ids(diff_ids)) - owned:
        ctr.end_leases()


@dataclass(frozen=True, slots=True)
class Ctr:
    """`ctr` on the containerd of an engine."""

    address: str
    namespace: str
    snapshotter: str
    path: str

    @classmethod
    def of(cls, docker: Docker) -> "Ctr | None":
        """None where the engine's containerd is not known to be on this machine."""
        engine, environment = docker.describe(), docker.environment
        told = engine.get("Containerd") or {}  # from Docker 27 on
        address = environment.get("CONTAINERD_ADDRESS") or told.get("Address")
        if not address and is_docker_of_systemd(docker):
            address = next((str(socket) for socket in SOCKETS if socket.is_socket()), None)
        if not address:
            return None
        namespace = (told.get("Namespaces") or {}).get("Containers") or "moby"
        return cls(address, namespace, str(engine["Driver"]), environment.get("PATH") or os.defpath)

    def unpacked(self) -> set[str]:
        """The chain IDs of the layers that are unpacked, of whatever image or of none.

        Raises:
            DockerError: `docker.load_failed`.
        """
        listed = self._run("snapshots", "--snapshotter", self.snapshotter, "ls")
        return {key for key, *_ in map(str.split, listed) if key.startswith("sha256:")}

    def end_leases(self) -> None:
        """End what keeps things for a while, and have what nothing else keeps collected before this returns. A snapshot
        cannot be removed by its name: one that was collected still counts as standing on the one below it.

        Raises:
            DockerError: `docker.load_failed`.
        """
        listed = self._run("leases", "ls")
        for_a_while = [line.split()[0] for line in listed if "containerd.io/gc.expire=" in line]
        if for_a_while:
            self._run("leases", "rm", "--sync", *for_a_while)

    def _run(self, *arguments: str) -> list[str]:
        """The lines below the head of the table that it prints."""
        command = ("ctr", "--address", self.address, "--namespace", self.namespace, *arguments)
        try:
            ended = run_program(command, environment={"PATH": self.path}, timeout_s=_CALL_S)
        except OSError as exc:
            raise _failed(f"ctr cannot be started: {exc.strerror}") from exc
        if ended.code != 0:
            raise _failed(printable(ended.errors.strip()) or "ctr does not answer")
        return [line for line in ended.output.splitlines()[1:] if line.strip()]


def _failed(why: str) -> DockerError:
    return DockerError(f"cannot look for layers that a cut-off load left: {why}", code="docker.load_failed")
