"""What is to be seen on a device that has settled: all that the promises are held against."""

import io
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caissond.model.paths import Paths
from fixtures.machine.device import Device
from fixtures.machine.qmp import parse_object
from fixtures.machine.recipe import HarnessError
from fixtures.machine.releases import PORT

STATE_FOLDER = "/var/lib/caisson"


@dataclass(frozen=True, slots=True)
class Facts:
    """Docker's side; Caisson's state is a copy of its files."""

    containers: list[dict[str, Any]]
    """`docker inspect` of each."""
    tags: dict[str, str]
    """Tag to image ID."""
    untagged: list[str]
    version: str
    """What the service itself tells, asked over HTTP; empty when it does not answer."""
    filler: str
    """The digest of a large file of the service's image, read from its own filesystem; empty when it has none."""
    note: str
    """What the service had written to its volume before."""
    state: Paths
    leftovers: list[str]
    """In the work folder and the inbox."""


_LOOK = f"""\
import hashlib, http.client, json, os, socket, time

class Docker(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect("/var/run/docker.sock")

def ask(path):
    connection = Docker("docker")
    connection.request("GET", path)
    return json.load(connection.getresponse())

def served():
    for _ in range(10):
        connection = http.client.HTTPConnection("127.0.0.1", {PORT}, timeout=30)
        try:
            connection.request("GET", "/version")
            return connection.getresponse().read().decode().strip()
        except (OSError, http.client.HTTPException):
            time.sleep(2)
    return ""

def read(path):
    try:
        return open(path, "rb").read()
    except OSError:
        return b""

def filler(container):
    folder = container["GraphDriver"]["Data"]["MergedDir"]
    content = read(folder + "/filler") if container["State"]["Running"] else b""
    return hashlib.sha256(content).hexdigest() if content else ""

containers = [ask(f"/containers/{{one['Id']}}/json") for one in ask("/containers/json?all=1")]
print(json.dumps(dict(
    containers=containers,
    filler="".join(map(filler, containers)),
    images=[(one["Id"], one["RepoTags"] or []) for one in ask("/images/json")],
    version=served(),
    root=[line.split()[3] for line in open("/proc/mounts") if line.split()[1] == "/"][-1].split(","),
    note=read("/var/lib/docker/volumes/web-data/_data/note").decode().strip(),
    leftovers=[
        os.path.join(folder, name)
        for top in ("work", "inbox")
        for folder, below, files in os.walk(os.path.join("{STATE_FOLDER}", top))
        for name in below + files
    ],
)))
"""
"""One program: each that is started takes seconds on an emulated processor, and Docker's own command most of all."""


def gather(device: Device, folder: Path) -> Facts:
    """Looks, and changes nothing.

    Raises:
        HarnessError: the look itself failed, or the device is not one on which a power cut shows anything.
        MachineError: the device cannot be looked at.
    """
    seen = parse_object(device.run("python3", "-c", _LOOK))
    if "noauto_da_alloc" not in seen["root"]:
        raise HarnessError(f"ext4 hides a missing fsync: the root is mounted {','.join(seen['root'])}")
    tags = {tag: image for image, tags in seen["images"] for tag in tags if not tag.startswith("<none>")}
    return Facts(
        containers=seen["containers"],
        tags=tags,
        untagged=[image for image, _ in seen["images"] if image not in tags.values()],
        version=seen["version"],
        filler=seen["filler"],
        note=seen["note"],
        state=_copy_state(device, folder),
        leftovers=seen["leftovers"],
    )


def _copy_state(device: Device, folder: Path) -> Paths:
    """Settings, catalog and database, below a folder of this side."""
    packed = device.machine.fetch(
        "tar", "-c", "-C", "/", "--exclude=*/inbox/*", "etc/caisson", STATE_FOLDER[1:]
    )
    try:
        with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
            tar.extractall(folder, filter="data")
    except (OSError, tarfile.TarError) as exc:
        raise HarnessError(f"cannot copy the state: {exc}") from exc
    return Paths.below(folder)
