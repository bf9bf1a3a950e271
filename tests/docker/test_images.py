"""Images written by hand are what Docker takes them for."""

from pathlib import Path

import docker
import pytest

from fixtures.images import ImageRecipe, provide_image
from fixtures.shapes import Shape
from tests.docker.rig import told_by_run


@pytest.mark.parametrize("shape", Shape)
def test_docker_loads_every_shape_as_the_same_image(
    docker_client: docker.DockerClient, tmp_path: Path, shape: Shape
) -> None:
    recipe = ImageRecipe(
        reference="harness/shape:1", version="1.2.3", shape=shape, repeat_layer=True, filler_mb=1
    )
    built = provide_image(docker_client, tmp_path, recipe)
    try:
        loaded = docker_client.images.get(built.reference)
        assert (loaded.id, tuple(loaded.attrs["RootFS"]["Layers"])) == (built.image_id, built.diff_ids)
        assert told_by_run(docker_client, built.reference, "cat /version") == b"1.2.3\n"
    finally:
        docker_client.images.remove(built.reference)
