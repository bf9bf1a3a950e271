"""caissond: the sources, one worker, signals, the watchdog, and how they hang together.

The main thread owns the udev and mount descriptors, the signals and the service manager; the worker thread owns the
database, the lock and Docker. They share a queue of hints and two flags.
"""

import argparse
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from caissond import __version__
from caissond.errors import CaissonError, ConfigError, HostUnavailable, LockBusy, Stopping
from caissond.intake.inbox import InboxWatch
from caissond.intake.media import MediaWatch, Noticed, Pace
from caissond.intake.mounts import find_media
from caissond.intake.queue import Hints
from caissond.intake.scan import Place, Scanner
from caissond.model.paths import Paths
from caissond.model.status import DaemonState
from caissond.package.validate import is_whole_file
from caissond.report.bus import Bus, Sink
from caissond.report.heartbeat import Heartbeat
from caissond.report.journal import choose_log_sink
from caissond.report.led_states import Resting
from caissond.report.outlets import Outlets
from caissond.report.status import StatusFile
from caissond.report.systemd import ServiceManager
from caissond.store.lock import hold_lock
from caissond.update.device import READ_STALL_S, Device
from caissond.update.provisioning import is_provisioned
from caissond.update.worker import NEVER, Again, Worker
from caissond.wiring import load_catalog, load_settings, open_device_whatever_config, tell_missing_compose

DOCKER_RETRY_S = 5
LONGEST_RETRY_S = 600
STOP_EXTENSION_S = 90
WORKER_LIMIT_S = 120


class Daemon:
    """One running caissond."""

    def __init__(self, device: Device, manager: ServiceManager, status: StatusFile, outlets: Outlets) -> None:
        self._device = device
        self._manager = manager
        self._status = status
        self._outlets = outlets
        self._hints = Hints()
        self._heartbeat = Heartbeat()
        device.beat = device.docker.before_call = self._heartbeat.beat
        self._scanner = Scanner(
            is_whole=self._is_whole,
            on_folder=self._goes_on,
            incomplete_s=device.settings.inbox.incomplete_secs,
        )
        self._worker = Worker(device, self._scanner, self._media_places, on_scanned=self._ready)
        self._inbox = InboxWatch(device.paths.inbox, lambda: self._hints.hint("inbox"))
        self._media = MediaWatch()
        self._pace = Pace()
        self._seen_media: tuple[Place, ...] = ()
        self._is_ready = False
        self._retry_s = DOCKER_RETRY_S
        self._is_provisioned = True
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def _goes_on(self) -> None:
        """Another of thousands of files, perhaps: each is a sign of life, and a moment to stop at."""
        self._device.check_stop()
        self._heartbeat.beat(READ_STALL_S)

    def _is_whole(self, path: Path) -> bool:
        self._goes_on()
        return is_whole_file(path)

    def run(self) -> int:
        """Run until a signal ends it; the exit code."""
        self._device.paths.media.mkdir(parents=True, exist_ok=True)
        self._watch_inbox()
        self._take_signals()
        thread = threading.Thread(target=self._work, name="worker")
        thread.start()
        try:
            self._main_loop(thread)
        finally:
            self._device.stop.set()
            self._hints.close()
            thread.join()
            self._inbox.stop()
            self._media.close()
        self._device.bus.tell("daemon.stopped", "stopped")
        self._status.remove()
        return 0

    # the main thread

    def _take_signals(self) -> None:
        signal.set_wakeup_fd(self._wake_write)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda _number, _frame: None)

    def _main_loop(self, thread: threading.Thread) -> None:
        while thread.is_alive():
            rest_s = self._pace.rest_s(time.monotonic())
            poll = self._poll(resting=rest_s > 0)
            for descriptor, _events in poll.poll(self._poll_timeout_ms(rest_s)):
                if descriptor == self._wake_read:
                    self._on_signals(os.read(self._wake_read, 64))
                else:
                    self._on_media(self._media.drain(descriptor))
            self._feed_watchdog()

    def _poll(self, *, resting: bool) -> select.poll:
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        for descriptor, events in self._media.descriptors(resting=resting).items():
            poll.register(descriptor, events)
        return poll

    def _on_media(self, noticed: Noticed) -> None:
        """A mount wakes the worker only when the media are others than before."""
        self._pace.after(noticed, time.monotonic())
        places = self._media_places() if noticed else self._seen_media
        if places != self._seen_media or Noticed.DEVICES in noticed:
            self._hints.hint("media")
        self._seen_media = places

    def _poll_timeout_ms(self, resting_s: float) -> int | None:
        waits = [1.0] if self._device.stop.is_set() else []
        if resting_s > 0:
            waits.append(resting_s)
        if self._manager.watchdog_interval_s is not None:
            waits.append(self._manager.watchdog_interval_s)
        return int(min(waits) * 1000) + 1 if waits else None

    def _feed_watchdog(self) -> None:
        if not self._heartbeat.alive(time.monotonic(), WORKER_LIMIT_S):
            return  # the worker hangs: let the service manager start us anew
        self._manager.watchdog()
        if self._device.stop.is_set() or not self._is_ready:
            self._manager.extend_timeout(STOP_EXTENSION_S)

    def _on_signals(self, numbers: bytes) -> None:
        for number in numbers:
            if number == signal.SIGHUP:
                self._hints.hint("reload")
            elif number in (signal.SIGTERM, signal.SIGINT):
                self._device.bus.tell("daemon.stopping", "asked to stop")
                self._manager.stopping()
                self._device.stop.set()
                self._hints.close()

    # the worker thread

    def _work(self) -> None:
        try:
            while not self._device.stop.is_set():
                self._heartbeat.beat(STOP_EXTENSION_S)
                self._rest(self._look_safely())
        finally:
            with suppress(OSError):
                os.write(self._wake_write, b"\0")

    def _look_safely(self) -> Again:
        """One round of work. Whatever goes wrong in it, there is another round."""
        device = self._device
        try:
            self._wait_for_docker()
            if device.stop.is_set():
                return NEVER
            settled = self._worker.settle() if not self._is_ready or device.journal.unfinished() else NEVER
            again = self._worker.look() if not device.stop.is_set() else NEVER
            self._retry_s = DOCKER_RETRY_S
            return again if again.after_s else settled
        except HostUnavailable as exc:
            device.bus.tell("update.postponed", exc.message)
            return Again(DOCKER_RETRY_S)
        except Stopping:
            return NEVER
        except CaissonError as exc:
            device.bus.tell(exc.code, exc.message)
        except Exception as exc:
            # our own mistake: told with its traceback, and the next package gets its turn
            traceback.print_exc()
            device.bus.tell("daemon.failed", f"caissond met a mistake of its own: {type(exc).__name__}")
        again = Again(self._retry_s)
        self._retry_s = min(2 * self._retry_s, LONGEST_RETRY_S)  # each try tells, and may write to flash
        return again

    def _wait_for_docker(self) -> None:
        told = False
        while not self._device.stop.is_set():
            try:
                self._device.docker.ping()
            except CaissonError as exc:
                if not told:
                    self._device.bus.tell("daemon.waiting", exc.message)
                    self._manager.ready()
                told = True
                self._heartbeat.beat(DOCKER_RETRY_S)
                self._device.stop.wait(DOCKER_RETRY_S)
                continue
            if told:
                self._device.bus.tell("docker.answered", "Docker answers again")
            return

    def _ready(self) -> None:
        """Recovery and the first scan are done."""
        if not self._is_ready:
            self._is_ready = True
            if problem := self._device.config_problem:
                self._device.bus.tell(problem.code, f"{problem.message}; packages wait")
            tell_missing_compose(self._device)
            self._device.bus.tell("daemon.started", f"caissond {__version__} is ready")
            self._manager.ready()

    def _rest(self, again: Again) -> None:
        waits = DaemonState.IDLE if self._is_ready else DaemonState.WAITING_FOR_DOCKER
        self._show_rest()
        problem = self._device.config_problem
        text = problem.message if problem else waits.words
        self._status.state(waits, text)
        self._manager.status(text)
        self._heartbeat.idle()
        reasons = self._hints.wait(again.after_s or self._device.settings.inbox.rescan_secs)
        self._heartbeat.beat(STOP_EXTENSION_S)
        if "reload" in reasons:
            self._manager.reloading()
            self._load_config(asked=True)
            self._manager.ready()
        elif problem is not None:
            self._load_config(asked=False)
        self._watch_inbox()

    def _show_rest(self) -> None:
        """Tell the LEDs what is so while nothing goes on."""
        device = self._device
        if device.stop.is_set():
            return
        provisioned = is_provisioned(device)
        if provisioned is not self._is_provisioned and (provisioned or device.config_problem is None):
            device.bus.tell("device.provisioned" if provisioned else "device.not_provisioned")
        self._is_provisioned = provisioned
        problem = device.config_problem is not None and device.config_problem.code != "catalog.missing"
        self._outlets.leds.rest(Resting(provisioned, problem, self._is_unsettled()))

    def _is_unsettled(self) -> bool:
        try:
            return bool(self._device.journal.unfinished())
        except CaissonError:  # told by the next round of work
            return True

    def _watch_inbox(self) -> None:
        if problem := self._inbox.ensure():
            self._device.bus.tell("inbox.unwatched", f"{problem}; looking every so often instead")

    def _load_config(self, *, asked: bool) -> None:
        """Read settings and catalog again. A mistake that is known already is told only to who asked."""
        device, waiting = self._device, self._device.config_problem
        try:
            settings, catalog = load_settings(device.paths), load_catalog(device.paths, device.bus)
        except ConfigError as exc:
            if waiting is not None:
                device.config_problem = exc
            if asked or waiting is None or waiting.message != exc.message:
                then = "packages wait" if waiting else "going on with what was read before"
                device.bus.tell(exc.code, f"{exc.message}; {then}")
            return
        device.settings, device.catalog, device.config_problem = settings, catalog, None
        device.docker.configure(
            timeout_s=settings.docker.timeout_secs, load_stall_s=settings.docker.load_stall_secs
        )
        self._scanner.incomplete_s = settings.inbox.incomplete_secs
        self._outlets.configure(settings, device.bus)
        device.bus.tell("settings.reloaded", "settings and catalog were read again")
        tell_missing_compose(device)

    def _media_places(self) -> tuple[Place, ...]:
        roots = tuple(Path(root) for root in self._device.settings.media.roots)
        return find_media(self._device.paths.media, roots)


def run(paths: Paths, *, adjust: Callable[[Device], None] = lambda _device: None) -> int:
    """Run caissond on these paths; the exit code.

    Args:
        adjust: changes the device before it is used; how tests get at its seams.
    """
    manager, status, outlets = ServiceManager(), StatusFile(paths.status), Outlets(paths)
    log: list[Sink] = [choose_log_sink(), lambda event: manager.status(event.text)]
    bus = Bus([*log, status, *outlets.sinks], progress=[status.progress])
    try:
        with hold_lock(paths.daemon_lock, who=f"caissond, process {os.getpid()}", code="lock.daemon_runs"):
            device = _open_device(paths, bus)
            outlets.configure(device.settings, bus)
            device.veto = outlets.hooks.ask
            adjust(device)
            return Daemon(device, manager, status, outlets).run()
    except CaissonError as exc:
        # the status file is of the one that runs
        (Bus(log) if exc.code == "lock.daemon_runs" else bus).tell(exc.code, exc.message)
    finally:
        outlets.close(on_wait=partial(_still_ending, manager))
    return 1


def _still_ending(manager: ServiceManager) -> None:
    """Hooks may take longer than the service manager waits for an end."""
    manager.watchdog()
    manager.extend_timeout(STOP_EXTENSION_S)


def _open_device(paths: Paths, bus: Bus) -> Device:
    """Only who holds the lock may replace a damaged database; whoever holds it now has a sound one open."""
    try:
        with hold_lock(paths.lock, who=f"caissond, process {os.getpid()}"):
            return open_device_whatever_config(paths, bus)
    except LockBusy:
        return open_device_whatever_config(paths, bus, may_replace=False)


def parse_paths(arguments: Sequence[str]) -> Paths:
    """The paths that the command line of the daemon names."""
    parser = argparse.ArgumentParser(
        prog="caissond",
        description="Watches the inbox and plugged-in media, and updates the services of services.toml.",
    )
    parser.add_argument("--root", type=Path, default=Path("/"), help="put all paths below this folder")
    parser.add_argument("--config", type=Path, help="settings (default: ROOT/etc/caisson/caissond.toml)")
    parser.add_argument("--services", type=Path, help="catalog (default: ROOT/etc/caisson/services.toml)")
    parser.add_argument("--state-dir", type=Path, help="state (default: ROOT/var/lib/caisson)")
    parser.add_argument("--version", action="version", version=f"caissond {__version__}")
    given = parser.parse_args(arguments)
    return Paths.below(given.root, config=given.config, services=given.services, state_dir=given.state_dir)


def main() -> None:
    """The entry point `caissond`."""
    sys.exit(run(parse_paths(sys.argv[1:])))
