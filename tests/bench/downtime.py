"""How long a service is away in a good update, and how long a device needs to settle after a crash."""

import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import docker

from fixtures.engine import private_engine
from fixtures.images import ImageRecipe, busybox_image, load_image
from tests.bench.say import say
from tests.docker.daemon_process import caissond
from tests.docker.rig import Rig, rig_on

ROUNDS = 7
POLL_S = 0.02
SERVES = ("sh", "-c", "trap 'exit 143' TERM; httpd -p 80 -h /; sleep 2147483647 & wait")
REQUEST = b"GET /version HTTP/1.0\r\n\r\n"
STABLE_S = 0.5
KILL_POINTS = range(2, 16)
"""Durable writes of a good update."""


class Probe:
    """Asks a published port every 20 ms."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._answers: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask_on)
        self._thread.start()

    def _ask_on(self) -> None:
        while not self._stop.wait(POLL_S):
            if self._is_answered():
                self._answers.append(time.monotonic())

    def _is_answered(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=0.2) as connection:
                connection.sendall(REQUEST)
                return b" 200 " in connection.recv(64)
        except OSError:
            return False

    def longest_gap_s(self, work: Callable[[], object]) -> float:
        """The longest time without an answer while this is done."""
        time.sleep(5 * POLL_S)
        first = len(self._answers) - 1
        work()
        end = time.monotonic()
        while self._answers[-1] < end:
            time.sleep(POLL_S)
        times = self._answers[first:]
        return max(later - earlier for earlier, later in pairwise(times))

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


@contextmanager
def _serving(rig: Rig) -> Iterator[Probe]:
    """The service, with its port published, and somebody who asks it all the time."""
    rig.write_catalog(kind="running", stable_secs=STABLE_S)
    rig.paths.inbox.mkdir(parents=True)
    port = _free_port()
    image = _image(rig, "1.0.0")
    load_image(rig.client, image)
    options: dict[str, Any] = {"ports": {"80/tcp": ("127.0.0.1", port)}, "restart_policy": {"Name": "always"}}
    rig.client.containers.run(rig.reference("1.0.0"), name=rig.name, detach=True, **options)
    with closing(Probe(port)) as probe:
        time.sleep(1)
        yield probe


def _image(rig: Rig, version: str) -> Path:
    recipe = ImageRecipe(reference=rig.reference(version), version=version, cmd=SERVES)
    return busybox_image(rig.folder / f"{version}.tar", recipe).path


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def measure_downtime(rig: Rig) -> None:
    """Gap of a good update against that of `docker stop` and `docker start`, by turns."""
    updates, restarts = [], []
    with _serving(rig) as probe, caissond(rig.root, rig.host) as daemon:
        daemon.wait_until_logged("is ready")
        for number in range(1, ROUNDS + 1):
            restarts.append(probe.longest_gap_s(lambda: _stop_and_start(rig)))
            recipe = ImageRecipe(
                reference=rig.reference(f"1.{number}.0"), version=f"1.{number}.0", cmd=SERVES
            )
            package = rig.package(recipe.version, busybox_image(rig.folder / "new.tar", recipe))

            def update(package: Path = package) -> None:
                package.rename(rig.paths.inbox / package.name)
                daemon.wait_until_handled()

            updates.append(probe.longest_gap_s(update))
        daemon.stop()
    ours, theirs = statistics.median(updates), statistics.median(restarts)
    note = f"{ours:.2f} s against {theirs:.2f} s of docker stop + start; at most 1.3 wanted"
    say("downtime in a good update", f"{ours / theirs:.2f}", note)
    say(
        "downtime: from best to worst",
        f"{min(updates):.2f}–{max(updates):.2f} s",
        f"{min(restarts):.2f}–{max(restarts):.2f} s",
    )


def _stop_and_start(rig: Rig) -> None:
    rig.client.api.stop(rig.name)
    rig.client.api.start(rig.name)


def measure_recovery(rig: Rig) -> None:
    """caissond is killed at each durable write of a good update; from its next start until it is settled."""
    rig.write_catalog(kind="running", stable_secs=STABLE_S)
    rig.run_old("1.0.0")
    rig.paths.inbox.mkdir(parents=True)
    idle_s = min(_time_to_ready(rig) for _ in range(3))
    took_s = {point: _time_to_settle(rig, point) for point in KILL_POINTS}
    worst = max(took_s, key=lambda point: took_s[point])
    nothing = f"{idle_s:.1f} s with nothing to settle"
    note = f"at write {worst}; {nothing}; gate {STABLE_S} s; 10 s beyond Docker and gate wanted"
    say("recovery after a crash, at worst", f"{took_s[worst]:.1f} s", note)


def _time_to_settle(rig: Rig, point: int) -> float:
    package = rig.package(f"1.{point}.0")
    path = package.rename(rig.paths.inbox / package.name)
    with caissond(rig.root, rig.host, kill_at=point) as daemon:
        daemon.wait_for_death()
    path.unlink(missing_ok=True)
    return _time_to_ready(rig)


def _time_to_ready(rig: Rig) -> float:
    began = time.monotonic()
    with caissond(rig.root, rig.host) as daemon:
        daemon.wait_until_logged("is ready")
        took_s = time.monotonic() - began
        daemon.stop()
    return took_s


def measure() -> None:
    with (
        tempfile.TemporaryDirectory(prefix="caisson-bench-") as folder,
        private_engine("downtime") as engine,
        closing(docker.DockerClient(base_url=engine.host)) as client,
    ):
        for name, work in (("downtime", measure_downtime), ("recovery", measure_recovery)):
            (Path(folder) / name).mkdir()
            with rig_on(Path(folder) / name, client, engine.host) as rig:
                work(rig)
