"""The images and packages that other tests build on are the same every time, and what they claim to be."""

import tarfile
import tomllib
from pathlib import Path

import pytest

from fixtures.images import ImageRecipe, busybox_image
from fixtures.packages import write_package
from fixtures.shapes import Shape


@pytest.mark.parametrize("shape", Shape)
def test_the_same_recipe_makes_the_same_bytes(tmp_path: Path, shape: Shape) -> None:
    recipe = ImageRecipe(reference="a/b:1", version="1", shape=shape, filler_mb=1, repeat_layer=True)
    first, second = (busybox_image(tmp_path / name, recipe) for name in ("first", "second"))
    assert first.path.read_bytes() == second.path.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second"]


def test_another_version_shares_all_layers_but_the_last(tmp_path: Path) -> None:
    old, new = (
        busybox_image(tmp_path / version, ImageRecipe(reference="a/b:1", version=version, filler_mb=1))
        for version in ("1", "2")
    )
    assert old.diff_ids[:-1] == new.diff_ids[:-1]
    assert old.diff_ids[-1] != new.diff_ids[-1]


def test_up_to_docker_24_a_layer_that_occurs_twice_is_a_link(tmp_path: Path) -> None:
    recipe = ImageRecipe(reference="a/b:1", version="1", repeat_layer=True)
    with tarfile.open(busybox_image(tmp_path / "image.tar", recipe).path) as tar:
        assert [member.linkname.endswith("/layer.tar") for member in tar if member.issym()] == [True]


def test_a_package_holds_the_manifest_and_then_the_image(tmp_path: Path) -> None:
    image = tmp_path / "image.tar"
    image.write_bytes(b"image")
    package = write_package(
        tmp_path / "x.edgepkg",
        service="web",
        version="1.2.3",
        reference="a/b:1",
        image_tar=image,
        revision="r7",
    )
    with tarfile.open(package) as tar:
        manifest, content = (tar.extractfile(name) for name in tar.getnames())
        assert manifest is not None
        assert content is not None
        assert tomllib.loads(manifest.read().decode())["target"]["service_revision"] == "r7"
        assert content.read() == b"image"
