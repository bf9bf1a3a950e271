"""Many updates that are cut off at once: one service for each restart policy and instant, one power cut, and who is up.

Each service has a Caisson of its own, in this process, that "dies" right after its Nth change to a container, from
stop-old on. What Docker's state is then is all that counts for as long as nothing but Docker runs.
"""

import os
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import docker
from docker.types import IPAMConfig, IPAMPool

from caissond.host.docker import Docker
from caissond.intake.scan import Origin
from caissond.update.acceptance import Request
from caissond.update.device import Device
from caissond.update.recovery import settle
from caissond.update.updater import Updater
from fixtures.engine import PrivateEngine, Version, private_engine
from fixtures.images import ImageRecipe, busybox_image, provide_image
from tests.bench.restart_policies import POLICIES
from tests.docker.rig import PATIENT_S, Rig, rig_on
from tests.flow.faults import Killed

CHANGES = ("set the restart policy", "stop", "start", "rename", "remove container")
SERVES = ("sh", "-c", "trap 'exit 143' TERM; httpd -p 80 -h /; sleep 2147483647 & wait")
FAILS = ("sh", "-c", "exit 3")
NETWORK = "site"
OLD_REFERENCE = "site/old:1"
ASK = """
for name in {names}; do
    echo $name $(printf 'GET /version HTTP/1.0\\r\\n\\r\\n' | nc -w 20 $name 80 | sed -n '$p')
done
"""
"""By nc: the static busybox of Debian 12 cannot resolve names in wget."""
BOOT_DEADLINE_S = 240.0
AT_ONCE = 4

UNTIL_VERDICT = ("old: always", "old stopped", "new started")
IN_COMMIT = ("new: always", "old: no", "old parked", "new named")
COMMITTED = ("new: its own", "old removed")
GOING_BACK = ("new stopped", "old started")
BACK = ("old: its own", "new removed")
STORIES = {
    "good": UNTIL_VERDICT + IN_COMMIT + COMMITTED,
    "bad": UNTIL_VERDICT + GOING_BACK + BACK,
    "stopped": ("new: its own", "old: no", "old parked", "new named", "old removed"),
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One service: its restart policy, what its update is like, and the last change that Docker saw of it."""

    policy: str
    story: str
    instant: str

    @property
    def changes(self) -> int:
        """How many changes there are until then; a policy that is `always` anyway is not changed twice."""
        twice = (self.policy, self.story, self.instant) == ("always", "good", "old removed")
        return STORIES[self.story].index(self.instant) + 1 - twice

    def __str__(self) -> str:
        return f"{self.policy}-{self.story}-{self.instant}"


def _cells() -> Iterator[Cell]:
    for policy in POLICIES:
        yield from (Cell(policy, "good", instant) for instant in STORIES["good"])
        yield from (Cell(policy, "bad", instant) for instant in GOING_BACK + BACK)
    for policy in ("no", "unless-stopped"):
        yield from (Cell(policy, "stopped", instant) for instant in ("old: no", "new named"))


ALL = tuple(cell for cell in _cells() if cell != Cell("always", "good", "new: its own"))
SLICE = tuple(
    cell
    for cell in ALL
    if cell.policy in ("no", "on-failure:3")
    and cell.instant in ("new started", "new: always", "old: no", "new named", "new: its own", "old: its own")
)
CELLS = {Version.INSTALLED: ALL, Version.DOCKER26: SLICE}
"""On Docker 26 a slice of them, for the time it takes."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a user sees of a service."""

    on_port: str
    """The release that answers on the published port; empty: none."""
    by_name: str
    """The release that answers a neighbour on its network by the service's name."""
    containers: tuple[str, ...]
    """All of them, running or not, without the digits of the update."""
    running: tuple[str, ...]
    policy: str
    """Of the container under the service's name."""


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What was seen, by cell: with Docker alone, and once everything was settled."""

    docker_alone: dict[Cell, Seen]
    settled: dict[Cell, Seen]


class DyingDocker(Docker):
    """Whoever uses it dies right after the Nth change to a container, from the first one that counts."""

    def __init__(self, host: str, cell: Cell) -> None:
        super().__init__(timeout_s=60, load_stall_s=60, environment={"DOCKER_HOST": host})
        self._left = cell.changes
        self._counts = False

    def _call(self, what: str, request: Callable[[Any], Any], *, more_s: float = 0) -> Any:
        answer = super()._call(what, request, more_s=more_s)
        self._counts |= what.startswith(CHANGES[0])
        self._left -= self._counts and what.startswith(CHANGES)
        if self._left == 0:
            raise Killed
        return answer


@dataclass(frozen=True, slots=True)
class Service:
    """One cell's service."""

    cell: Cell
    rig: Rig
    port: int
    package: Path

    def cut_off(self) -> None:
        """Update it until its process dies."""
        device = self.rig.device(self._use_dying_docker)
        try:
            verdict = Updater(device).handle(Request(self.package, Origin.INBOX))
        except Killed:
            return
        finally:
            device.docker.close()
            device.database.close()
        raise AssertionError(f"{self.cell} was not cut off: {verdict}")

    def _use_dying_docker(self, device: Device) -> None:
        device.docker = DyingDocker(self.rig.host, self.cell)

    def settle(self) -> None:
        device = self.rig.device()
        try:
            settle(device)
        finally:
            device.docker.close()
            device.database.close()

    def answer(self) -> str:
        """The release that answers on the published port."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/version", timeout=20) as answer:
                return str(answer.read().decode().strip())
        except OSError:
            return ""

    def should_answer(self) -> bool:
        down = self.cell.policy == "no" and self.cell.instant in COMMITTED + BACK
        return self.cell.story != "stopped" and not down


class Site:
    """One engine with all the services, and a neighbour that asks for them by their names."""

    def __init__(self, folder: Path, engine: PrivateEngine, client: docker.DockerClient) -> None:
        self._folder, self._engine, self._client = folder, engine, client
        client.networks.create(NETWORK, ipam=IPAMConfig(pool_configs=[IPAMPool(subnet=_subnet(engine))]))
        provide_image(client, folder, ImageRecipe(reference="site/neighbour:1", version="1"))
        provide_image(client, folder, ImageRecipe(reference=OLD_REFERENCE, version="1.0.0", cmd=SERVES))
        self._good, self._bad = (
            busybox_image(
                folder / f"{command[2]:.4}.tar",
                ImageRecipe(reference="site/new:1", version="1.1.0", cmd=command),
            )
            for command in (SERVES, FAILS)
        )
        self._neighbour = client.containers.run(
            "site/neighbour:1", network=NETWORK, detach=True, restart_policy={"Name": "always"}
        )
        self._services: list[Service] = []

    def add(self, cell: Cell, port: int, stack: ExitStack) -> None:
        folder = self._folder / str(len(self._services))
        folder.mkdir()
        client = stack.enter_context(closing(docker.DockerClient(base_url=self._engine.host)))
        rig = stack.enter_context(rig_on(folder, client, self._engine.host))
        rig.write_catalog(kind="running", stable_secs=PATIENT_S if cell.story == "bad" else 0.3)
        ports = {"80/tcp": ("127.0.0.1", port)}
        policy: Any = POLICIES[cell.policy]
        client.containers.run(
            OLD_REFERENCE, name=rig.name, detach=True, network=NETWORK, ports=ports, restart_policy=policy
        )
        if cell.story == "stopped":
            rig.container().stop()
        image = self._bad if cell.story == "bad" else self._good
        package = rig.package("1.1.0", image, reference=f"site/{rig.name}:1.1.0")
        self._services.append(Service(cell, rig, port, package))

    def cut_power(self) -> Aftermath:
        """Cut off all updates, cut the power, look, settle, look again."""
        self._for_all(Service.cut_off)
        self._engine.power_cut()
        self._engine.start()
        self._await_answers(Service.should_answer)
        docker_alone = self._look()
        self._for_all(Service.settle)
        self._await_answers(lambda service: service.cell.story != "stopped")
        return Aftermath(docker_alone, self._look())

    def _for_all(self, work: Callable[[Service], None]) -> None:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for _ in pool.map(work, self._services):
                pass

    def _await_answers(self, should: Callable[[Service], bool]) -> None:
        """Until all do that should, or for the deadline: what is not so by then is a test's business."""
        until = time.monotonic() + BOOT_DEADLINE_S
        asked = [service for service in self._services if should(service)]
        while not all(service.answer() for service in asked) and time.monotonic() < until:
            time.sleep(0.5)

    def _look(self) -> dict[Cell, Seen]:
        by_name = self._ask_by_name()
        listed = self._client.api.containers(all=True)
        return {
            service.cell: self._see(service, by_name[service.rig.name], listed) for service in self._services
        }

    def _see(self, service: Service, by_name: str, listed: list[dict[str, Any]]) -> Seen:
        name = service.rig.name
        states = {one["Names"][0].lstrip("/"): one["State"] for one in listed if name in one["Names"][0]}
        short = {full: full.replace(name, "web")[:15] for full in states}
        host_config = self._client.api.inspect_container(name)["HostConfig"] if name in states else {}
        policy = host_config.get("RestartPolicy", {"Name": "", "MaximumRetryCount": 0})
        count = policy["MaximumRetryCount"]
        return Seen(
            on_port=service.answer(),
            by_name=by_name,
            containers=tuple(sorted(short.values())),
            running=tuple(sorted(short[full] for full, state in states.items() if state == "running")),
            policy=f"{policy['Name']}:{count}" if count else str(policy["Name"]),
        )

    def _ask_by_name(self) -> dict[str, str]:
        names = " ".join(service.rig.name for service in self._services)
        output = self._neighbour.exec_run(["sh", "-c", ASK.format(names=names)]).output
        assert isinstance(output, bytes)
        lines = (line.split() for line in output.decode().splitlines())
        return {words[0]: " ".join(words[1:]) for words in lines}


def aftermath_of(folder: Path, version: Version, cells: tuple[Cell, ...]) -> Aftermath:
    """All these cells on an engine of this version. Needs root."""
    ports = _free_ports()
    with (
        private_engine("deadman", version=version) as engine,
        closing(docker.DockerClient(base_url=engine.host)) as client,
        ExitStack() as stack,
    ):
        site = Site(folder, engine, client)
        for cell in cells:
            site.add(cell, next(ports), stack)
        return site.cut_power()


def _subnet(engine: PrivateEngine) -> str:
    """Room for all of them, in a part of the engine's network that it gives to nobody by itself."""
    assert engine.belongings is not None
    return str(list(engine.belongings.network.subnets(new_prefix=23))[1])


def _free_ports() -> Iterator[int]:
    """Below those that the kernel gives out by itself."""
    for port in count(20_000 + os.getpid() % 10_000):
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) != 0:
                yield port
