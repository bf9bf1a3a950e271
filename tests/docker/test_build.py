"""Packages built from a real engine, and looked at beside one."""

import json
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import pytest

from caissond.cli.app import run
from caissond.model.records import Outcome
from fixtures.engine import Engine, Version, private_engine
from fixtures.images import BuiltImage, ImageRecipe, busybox_image, load_image, provide_image
from fixtures.shapes import Shape
from tests.docker.rig import Rig

REFERENCE = "harness/build:1.4.0"


@pytest.fixture(autouse=True)
def engine_of_the_shell(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)


@pytest.fixture
def image(docker_client: docker.DockerClient, tmp_path: Path) -> Iterator[BuiltImage]:
    """In the engine, and as an archive."""
    recipe = ImageRecipe(reference=REFERENCE, version="1.4.0", filler_mb=2, repeat_layer=True)
    built = provide_image(docker_client, tmp_path, recipe)
    plain = built.path.rename(tmp_path / "image.tar")  # a source's path ends at its first colon
    yield replace(built, path=plain)
    docker_client.images.remove(REFERENCE)


def package(capture: pytest.CaptureFixture[str], folder: Path, *arguments: str | Path) -> Any:
    """The command's answer, in JSON."""
    code = run(["--root", str(folder), "package", *map(str, arguments), "--json"])
    answer = capture.readouterr()
    assert (code, answer.err) == (0, "")
    return json.loads(answer.out)


def build(capture: pytest.CaptureFixture[str], folder: Path, name: str, *sources: str) -> Any:
    images = [word for source in sources for word in ("--image", source)]
    fixed = ["--version", "1.4.0", "--service-revision", "r1", "--output", str(folder / name)]
    return package(capture, folder, "build", *images, *fixed)


def test_engine_and_archive_give_the_same_package(
    image: BuiltImage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    built = build(capsys, tmp_path, "engine.edgepkg", f"web={REFERENCE}")
    build(capsys, tmp_path, "archive.edgepkg", f"web=docker-archive:{image.path}")
    assert built["manifest"]["targets"][0]["config_digest"] == image.image_id
    assert (tmp_path / "engine.edgepkg").read_bytes() == (tmp_path / "archive.edgepkg").read_bytes()
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".edgepkg", ".edgepkg", ".tar"]


def test_bundle_shares_what_its_images_have_in_common(
    image: BuiltImage, docker_client: docker.DockerClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del image
    other = ImageRecipe(reference="harness/build:2.0.0", version="2.0.0", filler_mb=2)
    provide_image(docker_client, tmp_path, other)
    try:
        built = build(capsys, tmp_path, "x.edgepkg", f"web={REFERENCE}", f"api={other.reference}")
    finally:
        docker_client.images.remove(other.reference)
    assert (built["layers"], built["layer_uses"]) == (4, 7)


def test_image_without_a_name_needs_one(
    image: BuiltImage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is saved by its id bears no name."""
    output = str(tmp_path / "x.edgepkg")
    arguments = [
        "--root", str(tmp_path), "package", "build", "--image", f"web={image.image_id}", "--version", "1.4.0",
        "--service-revision", "r1", "--output", output,
    ]  # fmt: skip
    assert run(arguments) == 1
    assert "[build.no_reference, E-965]" in capsys.readouterr().err
    assert run([*arguments, "--reference", f"web={REFERENCE}"]) == 0


def test_image_that_the_engine_does_not_have_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run([
        "--root", str(tmp_path), "package", "build", "--image", "web=harness/none:1", "--version", "1.4.0",
        "--service-revision", "r1", "--output", str(tmp_path / "x.edgepkg"),
    ])  # fmt: skip
    assert (code, "[build.unknown_image, E-970]" in capsys.readouterr().err) == (1, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", Shape)
def test_inspect_says_what_would_be_read_here(
    image: BuiltImage, tmp_path: Path, shape: Shape, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a package whose image is there nothing, of a newer one its own layer."""
    newer = ImageRecipe(reference="harness/build:2.0.0", version="2.0.0", filler_mb=2, shape=shape)
    path = busybox_image(tmp_path / "newer.tar", newer).path
    build(
        capsys, tmp_path, "x.edgepkg", f"web=docker-archive:{image.path}", f"api=docker-archive:{path}",
    )  # fmt: skip
    there, new = package(capsys, tmp_path, "inspect", tmp_path / "x.edgepkg")["targets"]
    assert there["host"] == {"known_layers": 4, "missing_bytes": 0, "is_passed_over": False}
    own_bytes = new["layers"][-1]["size_bytes"]
    assert new["host"] == {"known_layers": 2, "missing_bytes": own_bytes, "is_passed_over": False}


def test_inspect_says_what_is_for_another_kind_of_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = ImageRecipe(reference=REFERENCE, version="1.4.0", architecture="s390x")
    path = busybox_image(tmp_path / "foreign.tar", foreign).path
    build(capsys, tmp_path, "x.edgepkg", f"web=docker-archive:{path}")
    assert run(["--root", str(tmp_path), "package", "inspect", str(tmp_path / "x.edgepkg")]) == 0
    assert "  On this host: passed over, it is for another kind of machine\n" in capsys.readouterr().out


def test_inspect_leaves_the_engine_as_it_was(
    image: BuiltImage, docker_client: docker.DockerClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build(capsys, tmp_path, "x.edgepkg", f"web=docker-archive:{image.path}")
    before = images_of(docker_client)
    package(capsys, tmp_path, "inspect", tmp_path / "x.edgepkg")
    assert images_of(docker_client) == before


def images_of(client: docker.DockerClient) -> dict[str, Any]:
    """By their ids: of the same age they come in any order."""
    return {image["Id"]: image for image in client.api.images(all=True)}


@pytest.mark.parametrize("features", [{}, {"containerd-snapshotter": True}], ids=["overlay2", "containerd"])
def test_newer_engine_gives_the_same_package(
    features: dict[str, bool],
    image: BuiltImage,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Docker 26 saves an OCI layout, and containerd's store another one yet."""
    if os.geteuid() != 0:
        pytest.skip("only root can start a Docker engine")
    build(capsys, tmp_path, "old.edgepkg", f"web={REFERENCE}")
    with private_engine("build", version=Version.DOCKER26, settings={"features": features}) as newer:
        with closing(docker.DockerClient(base_url=newer.host)) as client:
            load_image(client, image.path)
        monkeypatch.setenv("DOCKER_HOST", newer.host)
        build(capsys, tmp_path, "new.edgepkg", f"web={REFERENCE}")
    assert (tmp_path / "new.edgepkg").read_bytes() == (tmp_path / "old.edgepkg").read_bytes()


def test_what_is_built_from_the_engine_updates_a_service(
    rig: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    rig.run_old("1.0.0")
    load_image(rig.client, rig.image("1.1.0").path)
    output = rig.folder / "new.edgepkg"
    package(
        capsys, rig.folder, "build", "--image", f"{rig.name}={rig.reference('1.1.0')}", "--version", "1.1.0",
        "--service-revision", "1", "--output", output,
    )  # fmt: skip
    assert (rig.update(output).outcome, rig.release()) == (Outcome.SUCCEEDED, "1.1.0")
