"""What systemd hears, on a real notification socket."""

import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from caissond.daemon import STOP_EXTENSION_S
from caissond.report.systemd import ServiceManager
from tests.unit.report.test_status_file import daemon_without_docker


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Systemd's end of the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "notify"))
        server.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield server


@pytest.fixture
def manager(heard: socket.socket) -> Iterator[ServiceManager]:
    assert heard
    manager = ServiceManager()
    yield manager
    manager.close()


def test_each_message_is_its_own_datagram(manager: ServiceManager, heard: socket.socket) -> None:
    manager.ready()
    manager.watchdog()
    manager.stopping()
    manager.extend_timeout(1.5)
    messages = [heard.recv(1000) for _ in range(4)]
    assert messages == [b"READY=1", b"WATCHDOG=1", b"STOPPING=1", b"EXTEND_TIMEOUT_USEC=1500000"]


def test_reload_says_its_time_in_the_same_datagram(manager: ServiceManager, heard: socket.socket) -> None:
    before_us = time.monotonic_ns() // 1000
    manager.reloading()
    after_us = time.monotonic_ns() // 1000
    reloading, moment = heard.recv(1000).decode().split("\n")
    assert reloading == "RELOADING=1"
    assert before_us <= int(moment.removeprefix("MONOTONIC_USEC=")) <= after_us


def test_status_survives_letters_beyond_latin_1(manager: ServiceManager, heard: socket.socket) -> None:
    manager.status("warte auf Gerät… ✓")
    assert heard.recv(1000).decode("utf-8") == "STATUS=warte auf Gerät… ✓"


def test_status_cannot_smuggle_in_another_message(manager: ServiceManager, heard: socket.socket) -> None:
    manager.status("loading\nSTOPPING=1")
    assert heard.recv(1000) == b"STATUS=loading?STOPPING=1"


def test_nothing_is_said_or_raised_without_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    manager = ServiceManager()
    manager.ready()
    manager.status("\udc80")
    manager.close()


def test_systemd_gone_raises_nothing(manager: ServiceManager, heard: socket.socket) -> None:
    heard.close()
    manager.ready()
    manager.watchdog()


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # sdnotify leaves its socket open
def test_socket_that_is_not_there_raises_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "none"))
    manager = ServiceManager()
    manager.ready()
    manager.close()


@pytest.mark.parametrize(
    ("usec", "pid", "interval_s"),
    [
        ("30000000", None, 15.0),
        ("30000000", "ours", 15.0),
        ("30000000", "1", None),
        ("0", None, None),
        ("soon", None, None),
        (None, None, None),
    ],
)
def test_watchdog_is_fed_twice_in_its_time(
    monkeypatch: pytest.MonkeyPatch, usec: str | None, pid: str | None, interval_s: float | None
) -> None:
    for name, value in (("WATCHDOG_USEC", usec), ("WATCHDOG_PID", pid), ("NOTIFY_SOCKET", None)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, str(os.getpid()) if value == "ours" else value)
    assert ServiceManager().watchdog_interval_s == interval_s


def test_daemon_that_waits_for_a_hook_at_its_end_asks_for_time(tmp_path: Path, heard: socket.socket) -> None:
    hook = tmp_path / "etc/caisson/hooks.d/slow"
    hook.parent.mkdir(parents=True)
    hook.parent.chmod(0o755)
    hook.write_text('#!/bin/sh\n[ "$CAISSON_CODE" != daemon.stopped ] || sleep 2\n')
    hook.chmod(0o755)
    with ThreadPoolExecutor(1) as thread:
        messages = thread.submit(all_messages, heard)
        with daemon_without_docker(tmp_path):
            pass
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.sendto(b"", heard.getsockname())
    said = messages.result()
    said = said[said.index("STATUS=stopped") + 1 :]
    assert {"WATCHDOG=1", f"EXTEND_TIMEOUT_USEC={STOP_EXTENSION_S * 1_000_000}"} <= set(said)


def all_messages(heard: socket.socket) -> list[str]:
    """Until an empty one."""
    heard.settimeout(60)
    return [message.decode() for message in iter(lambda: heard.recv(4096), b"")]
