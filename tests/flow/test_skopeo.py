"""skopeo reads what we build, and we build from what skopeo writes. The real tool, no network, no Docker."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from caissond.cli.app import run
from caissond.package.inputs import open_input, read_docker_archive
from fixtures.images import ImageRecipe, busybox_image
from fixtures.shapes import Shape

REFERENCE = "example/frontend:1.4.0"


def skopeo(*arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """No policy file is there to be asked on a bare machine."""
    command = ["skopeo", "--insecure-policy", *map(str, arguments)]
    return subprocess.run(command, check=check, capture_output=True, text=True, timeout=60)


def inspected(archive: str) -> Any:
    return json.loads(skopeo("inspect", archive).stdout)


def save(folder: Path, *, shape: Shape = Shape.DOCKER20, version: str = "1.4.0", **fields: Any) -> Path:
    recipe = ImageRecipe(
        reference=f"example/frontend:{version}", version=version, shape=shape, repeat_layer=True, **fields
    )
    return busybox_image(folder / f"{version}-{shape}.tar", recipe).path


def build(output: Path, *arguments: str, capture: pytest.CaptureFixture[str]) -> Any:
    """Build, and hand back the manifest."""
    fixed = ["--version", "1.4.0", "--service-revision", "r1", "--output", str(output), "--json"]
    code = run(["--root", str(output.parent), "package", "build", *fixed, *arguments])
    answer = capture.readouterr()
    assert (code, answer.err) == (0, "")
    return json.loads(answer.out)["manifest"]


@pytest.mark.parametrize("shape", Shape)
def test_skopeo_inspects_what_we_build(
    tmp_path: Path, shape: Shape, capsys: pytest.CaptureFixture[str]
) -> None:
    image = save(tmp_path, shape=shape, labels={"maker": "us"})
    manifest = build(tmp_path / "x.edgepkg", "--image", f"web=docker-archive:{image}", capture=capsys)
    for name in ("", f":{REFERENCE}"):
        found = inspected(f"oci-archive:{tmp_path / 'x.edgepkg'}{name}")
        assert found["Digest"] == manifest["targets"][0]["manifest_digest"]
        assert (found["Os"], found["Labels"], len(found["Layers"])) == ("linux", {"maker": "us"}, 3)


def test_skopeo_finds_each_image_of_a_bundle_by_its_reference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [save(tmp_path, version=version) for version in ("1.4.0", "2.0.0")]
    manifest = build(
        tmp_path / "x.edgepkg", "--image", f"web=docker-archive:{images[0]}",
        "--image", f"api=docker-archive:{images[1]}", capture=capsys,
    )  # fmt: skip
    for target in manifest["targets"]:
        found = inspected(f"oci-archive:{tmp_path / 'x.edgepkg'}:{target['reference']}")
        assert found["Digest"] == target["manifest_digest"]
    refused = skopeo("inspect", f"oci-archive:{tmp_path / 'x.edgepkg'}", check=False)
    assert "more than one image" in refused.stderr


def test_image_is_the_same_after_a_round_trip_through_skopeo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By way of a folder: skopeo before 1.14 cannot write zstd layers into a docker-archive at once."""
    image = save(tmp_path)
    build(tmp_path / "x.edgepkg", "--image", f"web=docker-archive:{image}", capture=capsys)
    skopeo("copy", "--dest-decompress", f"oci-archive:{tmp_path / 'x.edgepkg'}", f"dir:{tmp_path / 'dir'}")
    skopeo("copy", f"dir:{tmp_path / 'dir'}", f"docker-archive:{tmp_path / 'back.tar'}:{REFERENCE}")
    with open_input(image) as before, open_input(tmp_path / "back.tar") as after:
        one, other = read_docker_archive(before), read_docker_archive(after)
    assert one.reference == other.reference == REFERENCE
    assert one.image.config == other.image.config
    assert [layer.diff_id for layer in one.image.layers] == [layer.diff_id for layer in other.image.layers]


@pytest.mark.parametrize("transport", ["oci", "oci-archive", "docker-archive"])
def test_what_skopeo_writes_can_be_built_from(
    tmp_path: Path, transport: str, capsys: pytest.CaptureFixture[str]
) -> None:
    written = f"{transport}:{tmp_path / 'written'}:{REFERENCE}"
    skopeo("copy", f"docker-archive:{save(tmp_path)}", written)
    manifest = build(tmp_path / "x.edgepkg", "--image", f"web={written}", capture=capsys)
    found = inspected(f"oci-archive:{tmp_path / 'x.edgepkg'}")
    config = json.loads(skopeo("inspect", "--raw", "--config", written).stdout)
    assert manifest["targets"][0]["reference"] == REFERENCE
    assert (found["Created"], found["Architecture"]) == (config["created"], config["architecture"])
    assert (
        run(["--root", str(tmp_path), "package", "verify", "--allow-unsigned", str(tmp_path / "x.edgepkg")])
        == 0
    )


def test_all_roads_from_skopeo_lead_to_the_same_bytes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """gzip in a folder, gzip in a tar, zstd: it is the image that is packed, not what it came in."""
    skopeo("copy", f"docker-archive:{save(tmp_path)}", f"oci:{tmp_path / 'gzip'}:{REFERENCE}")
    source = f"oci:{tmp_path / 'gzip'}:{REFERENCE}"
    skopeo("copy", source, f"oci-archive:{tmp_path / 'tar'}:{REFERENCE}")
    skopeo(
        "copy",
        "--dest-compress",
        "--dest-compress-format",
        "zstd",
        source,
        f"oci:{tmp_path / 'zstd'}:{REFERENCE}",
    )
    contents = set()
    for number, road in enumerate(("oci:gzip", "oci-archive:tar", "oci:zstd")):
        transport, name = road.split(":")
        output = tmp_path / f"{number}.edgepkg"
        build(output, "--image", f"web={transport}:{tmp_path / name}:{REFERENCE}", capture=capsys)
        contents.add(output.read_bytes())
    assert len(contents) == 1
