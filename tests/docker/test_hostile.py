"""Hostile packages that are found out while they are loaded: refused with their code, and Docker is as it was."""

import gzip
import io
import json
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import docker.errors
import pytest

from caissond.cli.app import run
from fixtures.engine import Engine
from fixtures.hostile_layers import gzip_bomb, zstd_bomb, zstd_frame
from fixtures.images import FOREVER, host_architecture
from fixtures.layers import busybox_layer
from fixtures.packages import PLATFORM
from fixtures.raw_package import LAYER, archive, entry, image, package, sha256
from fixtures.raw_package import config as config_1
from fixtures.raw_package_2 import (
    APP_LAYER,
    GZIP,
    LAYOUT,
    MAKER,
    MANIFEST_TYPE,
    TAR,
    ZSTD,
    RawImage,
    RawLayer,
    config_2,
    descriptor,
    digest,
    image_2,
    index_entry,
    index_json,
    layer,
    manifest_2,
    members_2,
    packed,
    target_table,
    zstd_compress,
)
from tests.docker.rig import Rig, rig_on

VERSION = "2.0.0"


@dataclass(frozen=True, slots=True)
class Hostile:
    """A service that runs, and `caisson package load` on its device."""

    rig: Rig
    base: bytes
    """The layer with busybox that the service's image has too."""

    def load(self, content: bytes, *options: str) -> tuple[int, Any]:
        """The exit code of the command, and the verdict it tells."""
        path = self.rig.folder / f"{self.rig.name}.edgepkg"
        path.write_bytes(content)
        arguments = ["--root", str(self.rig.root), "package", "load", str(path), "--yes", "--json", *options]
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as out:
            patch.setenv("DOCKER_HOST", self.rig.host)
            exit_code = run(arguments)
        return exit_code, json.loads(out.getvalue())

    def image(self, *layers: RawLayer, diff_ids: list[str] | None = None) -> RawImage:
        """An image on top of busybox, runnable where its layers are what they say."""
        layers = (layer(self.base, ZSTD), *layers)
        changes: dict[str, Any] = {"config": {"Cmd": list(FOREVER)}}
        if diff_ids is not None:
            changes["rootfs"] = {"type": "layers", "diff_ids": [layers[0].diff_id, *diff_ids]}
        return image_2(*layers, platform=PLATFORM, config=config_2(layers, platform=PLATFORM, **changes))

    def package(self, image: RawImage, **said: object) -> dict[str, bytes]:
        """The members of a signed package with this image for the service."""
        reference = self.rig.reference(VERSION)
        target = target_table(
            image, service=f'"{self.rig.name}"', service_revision='"1"', reference=f'"{reference}"', **said
        )
        return members_2(image, manifest=manifest_2(target), index=index_json(index_entry(image, reference)))

    def package_1(self, image_tar: bytes) -> bytes:
        """A package of format 1 for the service."""
        text = f"""\
format_version = 1
package_type = "service"
package_version = "{VERSION}"
created_at = "2026-03-16T18:30:00Z"
[target]
service = "{self.rig.name}"
service_revision = "1"
platform = "{PLATFORM}"
[image]
reference = "{self.rig.reference(VERSION)}"
"""
        return package(manifest=text.encode(), image=image_tar)

    def everything(self) -> tuple[set[str], set[str]]:
        """`docker images -a --no-trunc` with all tags, and `docker ps -a` with IDs, names and states."""
        api = self.rig.client.api
        images = {f"{one['Id']} {sorted(one['RepoTags'] or ())}" for one in api.images(all=True)}
        return images, {f"{one['Id']} {one['Names']} {one['State']}" for one in api.containers(all=True)}


@pytest.fixture(scope="module")
def hostile(
    engine: Engine, docker_client: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hostile]:
    """The same service for all: none of these packages changes it."""
    with rig_on(tmp_path_factory.mktemp("hostile"), docker_client, engine.host) as rig:
        yield prepared(rig)


@pytest.fixture
def fresh(rig: Rig) -> Hostile:
    """A service that may be changed."""
    return prepared(rig)


def prepared(rig: Rig) -> Hostile:
    rig.write_settings("")
    rig.paths.allowed_signers.write_text(f"maker@example.org {MAKER.line}\n")
    rig.write_catalog(kind="running", stable_secs=0.3)
    rig.run_old()
    return Hostile(rig, busybox_layer(rig.folder / "busybox.tar").path.read_bytes())


TOP = layer(APP_LAYER)
MIDDLE = layer(LAYER)


def lying(stored: bytes, media_type: str = ZSTD, content: bytes = APP_LAYER) -> RawLayer:
    return layer(content, media_type, stored=stored)


TOP_LAYERS: dict[str, tuple[RawLayer, str]] = {
    "other_content": (lying(zstd_compress(APP_LAYER[:-1] + b"x")), "image.layer_mismatch"),
    "more_content": (lying(zstd_compress(APP_LAYER + bytes(1 << 20))), "image.layer_mismatch"),
    "zstd_cut_off": (lying(TOP.stored[:-3]), "image.layer_mismatch"),
    "zstd_with_garbage": (lying(TOP.stored + b"garbage"), "image.layer_mismatch"),
    "zstd_bomb": (lying(zstd_bomb(4096)), "image.too_large"),
    "zstd_window_of_2_gib": (lying(zstd_frame(APP_LAYER, window_log=31)), "image.layer_mismatch"),
    "zstd_said_plain": (lying(TOP.stored, TAR), "image.layer_mismatch"),
    "gzip_bomb": (lying(gzip_bomb(64), GZIP), "image.too_large"),
    "gzip_cut_off": (lying(layer(APP_LAYER, GZIP).stored[:-5], GZIP), "image.layer_mismatch"),
}


@pytest.fixture
def nothing_changes(hostile: Hostile) -> Iterator[None]:
    """Fails the test when Docker is not as it was before."""
    before = hostile.everything()
    yield
    assert hostile.everything() == before
    assert hostile.rig.release() == "1.0.0"
    assert list(hostile.rig.paths.work.rglob("*")) == []


@pytest.mark.usefixtures("nothing_changes")
@pytest.mark.parametrize("fault", TOP_LAYERS)
def test_fault_in_the_last_layer_is_found_and_the_layers_below_are_taken_back(
    hostile: Hostile, fault: str
) -> None:
    top, code = TOP_LAYERS[fault]
    content = packed(hostile.package(hostile.image(MIDDLE, top)))
    exit_code, verdict = hostile.load(content)
    assert (exit_code, verdict["outcome"], verdict["code"]) == (2, "refused", code)


@pytest.mark.usefixtures("nothing_changes")
@pytest.mark.parametrize("number", [1, 2])
def test_layer_that_was_changed_after_signing_is_refused(hostile: Hostile, number: int) -> None:
    members = hostile.package(hostile.image(MIDDLE, TOP))
    name = list(members)[-number]
    changed = {**members, name: members[name][:-4] + b"evil"}
    exit_code, verdict = hostile.load(packed(changed))
    assert (exit_code, verdict["code"]) == (2, "image.layer_mismatch")


@pytest.mark.usefixtures("nothing_changes")
def test_diff_id_of_a_later_layer_that_is_not_its_own_is_refused(hostile: Hostile) -> None:
    crossed = hostile.image(MIDDLE, TOP, diff_ids=[MIDDLE.diff_id, digest(b"other")])
    exit_code, verdict = hostile.load(packed(hostile.package(crossed)))
    assert (exit_code, verdict["code"]) == (2, "image.layer_mismatch")


@pytest.mark.usefixtures("nothing_changes")
def test_layers_in_another_order_than_their_diff_ids_are_refused(hostile: Hostile) -> None:
    crossed = hostile.image(MIDDLE, TOP, diff_ids=[TOP.diff_id, MIDDLE.diff_id])
    exit_code, verdict = hostile.load(packed(hostile.package(crossed)))
    assert (exit_code, verdict["code"]) == (2, "image.layer_mismatch")


@pytest.mark.usefixtures("nothing_changes")
def test_layer_that_is_no_tar_is_refused_by_docker_and_taken_back(hostile: Hostile) -> None:
    content = packed(hostile.package(hostile.image(MIDDLE, layer(b"this is no tar" * 1000))))
    exit_code, verdict = hostile.load(content)
    assert (exit_code != 0, verdict["code"]) == (True, "docker.load_failed")


@pytest.mark.parametrize("trick", ["traversal", "through_a_link"])
def test_layer_that_wants_out_of_the_image_does_not_get_out(
    fresh: Hostile, trick: str, tmp_path: Path
) -> None:
    """What a layer holds is Docker's to judge; whatever it says, nothing lies outside afterwards."""
    (outside := tmp_path / "outside").mkdir()
    entries = {
        "traversal": [entry("../" * 5 + f"{outside}/evil".lstrip("/"), b"evil")],
        "through_a_link": [entry("out", type=b"2", link=str(outside).encode()), entry("out/evil", b"evil")],
    }[trick]
    fresh.load(packed(fresh.package(fresh.image(layer(archive(*entries))))))
    assert list(outside.iterdir()) == []


FORMAT_1: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "other_content": (lambda base: base + bytes(512), "image.layer_mismatch"),
    "gzip_bomb": (lambda _base: gzip_bomb(64), "image.layer_mismatch"),
    "gzip_with_garbage": (lambda base: gzip.compress(base) + b"garbage", "image.layer_mismatch"),
}


def plain_config(base: bytes) -> bytes:
    return config_1(sha256(base), architecture=host_architecture(), config={"Cmd": list(FOREVER)})


@pytest.mark.usefixtures("nothing_changes")
@pytest.mark.parametrize("fault", FORMAT_1)
def test_fault_in_a_layer_of_format_1_is_found(hostile: Hostile, fault: str) -> None:
    spoil, code = FORMAT_1[fault]
    base = archive(entry("unheard/of", b"x"))  # a layer that Docker has is not read
    content = image(layer=spoil(base), config=plain_config(base))
    exit_code, verdict = hostile.load(hostile.package_1(content), "--allow-unsigned")
    assert (exit_code, verdict["outcome"], verdict["code"]) == (2, "refused", code)


@pytest.mark.usefixtures("nothing_changes")
@pytest.mark.parametrize("options", [(), ("--allow-unsigned",)])
def test_manifest_that_was_changed_after_signing_is_refused_whatever_is_allowed(
    hostile: Hostile, options: tuple[str, ...]
) -> None:
    members = hostile.package(hostile.image(TOP))
    changed = {**members, "manifest.toml": members["manifest.toml"] + b"# changed\n"}
    exit_code, verdict = hostile.load(packed(changed), *options)
    assert (exit_code, verdict["code"]) == (2, "trust.bad_signature")


VICTIM = "victim/other:1.0.0"


@pytest.fixture
def victim(docker_client: docker.DockerClient) -> Iterator[str]:
    """Another image with a tag of its own, and its ID."""
    base = archive(entry("victim", b"x"))
    (victim,) = docker_client.images.load(image(layer=base, config=plain_config(base)))
    victim.tag(VICTIM)
    yield str(victim.id)
    for tag in (VICTIM, "example/frontend:1.2.3"):
        with suppress(docker.errors.ImageNotFound):
            docker_client.images.remove(tag)


def hijacks(base: bytes) -> dict[str, bytes]:
    """Each an image.tar that would move the victim's tag where it is given to Docker as it is."""
    config = plain_config(base)
    named = f"{sha256(config)}.json"
    one: dict[str, object] = {"Config": named, "Layers": ["layer.tar"], "RepoTags": [VICTIM]}
    index = index_json(
        {**descriptor(MANIFEST_TYPE, b"{}"), "annotations": {"io.containerd.image.name": VICTIM}}
    )
    top = sha256(base)
    return {
        "its_only_tag": image(layer=base, config=config, manifest=json.dumps([one]).encode()),
        "one_tag_more": image(
            layer=base, config=config, manifest=json.dumps([{**one, "RepoTags": ["a/b:1", VICTIM]}]).encode()
        ),
        "repositories_file": image(
            entry("repositories", json.dumps({"victim/other": {"1.0.0": top}}).encode()), layer=base, config=config
        ),
        "oci_layout_beside": image(
            entry("oci-layout", LAYOUT), entry("index.json", index), layer=base, config=config
        ),
    }  # fmt: skip


@pytest.mark.parametrize("trick", hijacks(b""))
def test_tags_inside_of_an_image_move_nobodys_tag(fresh: Hostile, victim: str, trick: str) -> None:
    """These are taken: what they say of tags is read by nobody, and never given to Docker."""
    rig = fresh.rig
    content = fresh.package_1(hijacks(fresh.base)[trick])
    tags = {tag for image in rig.client.api.images() for tag in image["RepoTags"] or ()}
    exit_code, verdict = fresh.load(content, "--allow-unsigned")
    assert (exit_code, verdict["outcome"]) in [(0, "succeeded"), (0, "nothing_to_do")]
    assert rig.client.images.get(VICTIM).id == victim
    new = {tag for image in rig.client.api.images() for tag in image["RepoTags"] or ()} - tags
    assert {tag for tag in new if not tag.startswith("caisson.invalid/")} <= {rig.reference(VERSION)}


HIJACKS_REFUSED = {
    "folded_key": (b'[{"Config":"%s","Layers":["layer.tar"],"repotags":["%t"]}]', "image.invalid_manifest"),
    "twin_key": (
        b'[{"Config":"%s","Layers":["layer.tar"],"RepoTags":null,"RepoTags":["%t"]}]', "image.invalid_manifest",
    ),
    "second_entry": (
        b'[{"Config":"%s","Layers":["layer.tar"]},{"Config":"%s","Layers":["layer.tar"],"RepoTags":["%t"]}]',
        "image.not_single",
    ),
}  # fmt: skip


@pytest.mark.usefixtures("victim", "nothing_changes")
@pytest.mark.parametrize("trick", HIJACKS_REFUSED)
def test_image_that_names_a_tag_in_disguise_is_refused(hostile: Hostile, trick: str) -> None:
    text, code = HIJACKS_REFUSED[trick]
    config = plain_config(hostile.base)
    manifest = text.replace(b"%s", f"{sha256(config)}.json".encode()).replace(b"%t", VICTIM.encode())
    content = hostile.package_1(image(layer=hostile.base, config=config, manifest=manifest))
    exit_code, verdict = hostile.load(content, "--allow-unsigned")
    assert (exit_code, verdict["code"]) == (2, code)
