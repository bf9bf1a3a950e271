"""The device that each test gets: an overlay of its own on one that was saved running. It always ends with its test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.machine.deb import find_deb
from fixtures.machine.device import Device
from fixtures.machine.machine import machine_on, make_overlay
from fixtures.machine.ready import Ready, provide_ready
from fixtures.machine.recipe import Recipe

_LONGEST = ("test_idle_daemon_costs", "test_hung_daemon", "test_upgrade_of_the_deb_in_an_update")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also what takes long and adds little")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: only with --long")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Those are not skipped: left out. The longest begin first, or one machine works at the end while others wait."""
    items.sort(key=lambda item: not item.name.startswith(_LONGEST))
    if not config.getoption("--long"):
        out = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if item not in out]


@pytest.fixture(scope="session")
def ready() -> Ready:
    """What all of them begin from."""
    recipe = Recipe.chosen()
    return provide_ready(recipe, find_deb(recipe.suite))


@pytest.fixture
def off(ready: Ready, tmp_path: Path) -> Iterator[Device]:
    """The device, without power: for what begins with a boot."""
    disk = make_overlay(tmp_path / "disk.qcow2", ready.disk)
    try:
        with machine_on(tmp_path / "machine", ready.base, disk, ready.recipe.accelerator) as machine:
            yield Device(machine, ready, tmp_path)
    finally:
        disk.unlink()


@pytest.fixture
def device(off: Device) -> Device:
    """The device, running, with nothing to do."""
    off.machine.restore(off.ready.memory)
    off.mark()
    return off
