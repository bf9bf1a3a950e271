"""What there is on an engine, and of an engine on the machine, so that tests can tell whether something stayed."""

import os
from dataclasses import dataclass
from pathlib import Path

import docker

from fixtures.remains import Belongings, mounts_below, processes_of
from fixtures.subnet import links_within


@dataclass(frozen=True, slots=True)
class Inventory:
    """What an engine holds."""

    containers: frozenset[str]
    images: frozenset[str]
    volumes: frozenset[str]
    networks: frozenset[str]

    def since(self, before: "Inventory") -> list[str]:
        """What is here and was not before, by kind and name."""
        kinds = {
            "container": self.containers - before.containers,
            "image": self.images - before.images,
            "volume": self.volumes - before.volumes,
            "network": self.networks - before.networks,
        }
        return [f"{kind} {name}" for kind, names in kinds.items() for name in sorted(names)]


def take_inventory(client: docker.DockerClient) -> Inventory:
    """Containers by name, images by ID and tags, volumes and networks by name."""
    return Inventory(
        containers=frozenset(str(container["Names"][0]) for container in client.api.containers(all=True)),
        images=frozenset(f"{image['Id']} {image['RepoTags']}" for image in client.api.images()),
        volumes=frozenset(str(volume["Name"]) for volume in client.api.volumes()["Volumes"] or []),
        networks=frozenset(str(network["Name"]) for network in client.api.networks()),
    )


def take_stock(belongings: Belongings) -> list[str]:
    """What a private engine has on the machine, by kind: nothing once it is closed."""
    groups = (Path(folder) for folder, _, _ in os.walk("/sys/fs/cgroup"))  # others come and go meanwhile
    cgroups = [folder for folder in groups if folder.name == belongings.tag]
    return [
        *(f"process {pid}" for pid in processes_of(belongings)),
        *(f"mount {point}" for point in mounts_below(belongings.directory)),
        *(f"link {link}" for link in links_within(belongings.network)),
        *(f"cgroup {folder}" for folder in cgroups),
        *(f"folder {folder}" for folder in [belongings.directory] if folder.exists()),
    ]
