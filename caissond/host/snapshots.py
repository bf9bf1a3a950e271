"""What a load that was cut off leaves with containerd's image store: unpacked layers, which it calls snapshots.

They are of no image, a lease keeps them for a day, and the next load takes them as they are, though a power cut may
have emptied them (docs/ingest.md). Docker's API knows neither, so containerd's own `ctr` is asked.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from caissond.errors import DockerError
from caissond.host.docker import Docker
from caissond.host.held_port import is_docker_of_systemd
from caissond.host.program import Ended, run_program
from caissond.model.text import printable

SOCKETS = (Path("/run/docker/containerd/containerd.sock"), Path("/run/containerd/containerd.sock"))
"""One that Docker has started for itself, where it has, and the system's."""
_CALL_S, _COLLECT_S = 30.0, 300.0
"""The longest wait for an answer, and for folders of many files to be removed."""
_TRIES = 3
_FOR_A_WHILE = re.compile(r"\d{1,9}-[\w-]{4} |.*containerd\.io/gc\.expire=")
"""A lease with an end, or one of an operation that goes on: Docker before 27 gives some of those no end, but all have
an ID as containerd makes it up (`leases.WithRandomID`). Containers and the builder's cache have others.
"""


def chain_ids(diff_ids: Sequence[str]) -> list[str]:
    """What tells each layer with all below it (OCI image specification, config, "Layer ChainID")."""
    chains = list(diff_ids[:1])
    for diff_id in diff_ids[1:]:
        chains.append(f"sha256:{hashlib.sha256(f'{chains[-1]} {diff_id}'.encode()).hexdigest()}")
    return chains


def drop_left_over(docker: Docker, diff_ids: Sequence[str], of_images: Iterable[Sequence[str]]) -> None:
    """Have containerd delete the unpacked layers of an image to be loaded that no unpacked image has. Others' loads and
    builds that go on at this very moment may fail because of it, or say that they loaded what they did not unpack.

    Nothing is done where the engine's containerd is not known to be on this machine, or may not be asked.

    Args:
        diff_ids: of the image to be loaded.
        of_images: the diff IDs of each image that is there.

    Raises:
        DockerError: `docker.containerd_unreachable`.
    """
    if ctr := find_containerd(docker):
        _clear(ctr, set(chain_ids(diff_ids)), [chain_ids(layers) for layers in of_images])


def _clear(ctr: "Ctr", wanted: set[str], images: Sequence[Sequence[str]]) -> None:
    problem = ""
    for _ in range(_TRIES):
        there = ctr.unpacked()
        # an image that is not unpacked to its top was cut off, too
        owned = {chain for image in images if image and image[-1] in there for chain in image}
        if not wanted & there - owned:
            return
        problem = ctr.end_leases()
        if not problem:
            return  # what is left is kept by something else
    raise _failed(problem)


@dataclass(frozen=True, slots=True)
class Ctr:
    """`ctr` on a containerd. Its methods raise DockerError, `docker.containerd_unreachable`."""

    address: str
    namespace: str
    snapshotter: str
    path: str
    before_call: Callable[[float], None]

    def unpacked(self) -> set[str]:
        """The chain IDs of the layers that are unpacked, of whatever image or of none."""
        listed = self._lines("snapshots", "--snapshotter", self.snapshotter, "ls")
        return {key for key, *_ in map(str.split, listed) if key.startswith("sha256:")}

    def end_leases(self) -> str:
        """End what keeps things for a while, and have what nothing else keeps collected before this returns. A snapshot
        cannot be removed by its name: one that was collected still counts as standing on the one below it.

        Returns:
            What `ctr` says where not all were ended: one may have ended by itself meanwhile.
        """
        # the last one that is ended has the rest collected, so there has to be one
        self._lines("leases", "create")
        for_a_while = [line.split()[0] for line in self._lines("leases", "ls") if _FOR_A_WHILE.match(line)]
        ended = self._run("leases", "rm", "--sync", *for_a_while, timeout_s=_COLLECT_S)
        return _words(ended) if ended.code else ""

    def _lines(self, *arguments: str) -> list[str]:
        """Those below the head of the table that it prints."""
        ended = self._run(*arguments, timeout_s=_CALL_S)
        if ended.code != 0:
            raise _failed(_words(ended))
        return [line for line in ended.output.splitlines()[1:] if line.strip()]

    def _run(self, *arguments: str, timeout_s: float) -> Ended:
        command = ("ctr", "--address", self.address, "--namespace", self.namespace, *arguments)
        self.before_call(timeout_s)
        try:
            ended = run_program(command, environment={"PATH": self.path}, timeout_s=timeout_s)
        except OSError as exc:
            raise _failed(f"ctr cannot be started: {exc.strerror}") from exc
        if ended.code is None:
            raise _failed("ctr does not answer")
        return ended


def find_containerd(docker: Docker) -> Ctr | None:
    """The containerd of this engine; None where it is not known, is not here, or only root may ask it."""
    engine, environment = docker.describe(), docker.environment
    told = engine.get("Containerd") or {}  # from Docker 27 on
    address = told.get("Address") or environment.get("CONTAINERD_ADDRESS")
    sockets: tuple[Path, ...] = SOCKETS if is_docker_of_systemd(docker) else ()
    if address and (environment.get("DOCKER_HOST") or "unix:").startswith("unix:"):
        sockets = (Path(address),)
    socket = next((socket for socket in sockets if os.access(socket, os.W_OK) and socket.is_socket()), None)
    if socket is None:
        return None
    namespace = (told.get("Namespaces") or {}).get("Containers") or "moby"
    path = environment.get("PATH") or os.defpath
    return Ctr(str(socket), namespace, str(engine["Driver"]), path, docker.before_call)


def _words(ended: Ended) -> str:
    return printable(ended.errors.strip()) or f"ctr ended with code {ended.code}"


def _failed(why: str) -> DockerError:
    text = f"cannot look for layers that a cut-off load left, or drop them: {why}"
    return DockerError(text, code="docker.containerd_unreachable")
