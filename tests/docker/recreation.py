"""What a container was asked to be, read from a real engine before and after an update, and compared.

What the same `docker create` makes of the new image says what the replacement has to be; the old container says what
must not have changed.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

import docker

from fixtures.engine import Engine, PrivateEngine
from fixtures.images import Healthcheck, ImageRecipe, busybox_image, load_image
from fixtures.subnet import find_free_network

Inspect = dict[str, Any]

OLD_DEFAULTS: Inspect = {
    "Entrypoint": ["/bin/env"],
    "Env": ["PATH=/bin", "MODE=old", "ONLY_OLD=1"],
    "Labels": {"maintainer": "old", "release": "1"},
    "ExposedPorts": {"80/tcp": {}, "81/tcp": {}},
    "Volumes": {"/data": {}},
    "User": "0",
    "WorkingDir": "/tmp",
    "StopSignal": "SIGQUIT",
}
NEW_DEFAULTS: Inspect = {
    "Entrypoint": ["/bin/env", "STARTED=by-new"],
    "Env": ["PATH=/bin:/sbin", "MODE=new", "ONLY_NEW=1"],
    "Labels": {"maintainer": "new", "release": "2"},
    "ExposedPorts": {"82/tcp": {}},
    "Volumes": {"/srv": {}},
    "User": "0:0",
    "WorkingDir": "/",
    "StopSignal": "SIGTERM",
}
"""No default of the two images is the same."""
OLD_CHECK = Healthcheck(test=("CMD", "/bin/true"), interval_s=60, retries=2, timeout_s=3, start_period_s=4)
NEW_CHECK = Healthcheck(test=("CMD", "/bin/ls"), interval_s=50, retries=7, timeout_s=5, start_period_s=6)
FOREIGN = (
    "Id",
    "Name",
    "Created",
    "State",
    "ExecIDs",
    "Image",
    "LogPath",
    "ResolvConfPath",
    "HostnamePath",
    "HostsPath",
    "GraphDriver",
)
"""What another container has of its own."""
OF_THE_ENGINE = ("Aliases", "IPAMConfig", "Links", "DriverOpts")
"""What can be asked for of an endpoint; its addresses are looked at where somebody asked for one."""


class CommandFailed(Exception):
    """The docker command line said no; in its own words."""


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """What a container can be asked to have to do with: networks, other containers and their volumes."""

    client: docker.DockerClient
    host: str
    prefix: str
    subnet: IPv4Network

    @property
    def subnet6(self) -> IPv6Network:
        return IPv6Network(f"fd00:ca:{self.subnet[0].packed.hex()[2:6]}::/64")

    def name(self, short: str) -> str:
        return f"{self.prefix}-{short}"

    def filled(self, words: Sequence[str], name: str = "") -> tuple[str, ...]:
        """Command line words with the names and addresses of this engine in them."""
        places = {
            "{NAME}": name, "{NET}": self.name("net"), "{OTHER}": self.name("other"), "{DB}": self.name("db"),
            "{PEER}": self.name("peer"), "{STORE}": self.name("store"), "{VOL}": self.name("vol"),
            "{RULE}": "c 1:3 rwm", "{IP}": str(self.subnet[50]),
            "{IP2}": str(self.subnet[51]), "{IP6}": str(self.subnet6[80]),
        }  # fmt: skip
        for place, text in places.items():
            words = [word.replace(place, text) for word in words]
        return tuple(words)

    def cli(self, *words: str) -> str:
        """What the docker command line prints.

        Raises:
            CommandFailed: it did not like it.
        """
        program = shutil.which("docker", path="/usr/bin:/usr/local/bin")
        assert program is not None, "no docker command line here: apt-get install docker.io"
        done = subprocess.run(
            [program, "--host", self.host, *words], capture_output=True, text=True, check=False, timeout=120
        )
        if done.returncode:
            raise CommandFailed(f"docker {' '.join(words)}: {done.stderr}")
        return done.stdout.strip()

    def create(self, name: str, options: Sequence[str], image: str, command: Sequence[str] = ()) -> None:
        words = self.filled(("create", "--name", name, *options), name)
        self.cli(*words, image, *command)

    def remove(self, *names: str) -> None:
        """With the anonymous volumes that were made for them."""
        self.cli("rm", "--force", "--volumes", *names)

    def inspect(self, name: str) -> Inspect:
        found: Inspect = self.client.api.inspect_container(name)
        return found


@contextmanager
def neighbourhood(
    client: docker.DockerClient, engine: Engine, prefix: str, folder: Path
) -> Iterator[Neighbourhood]:
    """Two networks, two containers that run, one with volumes, and nothing of it afterwards."""
    own = engine.belongings if isinstance(engine, PrivateEngine) else None
    subnet = list((own.network if own else find_free_network()).subnets(new_prefix=24))[2]
    there = Neighbourhood(client, engine.host, prefix, subnet)
    recipe = ImageRecipe(reference=f"{prefix}/neighbour:1", version="1")
    load_image(client, busybox_image(folder / "neighbour.tar", recipe).path)
    try:
        _settle_in(there, recipe.reference)
        yield there
    finally:
        _move_out(there)


def _settle_in(there: Neighbourhood, image: str) -> None:
    there.cli(
        "network",
        "create",
        "--ipv6",
        f"--subnet={there.subnet}",
        f"--subnet={there.subnet6}",
        there.name("net"),
    )
    there.cli("network", "create", there.name("other"))
    there.cli("run", "--detach", "--name", there.name("db"), "--ipc=shareable", image)
    there.cli("run", "--detach", "--name", there.name("peer"), f"--network={there.name('net')}", image)
    volumes = ("--volume=/kept", f"--volume={there.name('vol-store')}:/shared")
    there.cli("create", "--name", there.name("store"), *volumes, image)


def _move_out(there: Neighbourhood) -> None:
    api = there.client.api
    for container in api.containers(all=True):
        if container["Names"][0].startswith(f"/{there.prefix}-"):
            api.remove_container(container["Id"], v=True, force=True)
    for volume in api.volumes()["Volumes"] or []:
        if volume["Name"].startswith(there.prefix):
            api.remove_volume(volume["Name"])
    for network in api.networks():
        if network["Name"].startswith(there.prefix):
            api.remove_network(network["Id"])
    for image in api.images():
        for tag in image["RepoTags"] or ():
            if tag.startswith(there.prefix):
                api.remove_image(tag)


# what is compared


def asked_for(inspect: Inspect) -> Inspect:
    """What of an inspect somebody asked for, or an image gave; the same for every container made by the same words."""
    shown = json.loads(json.dumps(inspect))
    short_id, name = shown["Id"][:12], shown["Name"].lstrip("/")
    for key in FOREIGN:
        shown.pop(key)
    config = shown["Config"]
    config.pop("Image")
    config["Hostname"] = "<its id>" if config["Hostname"] == short_id else config["Hostname"]
    config["Env"] = sorted(config["Env"])  # Docker itself turns their order round
    config["Labels"] = {k: v for k, v in config["Labels"].items() if not k.startswith("io.caisson.")}
    host = shown["HostConfig"]
    host["Links"] = sorted(link.replace(f":/{name}/", ":/<its name>/") for link in host["Links"] or ())
    shown["Mounts"] = {mount["Destination"]: mount for mount in shown["Mounts"]}
    networks = shown["NetworkSettings"]["Networks"]
    shown["NetworkSettings"] = {net: _endpoint(end, short_id) for net, end in networks.items()}
    return dict(shown)


def _endpoint(end: Inspect, short_id: str) -> Inspect:
    asked = {key: end.get(key) or None for key in OF_THE_ENGINE}
    asked["Aliases"] = sorted(set(asked["Aliases"] or ()) - {short_id})
    return asked


def without_names(shown: Inspect, *names: str) -> Inspect:
    """The service's name is an alias of its replacement, which has another one at first."""
    for end in shown["NetworkSettings"].values():
        end["Aliases"] = [alias for alias in end["Aliases"] if alias not in names]
    return shown


def without_anonymous(shown: Inspect) -> Inspect:
    """Anonymous volumes left out: they are compared with the old container's, not with those of another one."""
    kept = deepcopy(shown)
    is_anonymous = {mount["Name"] for mount in kept["Mounts"].values() if len(mount.get("Name", "")) == 64}
    kept["Mounts"] = {to: m for to, m in kept["Mounts"].items() if m.get("Name") not in is_anonymous}
    binds = [bind for bind in kept["HostConfig"]["Binds"] or () if bind.split(":")[0] not in is_anonymous]
    kept["HostConfig"]["Binds"] = sorted(bind for bind in binds if ":" in bind)
    for wanted in kept["HostConfig"].get("Mounts") or ():
        if wanted.get("Source") in is_anonymous:
            wanted.pop("Source")
    return kept


def anonymous_volumes(inspect: Inspect) -> dict[str, tuple[str, bool]]:
    """Their names and whether they can be written to, by place."""
    volumes = [mount for mount in inspect["Mounts"] if len(mount.get("Name", "")) == 64]
    return {volume["Destination"]: (volume["Name"], volume["RW"]) for volume in volumes}


def differences(before: object, after: object, path: str = "") -> list[str]:
    """Where two inspects are not the same."""
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return [] if before == after else [f"{path}: {before!r} -> {after!r}"]
    keys = sorted(before.keys() | after.keys())
    return [
        line
        for key in keys
        for line in differences(before.get(key), after.get(key), f"{path}.{key}".lstrip("."))
    ]
