"""Which images are left on the engine after updates."""

from pathlib import Path

import pytest

from caissond.update.going_back import go_back
from caissond.update.recovery import settle
from tests.flow.device import CATALOG, OLD_REFERENCE, World, package


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.make(tmp_path)


def reference(version: str) -> str:
    return f"example/frontend:{version}"


def bring(world: World, *versions: str) -> None:
    for version in versions:
        content = package(version=version, reference=reference(version))
        world.update(world.write_package(content))


def left(world: World) -> list[str]:
    """The versions whose tags are left, and the one that was there before."""
    prefix = "example/frontend:"
    return sorted(tag.removeprefix(prefix) for tag in world.docker.tagged if tag.startswith(prefix))


def test_current_previous_and_what_the_catalog_names_are_left(world: World) -> None:
    bring(world, "1.1.0", "1.2.0", "1.3.0", "1.4.0")
    assert left(world) == ["1.0.0", "1.3.0", "1.4.0"]
    assert (len(world.docker.images), len(world.private_tags())) == (3, 1)


def test_as_many_images_are_left_as_the_policy_keeps(world: World) -> None:
    world.paths.services.write_text(f"{CATALOG}[services.policy]\nkeep_images = 3\n")
    bring(world, "1.1.0", "1.2.0", "1.3.0", "1.4.0")
    assert left(world) == ["1.0.0", "1.2.0", "1.3.0", "1.4.0"]
    world.paths.services.write_text(CATALOG)
    world.settle()
    assert left(world) == ["1.0.0", "1.3.0", "1.4.0"]


def test_image_that_no_package_brought_is_left(world: World) -> None:
    world.paths.services.write_text(CATALOG.replace(OLD_REFERENCE, "example/frontend:other"))
    bring(world, "1.1.0", "1.2.0", "1.3.0")
    assert "1.0.0" in left(world)


@pytest.mark.parametrize("runs", [True, False])
def test_image_that_another_container_uses_is_left_until_it_is_free(world: World, *, runs: bool) -> None:
    bring(world, "1.1.0")
    other = world.docker.run("other", reference("1.1.0"), policy="no")
    if not runs:
        world.docker.stop(other, grace_s=1)
    bring(world, "1.2.0", "1.3.0")
    assert left(world) == ["1.0.0", "1.1.0", "1.2.0", "1.3.0"]
    world.docker.stop(other, grace_s=1)
    world.docker.remove(other, with_new_volumes=False)
    world.settle()
    assert left(world) == ["1.0.0", "1.2.0", "1.3.0"]


def test_tag_that_somebody_moved_is_left(world: World) -> None:
    bring(world, "1.1.0", "1.2.0")
    world.docker.tagged[reference("1.1.0")] = world.docker.add_image("somebody/else:1")
    bring(world, "1.3.0")
    assert "1.1.0" in left(world)


def test_image_that_somebody_put_in_by_hand_is_left(world: World) -> None:
    bring(world, "1.1.0")
    world.docker.add_image(reference("by-hand"))
    current = world.docker.named()["frontend"]["Id"]
    world.docker.stop(current, grace_s=1)
    world.docker.remove(current, with_new_volumes=False)
    world.docker.run("frontend", reference("by-hand"), policy="no")
    bring(world, "1.2.0", "1.3.0", "1.4.0")
    assert "by-hand" in left(world)


def test_rollback_by_hand_finds_its_image_after_many_updates(world: World) -> None:
    bring(world, "1.1.0", "1.2.0", "1.3.0")
    with world.device() as device:
        settle(device)
        go_back(device, "frontend")
    assert world.docker.named()["frontend"]["Image"] == world.docker.tagged[reference("1.2.0")]
    assert left(world) == ["1.0.0", "1.2.0", "1.3.0"]


def test_failed_update_leaves_the_images_of_before(world: World) -> None:
    bring(world, "1.1.0", "1.2.0")
    world.update(world.write_package(package(version="1.3.0", reference=reference("1.3.0"), crashes=True)))
    assert left(world) == ["1.0.0", "1.1.0", "1.2.0"]


def test_image_of_a_package_that_the_catalog_names_is_left(world: World) -> None:
    world.paths.services.write_text(CATALOG.replace(OLD_REFERENCE, reference("1.1.0")))
    bring(world, "1.1.0", "1.2.0", "1.3.0", "1.4.0")
    assert "1.1.0" in left(world)
