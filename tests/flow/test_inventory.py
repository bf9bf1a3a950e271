"""The inventory of a device whose engine answers."""

import json
from pathlib import Path

import pytest

from caissond.report.inventory import Inventory, inventory_json, inventory_text
from caissond.report.stick import MAX_FILE_BYTES
from caissond.update.inventory import MAX_LAYERS, take_inventory
from tests.flow.device import NEW_REFERENCE, World, package

SECRET = "hunter2"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.make(tmp_path)


def taken(world: World) -> Inventory:
    with world.device() as device:
        return take_inventory(device)


def test_inventory_tells_what_runs_and_which_layers_are_there(world: World) -> None:
    world.update(world.write_package(package(version="1.2.2", padding=(0,))))
    world.update(world.write_package(package(padding=(0, 1))))
    (service,) = taken(world).services
    assert (service.version, service.previous_version, service.state) == ("1.2.3", "1.2.2", "running")
    assert service.reference == NEW_REFERENCE
    layers = world.docker.images[world.docker.named()["frontend"]["Image"]]["RootFS"]["Layers"]
    assert service.layers == tuple(layers)
    assert len(layers) == 2


def test_layers_of_other_images_are_told_once(world: World) -> None:
    """Of an image that another one begins with: not at all."""
    world.update(world.write_package(package(version="1.2.2", padding=(0, 1))))
    lower, _upper = world.docker.images[world.docker.named()["frontend"]["Image"]]["RootFS"]["Layers"]
    world.update(world.write_package(package(padding=(0, 2))))
    chains = {
        "a": [lower],
        "b": ["sha256:b"],
        "c": ["sha256:b", "sha256:c"],
        "d": [],
        "e": ["sha256:b", "sha256:c"],
    }
    for name, chain in chains.items():
        world.docker.images[f"sha256:{name}"] = {
            "Id": f"sha256:{name}",
            "Config": {},
            "RootFS": {"Layers": chain},
        }
    inventory = taken(world)
    (kept,) = (image for image in inventory.other_images if image[0] == lower)
    assert len(kept) == 2
    assert set(inventory.other_images) - {kept} >= {("sha256:b", "sha256:c")}
    assert not {(), (lower,), ("sha256:b",), inventory.services[0].layers} & set(inventory.other_images)
    assert inventory_text(inventory).count("sha256:c\n") == 1


def test_inventory_of_a_device_full_of_images_still_fits_on_a_stick(world: World) -> None:
    for image in range(300):
        layers = [f"sha256:{image:032x}{layer:032x}" for layer in range(60)]
        world.docker.images[f"sha256:{image}"] = {
            "Id": f"sha256:{image}",
            "Config": {},
            "RootFS": {"Layers": layers},
        }
    inventory = taken(world)
    assert len(inventory.other_images) + inventory.images_left_out == 300
    assert len(inventory.other_images) == MAX_LAYERS // 60
    assert max(map(len, (inventory_json(inventory), inventory_text(inventory)))) < MAX_FILE_BYTES // 2
    assert f"Images left out:  {inventory.images_left_out}\n" in inventory_text(inventory)


def test_service_that_nobody_updated_yet_is_told_as_it_runs(world: World) -> None:
    (service,) = taken(world).services
    assert (service.version, service.reference, service.state) == (None, "example/frontend:1.0.0", "running")


def test_container_that_is_gone_is_missing(world: World) -> None:
    world.docker.containers.clear()
    assert taken(world).services[0].state == "missing"


def test_inventory_is_taken_without_docker_too(world: World) -> None:
    world.docker.is_down = True
    inventory = taken(world)
    assert inventory.engine is None
    assert [service.state for service in inventory.services] == ["unknown"]
    assert "does not answer" in inventory_text(inventory)


def test_no_secret_of_a_container_is_in_it(world: World) -> None:
    container = world.docker.named()["frontend"]
    container["Config"] |= {"Env": [f"PASSWORD={SECRET}"], "Labels": {"token": SECRET}}
    container["HostConfig"] |= {"Binds": [f"/{SECRET}:/a"]}
    inventory = taken(world)
    assert SECRET not in inventory_text(inventory) + inventory_json(inventory)


def test_text_and_json_say_the_same_layers(world: World) -> None:
    world.update(world.write_package(package()))
    inventory = taken(world)
    document = json.loads(inventory_json(inventory))
    assert document["schema"] == 1
    for layer in document["services"][0]["layers"]:
        assert f"  {layer}\n" in inventory_text(inventory)
