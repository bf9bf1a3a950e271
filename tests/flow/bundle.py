"""Two services that are updated as one, on an engine in memory: `frontend`, which comes after `backend`."""

from pathlib import Path

from fixtures.raw_package import archive, entry
from fixtures.raw_package_2 import (
    config_2,
    image_2,
    index_entry,
    index_json,
    layer,
    manifest_2,
    package_2,
    target_table,
)
from tests.flow.device import CATALOG, World
from tests.flow.fake_docker import CRASHES
from tests.flow.faults import Check, Fault, broken_among, settled

NAMES = ("frontend", "backend")
_SECOND = CATALOG.partition("[[services]]")[2].replace("frontend", "backend")
_FIRST = CATALOG.replace("[services.docker]", 'after = ["backend"]\n[services.docker]')
BUNDLE_CATALOG = f"{_FIRST}[[services]]{_SECOND}"


def bundle(
    *, crashes: str = "", version: str = "2.0.0", services: tuple[str, ...] = NAMES, optional: str = "false"
) -> bytes:
    """A package for these services, of one layer of its own each.

    Args:
        crashes: the service whose new release does.
        optional: of every target, in TOML's spelling.
    """
    images, targets, index = [], [], []
    for name in services:
        layers = (layer(archive(entry("version", f"{name} {version}".encode()))),)
        command = CRASHES if name == crashes else "serves"
        image = image_2(*layers, config=config_2(layers, config={"Cmd": [command], "Env": ["A=b"]}))
        words = {"service": f'"{name}"', "reference": f'"example/{name}:{version}"', "optional": optional}
        images.append(image)
        targets.append(target_table(image, **words))
        index.append(index_entry(image, f"example/{name}:{version}"))
    manifest = manifest_2(*targets).replace(b'"2.0.0"', f'"{version}"'.encode(), 1)
    return package_2(*images, manifest=manifest, index=index_json(*index))


class BundleWorld(World):
    """The device with both services."""

    @classmethod
    def of(cls, root: Path) -> "BundleWorld":
        world = cls.make(root)
        assert isinstance(world, BundleWorld)
        world.paths.services.write_text(BUNDLE_CATALOG)
        world.docker.add_image("example/backend:1.0.0")
        world.docker.run("backend", "example/backend:1.0.0", policy=world.policy)
        return world

    def releases(self) -> dict[str, str]:
        """What runs under the services' names: `old` or `new`."""
        named = {name: self.docker.named().get(name) for name in NAMES}
        return {
            name: "new" if "io.caisson.version" in (found["Config"].get("Labels") or {}) else "old"
            for name, found in named.items()
            if found is not None and found["State"]["Running"]
        }

    def broken_promises(self) -> list[str]:
        """Everything that is not as promise 1 says for both, and the bundle half new."""
        with self.device() as device:
            unfinished = device.journal.unfinished()
            installed = {name: device.releases.installed(name) is not None for name in NAMES}
            device.history.verify()
        releases = self.releases()
        is_new = set(releases.values()) == {"new"}
        policies = {
            name: one["HostConfig"]["RestartPolicy"]["Name"] for name, one in self.docker.named().items()
        }
        keeps = len(NAMES) * is_new
        promises = {
            f"both run, not {releases}": set(releases) == set(NAMES),
            f"both are of one release, not {releases}": len(set(releases.values())) == 1,
            f"nothing else is there, not {sorted(self.docker.named())}": set(self.docker.named())
            == set(NAMES),
            f"their own policies, not {policies}": set(policies.values()) == {self.policy},
            f"{keeps} private tags, not {self.private_tags()}": len(self.private_tags()) == keeps,
            f"images of both, not {len(self.docker.images)}": len(self.docker.images) == len(NAMES) + keeps,
            "every layer is whole": not self.docker.hollow_images(),
            "the record is closed": not unfinished,
            f"the state says what runs, not {installed}": set(installed.values()) == {is_new},
            "nothing is left in the work folder": not list(self.paths.work.glob("*")),
        }
        return [promise for promise, kept in promises.items() if not kept]


def broken_by(
    fault: Fault, folder: Path, content: bytes, check: Check = settled
) -> dict[str, list[str]]:  # fmt: skip
    """Update once for each point, with the fault there. At which points something is not as it has to be."""
    return broken_among(BundleWorld.of, fault, folder, content, check, least=41)
