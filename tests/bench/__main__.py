"""Runs the real caissond on an engine of its own and measures it: memory, start, idling, bytes written."""

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import docker

from fixtures.engine import private_engine
from fixtures.images import ImageRecipe, busybox_image
from tests.docker.daemon_process import DaemonProcess, caissond
from tests.docker.rig import Rig, rig_on

SMALL_MB, LARGE_MB = 50, 1000
STARTS = 7
IDLE_S = 30


def main() -> int:
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
    _say("peak memory, large to small package", f"{large / small:.2f}", "1.0 is flat")
    return 0


def _measure_start(rig: Rig) -> None:
    imports = statistics.median(_timed_imports() for _ in range(STARTS))
    ready = statistics.median(_time_to_ready(rig) for _ in range(STARTS))
    _say("start to READY=1", f"{ready:.2f} s", f"{ready / imports:.1f} of importing the libraries alone")


def _timed_imports() -> float:
    began = time.monotonic()
    libraries = "import docker, pydantic, pyudev, sdnotify, watchdog.observers"
    subprocess.run([sys.executable, "-c", libraries], check=True)
    return time.monotonic() - began


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
        _say("idle: wake-ups of all threads", f"{wakes / IDLE_S:.2f} per second", "no timer faster than 1 s")
        _say("idle: processor time", f"{100 * ticks / IDLE_S:.2f} %", f"over {IDLE_S} s")
        _say("idle: resident memory", f"{_status_kib(daemon, 'VmRSS') / 1024:.0f} MiB", "")


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
    _say(f"{size}: peak memory of caissond", f"{peak:.0f} MiB", "at most 80 wanted")
    _say(
        f"{size}: written by caissond", f"{written / size_bytes:.2f} of its size", "one private copy is 1.00"
    )
    _say(f"{size}: inbox to verdict", f"{took:.1f} s", f"{size_bytes / 1e6 / took:.0f} MB/s")
    return peak


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _say(what: str, value: str, note: str) -> None:
    print(f"{what:45} {value:>18}   {note}", flush=True)


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
    lines = Path(f"/proc/{daemon.process.pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))


if __name__ == "__main__":
    sys.exit(main())
