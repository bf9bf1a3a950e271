"""caissond as systemd sees it: ready, watched, stopped, reloaded, and waiting for an engine that is not there."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest

from caissond.daemon import DOCKER_RETRY_S
from caissond.model.records import Outcome
from caissond.store.lock import holder_of
from fixtures.engine import Engine, PrivateEngine
from tests.docker.daemon_process import DaemonProcess, caissond
from tests.docker.manager import NotifySocket, notify_socket
from tests.docker.rig import Rig, rig_on, told_version

GATE_DONE = 13  # the 14th durable write of an update says that the commit begins: the verdict is in
IDLE_S = 6
WATCHDOG_S = 8
WATCHDOG_USEC = str(WATCHDOG_S * 1_000_000)
NOWHERE = "unix:///nonexistent/docker.sock"


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[NotifySocket]:
    with notify_socket(tmp_path) as manager:
        yield manager


@pytest.fixture
def quick(rig: Rig) -> Rig:
    """A service with a gate of a moment, that runs 1.0.0."""
    rig.write_catalog(kind="running", stable_secs=0.3)
    rig.run_old(restart_policy={"Name": "always"})
    return rig


def drop(rig: Rig, package: Path) -> Path:
    """Move a package into the inbox."""
    rig.paths.inbox.mkdir(parents=True, exist_ok=True)
    return package.rename(rig.paths.inbox / package.name)


def say_nothing_more(daemon: DaemonProcess, seconds: float) -> str:
    """What is logged in this time."""
    before = len(daemon.log())
    time.sleep(seconds)
    return daemon.log()[before:]


# ready, status, watchdog


def test_daemon_is_ready_after_recovery_and_the_first_scan(quick: Rig, manager: NotifySocket) -> None:
    drop(quick, quick.package("1.1.0"))
    with caissond(quick.root, quick.host, kill_at=GATE_DONE - 2) as daemon:
        daemon.wait_for_death()
    with caissond(quick.root, quick.host, NOTIFY_SOCKET=str(manager.path)) as daemon:
        daemon.wait_until_handled()
        assert daemon.stop() == 0
    recovered, ready = manager.where("the update was cut off and is undone"), manager.where("READY=1")
    assert manager.where("was cut off, settling it") < recovered < ready
    assert ready < manager.where("runs the new release")
    assert manager.said().count("READY=1") == 1
    assert not [text for text in manager.said()[:ready] if "looking at it" in text]


def test_every_phase_is_told_in_the_status(quick: Rig, manager: NotifySocket) -> None:
    with caissond(quick.root, quick.host, NOTIFY_SOCKET=str(manager.path)) as daemon:
        daemon.wait_for("READY", lambda: "READY=1" in manager.said())
        drop(quick, quick.package("1.1.0"))
        daemon.wait_until_handled()
        daemon.wait_for("rest", lambda: manager.statuses()[-1] == "idle")
    name = quick.name
    wanted = [
        "idle",
        f"{name}-1.1.0.edgepkg: looking at it",
        f"{name}-1.1.0.edgepkg: right for {name}",
        f"{name} {quick.reference('1.0.0')} -> 1.1.0: an update begins",
        f"{name} 1.1.0: the new image goes into Docker",
        f"{name}: the old release is stopped",
        f"{name}: the new release runs, watching it",
        f"{name} 1.1.0: the service runs the new release",
        "idle",
    ]
    said = manager.statuses()
    assert [text for text in said if text in wanted[1:-1]] == wanted[1:-1]
    assert (said[0] != "idle", said[-1]) == (True, "idle")


def wait_until_fed(daemon: DaemonProcess, manager: NotifySocket, *, times: int) -> None:
    """So often from now on; fails when it is not fed twice in the watchdog's time, less what a busy machine takes."""
    began = time.monotonic()
    wanted = len(manager.times_of("WATCHDOG=1")) + times
    daemon.wait_for("a fed watchdog", lambda: len(manager.times_of("WATCHDOG=1")) >= wanted)
    assert manager.longest_silence_s("WATCHDOG=1", began) < 0.9 * WATCHDOG_S


def test_idle_daemon_feeds_the_watchdog_twice_in_its_time(
    engine: Engine, tmp_path: Path, manager: NotifySocket
) -> None:
    """With no container of its own, whose health checks would wake it."""
    (tmp_path / "root/etc/caisson").mkdir(parents=True)
    (tmp_path / "root/etc/caisson/services.toml").write_text("catalog_version = 1\nservices = []\n")
    notify = str(manager.path)
    with caissond(
        tmp_path / "root", engine.host, NOTIFY_SOCKET=notify, WATCHDOG_USEC=WATCHDOG_USEC
    ) as daemon:
        daemon.wait_until_logged("is ready")
        wait_until_fed(daemon, manager, times=3)


def _is_calm(pid: int) -> bool:
    """Whether it wakes twice a second at most, in some seconds. The kernel, too, makes a thread wait now and then."""
    before, began = _switches(pid), time.monotonic()
    time.sleep(IDLE_S)
    return _switches(pid) - before <= 2 * (time.monotonic() - began) + 2


def _switches(pid: int) -> int:
    lines = [
        line
        for status in Path(f"/proc/{pid}/task").glob("*/status")
        for line in status.read_text().splitlines()
    ]
    return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))


def test_idle_daemon_has_no_timer_faster_than_a_second(engine: Engine, tmp_path: Path) -> None:
    """Twice a second at most, and that only while other processes change the mount table. A timer is never calm."""
    (tmp_path / "root/etc/caisson").mkdir(parents=True)
    (tmp_path / "root/etc/caisson/services.toml").write_text("catalog_version = 1\nservices = []\n")
    with caissond(tmp_path / "root", engine.host) as daemon:
        daemon.wait_until_logged("is ready")
        daemon.wait_until_idle()
        assert any(_is_calm(daemon.process.pid) for _ in range(10))


# an engine that is not there


def test_daemon_waits_for_an_engine_and_goes_on_by_itself(
    own_engine: PrivateEngine, own_client: docker.DockerClient, tmp_path: Path, manager: NotifySocket
) -> None:
    with rig_on(tmp_path, own_client, own_engine.host) as rig:
        rig.write_catalog(kind="running", stable_secs=0.3)
        rig.run_old(restart_policy={"Name": "always"})
        path = drop(rig, rig.package("1.1.0"))
        own_engine.stop()
        with caissond(rig.root, rig.host, NOTIFY_SOCKET=str(manager.path)) as daemon:
            daemon.wait_for("READY", lambda: "READY=1" in manager.said())
            assert manager.statuses()[-1] == "cannot reach the engine: Docker does not answer"
            (ready,), (told,) = (
                manager.times_of(text) for text in ("READY=1", f"STATUS={manager.statuses()[-1]}")
            )
            assert ready - told < DOCKER_RETRY_S / 2  # it does not try again first
            assert say_nothing_more(daemon, 6) == ""
            assert path.exists()
            own_engine.start()
            daemon.wait_until_logged("Docker answers again")
            daemon.wait_until_handled()
            assert daemon.stop() == 0
        assert rig.release() == "1.1.0"


@contextmanager
def hanging(engine: PrivateEngine) -> Iterator[None]:
    """dockerd takes connections and answers nobody."""
    pid = int((engine.directory / "docker.pid").read_text())
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_engine_that_hangs_is_waited_for_too_and_the_watchdog_is_fed(
    own_engine: PrivateEngine, own_client: docker.DockerClient, tmp_path: Path, manager: NotifySocket
) -> None:
    notify = str(manager.path)
    with rig_on(tmp_path, own_client, own_engine.host) as rig:
        rig.write_settings("[trust]\nallow_unsigned = true\n[docker]\ntimeout_secs = 10\n")
        rig.write_catalog(kind="running", stable_secs=5)
        rig.run_old(restart_policy={"Name": "always"})
        drop(rig, rig.package("1.1.0"))
        with caissond(rig.root, rig.host, NOTIFY_SOCKET=notify, WATCHDOG_USEC=WATCHDOG_USEC) as daemon:
            daemon.wait_until_logged("watching it")
            with hanging(own_engine):
                daemon.wait_until_logged("cannot reach the engine: Docker does not answer")
                wait_until_fed(daemon, manager, times=2)
            daemon.wait_until_logged("the update was cut off and is undone")
            daemon.wait_until_handled()
            assert daemon.stop() == 0
        assert (rig.release(), rig.containers()) == ("1.1.0", [rig.name])


def test_stop_while_waiting_for_an_engine_is_quick(tmp_path: Path, manager: NotifySocket) -> None:
    (tmp_path / "root/etc/caisson").mkdir(parents=True)
    (tmp_path / "root/etc/caisson/services.toml").write_text("catalog_version = 1\nservices = []\n")
    with caissond(tmp_path / "root", NOWHERE, NOTIFY_SOCKET=str(manager.path)) as daemon:
        daemon.wait_until_logged("Docker does not answer")
        assert daemon.stop() == 0
    (asked,), (stopped,) = manager.times_of("STOPPING=1"), manager.times_of("STATUS=stopped")
    assert stopped - asked < DOCKER_RETRY_S / 2
    assert [line.split("  ")[-1].strip() for line in daemon.log().splitlines()][-2:] == [
        "asked to stop",
        "stopped",
    ]


# stopping


def test_stop_during_the_gate_rolls_back_and_the_next_start_applies_the_package(
    rig: Rig, manager: NotifySocket
) -> None:
    rig.write_catalog(kind="running", stable_secs=4)  # the way back is watched as long
    old = rig.run_old(restart_policy={"Name": "always"})
    path = drop(rig, rig.package("1.1.0"))
    with caissond(rig.root, rig.host, NOTIFY_SOCKET=str(manager.path)) as daemon:
        daemon.wait_until_logged("watching it")
        assert daemon.stop() == 0
    assert (rig.container().id, rig.release(), rig.containers()) == (old.id, "1.0.0", [rig.name])
    assert (path.exists(), rig.private_tags()) == (True, [])
    assert "EXTEND_TIMEOUT_USEC=90000000" in manager.said()[manager.where("STOPPING=1") :]
    rig.write_catalog(kind="running", stable_secs=0.3)
    with caissond(rig.root, rig.host) as daemon:
        daemon.wait_until_handled()
    assert rig.release() == "1.1.0"
    outcomes = [verdict.outcome for verdict in rig.device().history.newest()]
    assert outcomes == [Outcome.SUCCEEDED, Outcome.ROLLED_BACK]


@pytest.mark.parametrize(
    ("stop_at", "release"),
    [(10, "1.0.0"), (GATE_DONE + 1, "1.1.0")],
    ids=["while starting", "past the verdict"],
)
def test_stop_undoes_before_the_verdict_and_finishes_after_it(quick: Rig, stop_at: int, release: str) -> None:
    quick.write_catalog(kind="running", stable_secs=2)  # the signal is heard by another thread
    path = drop(quick, quick.package("1.1.0"))
    with caissond(quick.root, quick.host, stop_at=stop_at) as daemon:
        assert daemon.wait_for_death() == 0
    assert (quick.release(), quick.containers()) == (release, [quick.name])
    assert quick.device().journal.unfinished() == ()
    assert path.exists() is (release == "1.0.0")


def test_second_daemon_on_the_same_state_refuses_to_start(quick: Rig) -> None:
    with caissond(quick.root, quick.host) as daemon:
        daemon.wait_until_logged("is ready")
        with caissond(quick.root, quick.host) as second:
            assert second.wait_for_death() == 1
            assert f"held by caissond, process {daemon.process.pid}" in second.log()
        assert holder_of(quick.paths.daemon_lock) == f"caissond, process {daemon.process.pid}"
        assert daemon.stop() == 0
    assert holder_of(quick.paths.daemon_lock) is None


# reloading


def test_bad_catalog_is_told_and_the_one_before_stays(quick: Rig, manager: NotifySocket) -> None:
    good = quick.paths.services.read_text()
    with caissond(quick.root, quick.host, NOTIFY_SOCKET=str(manager.path)) as daemon:
        daemon.wait_until_logged("is ready")
        quick.paths.services.write_text(good.replace("timeout_secs = 60", 'timeout_secs = "soon"'))
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_until_logged("going on with what was read before")
        line = good[: good.index("timeout_secs")].count("\n") + 1
        assert f"cannot use the catalog {quick.paths.services}, line {line}: " in daemon.log()
        drop(quick, quick.package("1.1.0"))
        daemon.wait_until_handled()
    assert quick.release() == "1.1.0"
    reloading = next(
        number for number, text in enumerate(manager.said()) if text.startswith("RELOADING=1\nMONO")
    )
    assert "READY=1" in manager.said()[reloading:]


def test_new_catalog_is_in_force_after_a_reload(quick: Rig) -> None:
    second = f"{quick.name}-b"
    good = quick.paths.services.read_text()
    package = quick.package("1.1.0", name="b.edgepkg", service=second, reference=f"rig/{second}:1.1.0")
    quick.client.containers.run(quick.reference("1.0.0"), name=second, detach=True)
    with caissond(quick.root, quick.host) as daemon:
        daemon.wait_until_logged("is ready")
        new = good.partition("[[services]]")[2].replace(f'"{quick.name}"', f'"{second}"')
        new = new.replace(quick.reference("1.0.0"), f"rig/{second}:1.0.0")
        quick.paths.services.write_text(f"{good}\n[[services]]{new}")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_until_logged("settings and catalog were read again")
        drop(quick, package)
        daemon.wait_until_handled()
    assert told_version(quick.client.containers.get(second)) == "1.1.0"
