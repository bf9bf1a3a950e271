"""Runs the real caissond on an engine of its own and measures it: memory, start, idling, bytes written, downtime.

./dev bench                         all of that
./dev bench downtime                only the service's downtime, and the recovery after a crash
./dev bench endurance [UPDATES]     what grows over many updates
./dev bench policies                what Docker's restart policies do (docs/restart-policies.md)
"""

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path

import docker

from caissond.model.records import AuditKind
from caissond.package.validate import check_layout, check_targets, read_package
from caissond.store.database import Database
from fixtures.engine import private_engine
from fixtures.images import ImageRecipe, busybox_image
from fixtures.packages import write_package
from tests.bench import downtime, endurance, restart_policies
from tests.bench.loading import Loading
from tests.bench.say import run_caisson, say
from tests.docker.daemon_process import DaemonProcess, caissond
from tests.docker.rig import Rig, rig_on

SMALL_MB, LARGE_MB = 50, 1000
STARTS = 7
IDLE_S = 30


def main(arguments: list[str]) -> int:
    match arguments:
        case []:
            _measure_all()
        case ["downtime"]:
            downtime.measure()
        case ["endurance"]:
            endurance.measure()
        case ["endurance", updates] if updates.isdecimal():
            endurance.measure(int(updates))
        case ["policies"]:
            restart_policies.measure()
        case _:
            print(__doc__, file=sys.stderr)
            return 64
    return 0


def _measure_all() -> None:
    with (
        tempfile.TemporaryDirectory(prefix="caisson-bench-") as folder,
        private_engine("bench") as engine,
        closing(docker.DockerClient(base_url=engine.host)) as client,
    ):
        with rig_on(_made(Path(folder) / "start"), client, engine.host) as rig:
            _measure_start(rig)
            _measure_idle(rig)
        small = _measure_update(_made(Path(folder) / "small"), client, engine.host, SMALL_MB)
        large = _measure_update(_made(Path(folder) / "large"), client, engine.host, LARGE_MB)
        Loading(_made(Path(folder) / "loading"), engine).measure()
        _measure_known(_made(Path(folder) / "known"), client, engine.host)
        _measure_validate(_made(Path(folder) / "validate"))
    say("peak memory, large to small package", f"{large / small:.2f}", "1.0 is flat")
    downtime.measure()


def _measure_start(rig: Rig) -> None:
    imports = statistics.median(_timed_imports() for _ in range(STARTS))
    ready = statistics.median(_time_to_ready(rig) for _ in range(STARTS))
    say("start to READY=1", f"{ready:.2f} s", f"{ready / imports:.1f} of importing the libraries alone")


def _timed_imports() -> float:
    libraries = "import docker, pydantic, pyudev, sdnotify, watchdog.observers"
    return _timed(lambda: subprocess.run([sys.executable, "-c", libraries], check=True))


def _time_to_ready(rig: Rig) -> float:
    with _notify_socket(rig.folder) as (path, listener):
        began = time.monotonic()
        with caissond(rig.root, rig.host, NOTIFY_SOCKET=str(path)) as daemon:
            while b"READY=1" not in listener.recv(4096):
                pass
            took = time.monotonic() - began
            daemon.stop()
    return took


@contextmanager
def _notify_socket(folder: Path) -> Iterator[tuple[Path, socket.socket]]:
    path = folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(30)
        try:
            yield path, listener
        finally:
            path.unlink()


def _measure_idle(rig: Rig) -> None:
    with caissond(rig.root, rig.host) as daemon:
        daemon.wait_until_logged("ready")
        time.sleep(2)
        wakes, ticks = _wakes(daemon), _cpu_s(daemon)
        time.sleep(IDLE_S)
        wakes, ticks = _wakes(daemon) - wakes, _cpu_s(daemon) - ticks
        say("idle: wake-ups of all threads", f"{wakes / IDLE_S:.2f} per second", "no timer faster than 1 s")
        say("idle: processor time", f"{100 * ticks / IDLE_S:.2f} %", f"over {IDLE_S} s")
        say("idle: resident memory", f"{_status_kib(daemon, 'VmRSS') / 1024:.0f} MiB", "")


def _measure_update(folder: Path, client: docker.DockerClient, host: str, size_mb: int) -> float:
    """Apply a package of about this size; the peak of caissond's own memory in MiB."""
    with rig_on(folder, client, host) as rig:
        rig.write_catalog(kind="running", stable_secs=0.3)
        rig.run_old()
        recipe = ImageRecipe(reference=rig.reference("1.1.0"), version="1.1.0", filler_mb=size_mb)
        package = rig.package("1.1.0", busybox_image(folder / "large.tar", recipe))
        size_bytes = package.stat().st_size
        with caissond(rig.root, rig.host) as daemon:
            daemon.wait_until_logged("ready")
            began, written = time.monotonic(), _written_bytes(daemon)
            package.rename(rig.paths.inbox / package.name)
            daemon.wait_until_handled(deadline_s=600)
            took, written = time.monotonic() - began, _written_bytes(daemon) - written
            peak = _status_kib(daemon, "VmHWM") / 1024
            daemon.stop()
        assert rig.release() == "1.1.0", "the update did not succeed"
    size = f"{size_bytes / 1e6:.0f} MB package"
    say(f"{size}: peak memory of caissond", f"{peak:.0f} MiB", "at most 80 wanted")
    say(f"{size}: written by caissond", f"{written / size_bytes:.2f} of its size", "one private copy is 1.00")
    say(f"{size}: inbox to verdict", f"{took:.1f} s", f"{size_bytes / 1e6 / took:.0f} MB/s")
    return peak


def _measure_known(folder: Path, client: docker.DockerClient, host: str) -> None:
    """A large package of which every layer is there already: another configuration of the image that runs."""
    with rig_on(folder, client, host) as rig:
        rig.write_catalog(kind="running", stable_secs=0.3)
        rig.run_old()
        for version in ("1.1.0", "1.2.0"):
            recipe = ImageRecipe(
                reference=rig.reference(version), version="same", filler_mb=LARGE_MB, env={"RELEASE": version}
            )
            package = rig.package(version, busybox_image(folder / "large.tar", recipe))
            size_bytes = package.stat().st_size
            with caissond(rig.root, rig.host) as daemon:
                daemon.wait_until_logged("ready")
                read = _read_bytes(daemon)
                package.rename(rig.paths.inbox / package.name)
                daemon.wait_until_handled(deadline_s=600)
                share = 100 * (_read_bytes(daemon) - read) / size_bytes
                daemon.stop()
            labels = rig.container().labels
            assert labels["io.caisson.version"] == version, "the update did not succeed"
        took_s = _time_to_load(rig)
    size = f"{size_bytes / 1e6:.0f} MB package, all layers there"
    say(f"{size}: read", f"{share:.2f} %", "under 1 % wanted")
    say(f"{size}: until the container's turn", f"{took_s:.2f} s", "at most 0.5 s wanted")


def _time_to_load(rig: Rig) -> float:
    """From the first look at the last package until its image was in Docker, in seconds, as the audit chain has it."""
    with closing(Database(rig.paths.database)) as database, database.read() as connection:
        at = dict(connection.execute("SELECT kind, at FROM audit ORDER BY seq").fetchall())
    began, loaded = (
        datetime.fromisoformat(at[kind])
        for kind in (AuditKind.VALIDATION_STARTED, AuditKind.IMAGE_IMPORT_SUCCEEDED)
    )
    return (loaded - began).total_seconds()


def _measure_validate(folder: Path) -> None:
    """The speed of checking every byte, without the start of Python, against hashing the file once with sha256sum."""
    image = busybox_image(
        folder / "large.tar", ImageRecipe(reference="bench:validate", version="1", filler_mb=LARGE_MB)
    )
    packages = [folder / "format 1.edgepkg", folder / "format 2.edgepkg"]
    write_package(packages[0], service="s", version="1.0.0", reference="bench:validate", image_tar=image.path)
    run_caisson("package", "convert", *packages)
    for package in packages:
        hash_s = _best(partial(subprocess.run, ["sha256sum", package], check=True, stdout=subprocess.DEVNULL))
        speed = hash_s / _best(partial(_check, package))
        say(f"validating 1 GB, {package.stem}", f"{speed:.2f}", "of sha256sum's speed; at least 0.5 wanted")


def _best(work: Callable[[], object]) -> float:
    return min(_timed(work) for _ in range(3))


def _check(path: Path) -> None:
    with path.open("rb", buffering=0) as source:
        package = read_package(source)
        check_layout(source, package)
        check_targets(source, package, limit_bytes=1 << 40, progress=lambda _: None)


def _timed(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _status_kib(daemon: DaemonProcess, field: str) -> int:
    for line in Path(f"/proc/{daemon.process.pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise LookupError(field)


def _wakes(daemon: DaemonProcess) -> int:
    tasks = Path(f"/proc/{daemon.process.pid}/task").glob("*/status")
    lines = [line for task in tasks for line in task.read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))


def _cpu_s(daemon: DaemonProcess) -> float:
    fields = Path(f"/proc/{daemon.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _written_bytes(daemon: DaemonProcess) -> int:
    return _io_bytes(daemon, "write_bytes")


def _read_bytes(daemon: DaemonProcess) -> int:
    """By system calls, those of sockets included, wherever they came from."""
    return _io_bytes(daemon, "rchar")


def _io_bytes(daemon: DaemonProcess, field: str) -> int:
    lines = Path(f"/proc/{daemon.process.pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
