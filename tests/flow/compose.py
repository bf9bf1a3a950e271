"""A Compose service that is scaled, and one that ends when it is done, on an engine in memory.

Compose's own command is a script that answers as the real one does; `tests/docker` has the real ones.
"""

import json
from pathlib import Path

from caissond.update.containers import COMPOSE_LABEL
from tests.flow.device import CATALOG, World
from tests.flow.fake_docker import COMPLETES
from tests.flow.faults import Check, Fault, broken_among, settled

COMPOSE_IMAGE = "example/shop:stable"
"""What the Compose file names."""
NAMES = ("shop-frontend-1", "shop-frontend-2")
_COMPOSE = '"compose"\n[services.compose]\nproject = "shop"\nfile = "compose.yaml"\nservice = "frontend"\n'
COMPOSE_CATALOG = (
    CATALOG.partition('"docker"')[0] + _COMPOSE + CATALOG[CATALOG.index("[services.health_check]") :]
)
ONCE_CATALOG = CATALOG.replace("[services.health_check]\n", '[services.health_check]\nkind = "completed"\n')


class ComposeWorld(World):
    """The device with a Compose service of two containers."""

    @classmethod
    def of(cls, root: Path, policy: str = "unless-stopped") -> "ComposeWorld":
        world = cls.make(root, policy=policy)
        assert isinstance(world, ComposeWorld)
        world.paths.services.write_text(COMPOSE_CATALOG)
        world.set_compose_file({"frontend": COMPOSE_IMAGE, "db": "example/db:1"})
        docker = world.docker
        docker.containers.clear()
        docker.tagged[COMPOSE_IMAGE] = docker.tagged.pop("example/frontend:1.0.0")
        for name in NAMES:
            docker.run(name, COMPOSE_IMAGE, policy=world.policy, labels=compose_labels(name, world.old_image))
        return world

    def set_compose_file(self, images: dict[str, str]) -> None:
        """What the command says of the services in it."""
        folder = self.paths.services.parent
        (folder / "compose.yaml").write_text("services: {}\n")
        answer = json.dumps({"services": {name: {"image": image} for name, image in images.items()}})
        script = f"#!/bin/sh\ncase $* in *version*) echo 2.26.1 ;; *) echo '{answer}' ;; esac\n"
        command = folder / "docker-compose"
        command.write_text(script)
        command.chmod(0o755)
        self.docker.environment = {"PATH": str(folder)}

    def releases(self) -> dict[str, str]:
        """What runs under the service's names: `old` or `new`."""
        named = {name: self.docker.named().get(name) for name in NAMES}
        return {
            name: "new" if "io.caisson.version" in (found["Config"].get("Labels") or {}) else "old"
            for name, found in named.items()
            if found is not None and found["State"]["Running"]
        }

    def told_by_compose(self) -> set[str]:
        """Which image Compose believes that its containers run."""
        return {one["Config"]["Labels"].get(f"{COMPOSE_LABEL}image") for one in self.docker.named().values()}

    def broken_promises(self) -> list[str]:
        """Everything that is not as promise 1 says for both, and that the next `compose up` would change."""
        with self.device() as device:
            unfinished = device.journal.unfinished()
            installed = device.releases.installed("frontend") is not None
            device.history.verify()
        releases = self.releases()
        is_new = set(releases.values()) == {"new"}
        named, tagged = self.docker.named(), self.docker.tagged
        policies = {one["HostConfig"]["RestartPolicy"]["Name"] for one in named.values()}
        images = {one["Image"] for one in named.values()}
        promises = {
            f"both run, not {releases}": set(releases) == set(NAMES),
            f"both are of one release, not {releases}": len(set(releases.values())) == 1,
            f"nothing else is there, not {sorted(named)}": set(named) == set(NAMES),
            f"their own policy, not {policies}": policies == {self.policy},
            "Compose's image name names what runs": {tagged.get(COMPOSE_IMAGE)} == images,
            "Compose knows what runs": self.told_by_compose() == images,
            f"the package's tag is there: {is_new}": (self.reference in tagged) is is_new,
            f"no private tags but one, not {self.private_tags()}": len(self.private_tags()) == is_new,
            f"no image but these, not {len(self.docker.images)}": len(self.docker.images) == 1 + is_new,
            "every layer is whole": not self.docker.hollow_images(),
            "the record is closed": not unfinished,
            "the state says what runs": installed is is_new,
            "nothing is left in the work folder": not list(self.paths.work.glob("*")),
        }
        return [promise for promise, kept in promises.items() if not kept]


def compose_labels(name: str, image: str) -> dict[str, str]:
    """What Compose writes on a container of this name, `project-service-number`."""
    project, service, number = name.rsplit("-", 2)
    words = {
        "project": project, "service": service, "container-number": number, "oneoff": "False", "image": image,
        "config-hash": "0123",
    }  # fmt: skip
    return {COMPOSE_LABEL + key: value for key, value in words.items()}


class OnceWorld(World):
    """The device with a service that ends when it is done."""

    @classmethod
    def of(cls, root: Path) -> "OnceWorld":
        world = cls.make(root, policy="no")
        assert isinstance(world, OnceWorld)
        world.paths.services.write_text(ONCE_CATALOG)
        world.docker.images[world.old_image]["Config"]["Cmd"] = [COMPLETES]
        world.docker.stop("frontend", grace_s=0)
        world.docker.containers[world.old]["State"]["ExitCode"] = 0
        world.docker.calls.clear()
        return world

    def set_timeout_s(self, seconds: int) -> None:
        catalog = self.paths.services.read_text()
        self.paths.services.write_text(
            catalog.replace("[services.health_check]", f"[services.health_check]\ntimeout_secs = {seconds}")
        )

    def running(self) -> list[str]:
        """What has done its work, by name: it is never seen running."""
        named = self.docker.named().items()
        return [
            name for name, one in named if one["_was_started"] and one["State"]["ExitCode"] == 0
        ]  # fmt: skip


def broken_by(
    fault: Fault, folder: Path, content: bytes, check: Check = settled
) -> dict[str, list[str]]:  # fmt: skip
    """Update both containers once for each point, with the fault there. Where something is not as it has to be."""
    return broken_among(ComposeWorld.of, fault, folder, content, check, least=25)
