"""Hooks on a whole device: asked last, before anything is written down or touched."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path

import pytest

from caissond.intake.scan import Origin, Scanner
from caissond.model.records import Outcome, Verdict
from caissond.model.settings import HookSettings
from caissond.package.validate import is_whole_file
from caissond.report.hooks import Hooks
from caissond.update.acceptance import Request
from caissond.update.device import Device
from caissond.update.updater import Updater
from caissond.update.worker import FIRST_WAIT_S, Worker
from tests.flow.device import World, dump, package


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World.make(tmp_path)
    world.paths.hooks.mkdir(mode=0o755)
    return world


def add_hook(world: World, script: str, *, name: str = "hook") -> None:
    path = world.paths.hooks / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@contextmanager
def hooked(world: World, *, timeout_s: int = 60) -> Iterator[Device]:
    """A process whose hooks are asked, as the daemon and the command line have it."""
    with world.device() as device, closing(Hooks(world.paths.hooks, world.paths.hooks_socket)) as hooks:
        hooks.configure(HookSettings(timeout_secs=timeout_s), device.bus.tell)
        device.veto = hooks.ask
        yield device


def update(world: World, path: Path, *, origin: Origin = Origin.INBOX, timeout_s: int = 60) -> Verdict:
    with hooked(world, timeout_s=timeout_s) as device:
        verdict = Updater(device).handle(Request(path, origin))
    assert verdict is not None
    return verdict


def test_hook_that_says_no_refuses_the_package_and_nothing_is_touched(world: World) -> None:
    add_hook(world, "echo not on a Friday; exit 1")
    before = dump(world)
    verdict = update(world, world.write_package(package()))
    assert (verdict.outcome, verdict.code) == (Outcome.REFUSED, "hook.refused")
    assert verdict.message.endswith("says the hook hook: not on a Friday")
    assert dump(world) == before
    assert world.broken_promises() == []
    assert [event.code for event in world.events][-1] == "hook.refused"


def test_hook_that_says_later_leaves_the_package_for_another_time(world: World) -> None:
    add_hook(world, "exit 75")
    path, before = world.write_package(package()), dump(world)
    verdict = update(world, path)
    assert (verdict.outcome, verdict.code, verdict.retry) == (Outcome.POSTPONED, "hook.later", True)
    assert dump(world) == before
    assert [event.code for event in world.events][-1] == "hook.later"
    add_hook(world, "exit 0")
    assert update(world, path).outcome is Outcome.SUCCEEDED


def test_waiting_for_a_hook_is_no_attempt(world: World) -> None:
    add_hook(world, "exit 75")
    path = world.write_package(package())
    assert {update(world, path).code for _ in range(5)} == {"hook.later"}


def test_hook_that_hangs_puts_the_update_off(world: World) -> None:
    add_hook(world, "sleep 60")
    verdict = update(world, world.write_package(package()), timeout_s=1)
    assert (verdict.outcome, verdict.code) == (Outcome.POSTPONED, "hook.timed_out")
    assert [event.code for event in world.events][-1] == "hook.timed_out"
    assert world.broken_promises() == []


def test_hook_is_told_what_the_update_would_do(world: World, tmp_path: Path) -> None:
    update(world, world.write_package(package(version="1.1.0")))
    names = "CODE PACKAGE SERVICE VERSION PREVIOUS SOURCE"
    add_hook(world, f'for name in {names}; do eval echo \\"\\$CAISSON_$name\\"; done >{tmp_path}/told')
    assert update(world, world.write_package(package())).outcome is Outcome.SUCCEEDED
    told = (tmp_path / "told").read_text().split()
    assert told == ["update.before", "frontend.edgepkg", "frontend", "1.2.3", "1.1.0", "inbox"]


def test_hook_is_not_asked_about_a_package_that_is_refused_anyway(world: World, tmp_path: Path) -> None:
    add_hook(world, f"touch {tmp_path}/asked")
    path = world.write_package(package())
    assert update(world, path).outcome is Outcome.SUCCEEDED
    (tmp_path / "asked").unlink()
    assert update(world, path).outcome is Outcome.NOTHING_TO_DO
    assert update(world, world.write_package(package(version="1.0.1"))).code == "package.downgrade"
    assert not (tmp_path / "asked").exists()


def test_package_on_a_stick_that_a_hook_refused_is_asked_about_again_when_plugged_in(world: World) -> None:
    add_hook(world, "exit 1")
    path = world.write_package(package())
    assert update(world, path, origin=Origin.MEDIA).code == "hook.refused"
    add_hook(world, "exit 0")
    assert update(world, path, origin=Origin.MEDIA).outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize(("code", "stays"), [(75, True), (1, False)])
def test_package_in_the_inbox_stays_while_it_waits_and_goes_when_it_is_refused(
    world: World, code: int, stays: bool
) -> None:
    add_hook(world, f"exit {code}")
    path = world.write_package(package())
    clock = count()
    with hooked(world) as device:
        scanner = Scanner(is_whole=is_whole_file, clock=lambda: next(clock), incomplete_s=30)
        worker = Worker(device, scanner, lambda: ())
        waits = [worker.look().after_s for _ in range(2)]  # a file counts once it was the same twice
    assert path.exists() is stays
    assert (FIRST_WAIT_S in waits) is stays


def test_request_to_stop_while_a_hook_thinks_is_obeyed(world: World, tmp_path: Path) -> None:
    thinks, is_asked = tmp_path / "thinks", tmp_path / "is-asked"
    add_hook(world, f"touch {thinks}; while [ ! -e {is_asked} ]; do sleep 0.05; done")
    path = world.write_package(package())
    with hooked(world) as device, ThreadPoolExecutor(1) as thread:

        def stop() -> None:
            until = time.monotonic() + 60
            while not thinks.exists() and time.monotonic() < until:
                time.sleep(0.01)
            device.stop.set()
            is_asked.touch()

        thread.submit(stop)
        verdict = Updater(device).handle(Request(path, Origin.INBOX))
    assert verdict is not None
    assert (verdict.outcome, verdict.code) == (Outcome.POSTPONED, "update.interrupted")
    assert world.broken_promises() == []


def test_update_begins_without_hooks(world: World) -> None:
    world.paths.hooks.rmdir()
    assert update(world, world.write_package(package())).outcome is Outcome.SUCCEEDED
