"""A Docker engine in memory. It keeps containers, images and tags, and refuses what the real one refuses.

Its answers have the shape of the Engine API's, as far as Caisson reads them. What it does at a boot was measured on
20.10 (docs/architecture.md). Every call can be made to fail: see `faults`.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy

from caissond.errors import Conflict, DockerError, HostUnavailable, NotFound
from caissond.host.docker import Docker, Inspect
from caissond.host.execution import Execution
from caissond.model.ids import ContainerId, ImageId

Interfere = Callable[[int, str], None]
Chain = tuple[str, ...]
"""Diff IDs from the bottom: what a layer is known by."""
CRASHES = "crashes"
"""The command of an image whose containers end at once with code 3."""
COMPLETES = "completes"
"""The same with code 0: what they have to do is done."""


def leave_alone(_number: int, _what: str) -> None:
    """No fault."""


class FakeDocker(Docker):
    """One engine."""

    def __init__(self) -> None:
        self.containers: dict[str, Inspect] = {}
        self.images: dict[str, Inspect] = {}
        self.tagged: dict[str, str] = {}
        self.orphans: set[Chain] = set()
        """Layers that are registered and of no image: dockerd was killed in a load. The next takes them as they are."""
        self.unsynced: set[Chain] = set()
        self.hollow: set[Chain] = set()
        """Layers that are registered, and whose files a power cut has emptied."""
        self.damaged: set[Chain] = set()
        """Layers whose own records a power cut has emptied: what has them cannot be inspected."""
        self.cannot_remove: set[str] = set()
        """Containers whose removal always fails half way: they stay, dead."""
        self.ran_at_cut: set[str] = set()
        """The containers that ran when the power was cut."""
        self.calls: list[str] = []
        self.environment: dict[str, str] = {}
        self.starts = 0
        """Of the engine."""
        self.is_down = False
        self.boots_joined_first = False
        """At a boot, what has joined another container is started before that one, and so not at all: the real engine
        does either (docs/recreation.md).
        """
        self.before: Interfere = leave_alone
        """Called with each call's number, from 1, and its name, before it takes effect."""
        self.after: Interfere = leave_alone
        """The same once it has taken effect, before its answer is given."""

    # what a test does to it

    def run(
        self, name: str, image: str, *, policy: str, labels: Mapping[str, str] | None = None
    ) -> str:  # fmt: skip
        """A running container, as an admin would have made it. Not counted as a call."""
        host = {"RestartPolicy": {"Name": policy, "MaximumRetryCount": 0}}
        config = {"Image": image, "HostConfig": host, "Labels": dict(labels or {})}
        container = self._create(name, config)
        self._start(self.containers[container])
        return container

    def run_joined(self, name: str, image: str, *, to: str, policy: str) -> str:
        """The same in the network of another one."""
        host = {"RestartPolicy": {"Name": policy, "MaximumRetryCount": 0}, "NetworkMode": f"container:{to}"}
        container = self._create(name, {"Image": image, "HostConfig": host})
        self._start(self.containers[container])
        return container

    def is_cut_off(self, name: str) -> bool:
        """Whether it runs in the network of a container that has been stopped since, or is another one by now."""
        container = self.named()[name]
        other = self._joined_by(container)
        return (
            other is None
            or not other["State"]["Running"]
            or container["_joined_run"] != other["State"]["StartedAt"]
        )

    def _joined_by(self, container: Inspect) -> Inspect | None:
        mode = str(container["HostConfig"].get("NetworkMode", ""))
        return self.containers.get(mode.removeprefix("container:"))

    def add_image(self, reference: str, *, cmd: str = "serves") -> str:
        """An image that is there already."""
        document = {"config": {"Cmd": [cmd], "Env": [f"REFERENCE={reference}"]}, "rootfs": {"diff_ids": []}}
        image = self._keep_image(json.dumps(document).encode())
        self.tagged[reference] = image
        return image

    def power_cut(self) -> None:
        """Everything stops; then Docker boots and revives what its restart policy says."""
        was_running = {id for id, container in self.containers.items() if container["State"]["Running"]}
        self.ran_at_cut = was_running
        for container in self.containers.values():
            _stopped(container, exit_code=255)
        self._revive(was_running)

    def end_in_order(self) -> None:
        """dockerd is stopped, as for a restart, and started."""
        was_running = {id for id, container in self.containers.items() if container["State"]["Running"]}
        for container in (self.containers[id] for id in was_running):
            _stopped(container, exit_code=143)
        self._revive(was_running)

    def end_alone(self) -> None:
        """dockerd alone is killed: the next one ends what runs, as if by hand (docs/restart-policies.md)."""
        was_running = {id for id, container in self.containers.items() if container["State"]["Running"]}
        for container in (self.containers[id] for id in was_running):
            _stopped(container, exit_code=143)
            container["_stopped_by_hand"] = True
        self._revive(was_running)

    def lose_unsynced(self) -> None:
        """What a power cut takes: nothing in the overlay2 path syncs a layer's files, though it is registered."""
        self.hollow |= self.unsynced
        self.unsynced = set()

    def sync(self) -> None:
        """syncfs on the data root."""
        self.unsynced = set()

    def hollow_images(self) -> set[str]:
        """Images with a layer that has lost its content."""
        return {
            id
            for id, image in self.images.items()
            if self.hollow.intersection(_chains(image["RootFS"]["Layers"]))
        }

    def _registered(self) -> set[Chain]:
        of_images = {chain for image in self.images.values() for chain in _chains(image["RootFS"]["Layers"])}
        return of_images.union(*(_chains(list(orphan)) for orphan in self.orphans))

    def _forget_layers(self) -> None:
        """Layers go with the last image that has them."""
        self.unsynced &= self._registered()
        self.hollow &= self._registered()
        self.damaged &= self._registered()

    def restart_with_live_restore(self) -> None:
        """dockerd alone ends and starts again: containers live on, and a parked `always` is revived beside them."""
        self._revive(set())

    def _revive(self, was_running: set[str]) -> None:
        self.starts += 1
        in_order = sorted(
            self.containers.items(),
            key=lambda one: (self._joined_by(one[1]) is not None) is not self.boots_joined_first,
        )
        for id, container in in_order:
            policy = container["HostConfig"]["RestartPolicy"]["Name"]
            revived = {
                "always": True,
                "unless-stopped": not container["_stopped_by_hand"],
                "on-failure": id in was_running,
            }.get(policy, False)
            at_rest = container["_was_started"] and not container["State"]["Running"]
            if revived and at_rest and not container["State"].get("Dead"):
                with suppress(DockerError):  # it is not tried again
                    self._start(container)

    def prune(self) -> None:
        """`docker system prune -f`: stopped containers and untagged, unused images."""
        for id in [id for id, container in self.containers.items() if not container["State"]["Running"]]:
            with suppress(DockerError):
                self._remove(id)
        self.prune_images()

    def prune_images(self) -> None:
        """`docker image prune -f`."""
        used = {container["Image"] for container in self.containers.values()} | set(self.tagged.values())
        self.images = {id: image for id, image in self.images.items() if id in used}
        self._forget_layers()

    def named(self) -> dict[str, Inspect]:
        """All containers by name."""
        return {container["Name"].lstrip("/"): container for container in self.containers.values()}

    @contextmanager
    def _call(self, what: str, *details: str) -> Iterator[None]:  # type: ignore[override]
        if self.is_down:
            raise HostUnavailable(f"cannot {what}: Docker does not answer", code="docker.unavailable")
        self.calls.append(" ".join((what, *details)))
        number = len(self.calls)
        self.before(number, self.calls[-1])
        try:
            yield
        finally:
            self.after(number, self.calls[number - 1])

    # what Caisson calls

    def ping(self) -> None:
        with self._call("ping"):
            pass

    def describe(self) -> Inspect:
        with self._call("info"):
            return {"Name": "host", "DockerRootDir": "/nowhere"}

    def start_mark(self) -> str:
        with self._call("network", "bridge"):
            return f"bridge {self.starts}"

    def inspect_container(self, container: str) -> Inspect:
        with self._call("inspect", container):
            return _copy(self._find(container))

    def list_containers(self, *, label: str | None = None) -> list[Inspect]:
        with self._call("ps", label or ""):
            return [
                {
                    "Id": one["Id"],
                    "Names": [one["Name"]],
                    "Image": self._reference_of(one),
                    "ImageID": one["Image"],
                    "HostConfig": {},
                    "State": _short_state(one["State"]),
                    "Ports": one.get("Ports", []),
                    "Labels": dict(_labels(one)),
                }
                for one in self.containers.values()
                if label is None or label in (f"{key}={value}" for key, value in _labels(one).items())
            ]

    def execute(self, container: str, command: Sequence[str], *, timeout_s: float) -> Execution:
        """Every command ends well, at once."""
        with self._call("exec", container, *command):
            return Execution(f"in {container} for {timeout_s}", 0, b"")

    def create(self, name: str, config: Inspect) -> ContainerId:
        with self._call("create", name):
            return ContainerId(self._create(name, config))

    def connect(self, container: ContainerId, network: str, endpoint: Inspect) -> None:  # noqa: ARG002
        raise NotFound(f"cannot connect {container} to {network}: no such network", code="docker.not_found")

    def start(self, container: str) -> None:
        with self._call("start", container):
            found = self._find(container)
            _check_alive(found)
            if found["Image"] not in self.images:
                raise DockerError(f"cannot start {container}: its image is gone", code="docker.error")
            if not found["State"]["Running"]:
                self._start(found)

    def stop(self, container: str, *, grace_s: int) -> None:
        with self._call("stop", container, str(grace_s)):
            found = self._find(container)
            if found["State"]["Running"]:
                _stopped(found, exit_code=143)
                found["_stopped_by_hand"] = True

    def remove(self, container: str, *, with_new_volumes: bool) -> None:
        with self._call("rm", container, str(with_new_volumes)):
            self._remove(self._find(container)["Id"])

    def rename(self, container: str, name: str) -> None:
        with self._call("rename", container, name):
            found = self._find(container)
            self._check_free(name)
            found["Name"] = f"/{name}"

    def set_restart_policy(self, container: str, policy: Inspect) -> None:
        with self._call("update", container, str(policy["Name"])):
            found = self._find(container)
            _check_alive(found)
            found["HostConfig"]["RestartPolicy"] = dict(policy)

    def inspect_image(self, image: str) -> Inspect:
        with self._call("inspect-image", image):
            id = self._find_image(image)
            if self.damaged.intersection(_chains(self.images[id]["RootFS"]["Layers"])):
                raise DockerError(
                    f"cannot inspect image {image}: readlink: invalid argument", code="docker.error"
                )
            return _copy({**self.images[id], "RepoTags": self._tags_of(id)})

    def tags(self) -> list[str]:
        with self._call("images"):
            return sorted(self.tagged)

    def list_images(self, *, label: str | None = None) -> list[Inspect]:
        with self._call("images-all", label or ""):
            return [
                {"Id": id, "Labels": _labels(image), "RepoTags": self._tags_of(id)}
                for id, image in self.images.items()
                if label is None or label in _labels(image)
            ]

    def remove_image(self, image: str) -> None:
        with self._call("rmi", image):
            tags = self._tags_of(self._find_image(image))
            if len(tags) > 1 or any(one["Image"] == image for one in self.containers.values()):
                raise Conflict(f"cannot remove image {image}: it is in use", code="docker.conflict")
            for tag in tags:
                del self.tagged[tag]
            del self.images[image]
            self._forget_layers()

    def tag(self, image: ImageId, reference: str) -> None:
        with self._call("tag", image, reference):
            self.tagged[reference] = self._find_image(image)

    def untag(self, reference: str) -> None:
        with self._call("untag", reference):
            image = self.tagged.get(reference)
            if image is None:
                return
            others = [tag for tag, tagged in self.tagged.items() if tagged == image and tag != reference]
            if not others and any(one["Image"] == image for one in self.containers.values()):
                raise Conflict(f"cannot untag {reference}: a container uses it", code="docker.conflict")
            del self.tagged[reference]
            if not others:
                del self.images[image]
                self._forget_layers()

    def load(self, archive: Iterable[bytes], on_progress: Callable[[], None]) -> None:
        with self._call("load"):
            with tarfile.open(fileobj=io.BytesIO(b"".join(archive))) as tar:
                files = {member.name: tar.extractfile(member) for member in tar if member.isfile()}
                content = {name: file.read() for name, file in files.items() if file}
            on_progress()
            (manifest,) = json.loads(content["manifest.json"])
            config = content[manifest["Config"]]
            self._register_layers(json.loads(config)["rootfs"]["diff_ids"], manifest["Layers"], content)
            with self._call("create-image"):
                image = self._keep_image(config)
            self.tagged.update(dict.fromkeys(manifest["RepoTags"], image))

    # how it does it

    def _find(self, container: str) -> Inspect:
        for one in self.containers.values():
            if container in (one["Id"], one["Name"].lstrip("/")):
                return one
        raise NotFound(f"cannot find container {container}", code="docker.not_found")

    def _remove(self, id: str) -> None:
        if id in self.cannot_remove:
            self.containers[id]["State"].update(Status="dead", Running=False, Dead=True)
            raise DockerError(f"cannot remove {id}: operation not permitted", code="docker.error")
        del self.containers[id]

    def _find_image(self, image: str) -> str:
        id = self.tagged.get(image, image)
        if id not in self.images:
            raise NotFound(f"cannot find image {image}", code="docker.not_found")
        return id

    def _tags_of(self, image: str) -> list[str]:
        return [tag for tag, id in self.tagged.items() if id == image]

    def _register_layers(self, diff_ids: list[str], names: list[str], content: dict[str, bytes]) -> None:
        """One after the other; what is there is not looked at. After an error those of this load are dropped."""
        orphans = set(self.orphans)
        try:
            for chain, name in zip(_chains(diff_ids), names, strict=True):
                if chain not in self._registered():
                    self._register(chain, content.get(name, b""))
        except DockerError:
            self.orphans = orphans
            raise

    def _register(self, chain: Chain, stored: bytes) -> None:
        if f"sha256:{hashlib.sha256(stored).hexdigest()}" != chain[-1]:
            raise DockerError("cannot load an image: no such file", code="docker.load_failed")
        with self._call("register-layer"):
            self.orphans.add(chain)
            self.unsynced.add(chain)

    def _check_free(self, name: str) -> None:
        if name in self.named():
            raise Conflict(f"cannot use the name {name}: it is taken", code="docker.conflict")

    def _keep_image(self, config: bytes) -> str:
        document = json.loads(config)
        id = f"sha256:{hashlib.sha256(config).hexdigest()}"
        self.orphans.difference_update(_chains(document["rootfs"]["diff_ids"]))
        self.images[id] = {
            "Id": id,
            "Config": document.get("config") or {},
            "RootFS": {"Layers": document["rootfs"]["diff_ids"]},
            "Os": document.get("os"),
            "Architecture": document.get("architecture"),
        }
        return id

    def _create(self, name: str, config: Inspect) -> str:
        self._check_free(name)
        image = self._find_image(config["Image"])
        id = hashlib.sha256(f"{name} {len(self.calls)}".encode()).hexdigest()
        defaults = self.images[image]["Config"]
        self.containers[id] = {
            "Id": id,
            "Name": f"/{name}",
            "Image": image,
            "Config": {**_copy(defaults), **{key: config[key] for key in config if key != "HostConfig"}},
            "HostConfig": _copy(config["HostConfig"]),
            "NetworkSettings": {"Networks": {"bridge": {}}},
            "Mounts": [],
            "RestartCount": 0,
            "State": {"Status": "created", "Running": False, "ExitCode": 0, "StartedAt": ""},
            "_was_started": False,
            "_stopped_by_hand": False,
            "_joined_run": "",
        }
        return id

    def _start(self, container: Inspect) -> None:
        if str(container["HostConfig"].get("NetworkMode", "")).startswith("container:"):
            other = self._joined_by(container)
            if other is None or not other["State"]["Running"]:
                text = f"cannot start {container['Name']}: cannot join network of a non running container"
                raise DockerError(text, code="docker.error")
            container["_joined_run"] = other["State"]["StartedAt"]
        container["_was_started"], container["_stopped_by_hand"] = True, False
        container["State"] = {
            "Status": "running",
            "Running": True,
            "ExitCode": 0,
            "StartedAt": f"2026-01-01T00:00:00.{len(self.calls):06}Z",
        }
        command = self.images[container["Image"]]["Config"].get("Cmd") or ()
        for ends, code in ((CRASHES, 3), (COMPLETES, 0)):
            if ends in command:
                _stopped(container, exit_code=code)

    def _reference_of(self, container: Inspect) -> str:
        """What it was made from, as long as that is a name of the same image (moby, `refreshImage`)."""
        made_from = str(container["Config"]["Image"])
        return made_from if self.tagged.get(made_from) == container["Image"] else str(container["Image"])


def _short_state(state: Inspect) -> str:
    """As in `docker ps`."""
    if state.get("Dead"):
        return "removing"
    return "running" if state["Running"] else "exited"


def _check_alive(container: Inspect) -> None:
    if container["State"].get("Dead"):
        text = f"{container['Name']}: container is marked for removal"
        raise Conflict(text, code="docker.conflict")


def _chains(diff_ids: list[str]) -> Iterator[Chain]:
    return (tuple(diff_ids[:number]) for number in range(1, len(diff_ids) + 1))


def _stopped(container: Inspect, *, exit_code: int) -> None:
    if container["State"]["Running"]:
        container["State"].update(Status="exited", Running=False, ExitCode=exit_code)


def _labels(container: Inspect) -> dict[str, str]:
    return container["Config"].get("Labels") or {}


def _copy(inspect: Inspect) -> Inspect:
    return deepcopy(inspect)
