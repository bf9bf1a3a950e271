"""The release engineer's commands: build, convert and keygen, without Docker."""

import hashlib
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fixtures.raw_package import archive, config, entry, image, package
from tests.unit.cli.command import Command
from tests.unit.cli.release import build, built
from tests.unit.package.builds import members

# build


@pytest.mark.parametrize("command", ["build", "sign", "convert", "keygen", "inspect", "verify"])
def test_help_speaks_of_options_and_not_of_python(caisson: Command, command: str) -> None:
    answer = caisson("package", command, "--help")
    assert (answer.code, answer.err, "<class" in answer.out) == (0, "", False)
    assert f"Usage: caisson package {command}" in answer.out


def test_build_says_what_it_built(caisson: Command, folder: Path) -> None:
    answer = build(caisson, folder, "--sign-key", folder / "first")
    size = (folder / "x.edgepkg").stat().st_size
    fingerprint = caisson.as_process("package", "inspect", folder / "x.edgepkg", "--json").json["signatures"][
        0
    ]["fingerprint"]
    assert answer.lines[0] == f"Built {folder / 'x.edgepkg'}: {size / 1000:.1f} kB"
    assert answer.lines[1] == "Version: 1.2.3, made 2026-01-02T03:04:05Z"
    assert answer.lines[2].startswith("Target: frontend revision r1 on linux/amd64: example/frontend:1.2.3 (")
    assert answer.lines[3:] == ["Layers: 1", f"Signed by: {fingerprint}"]


def test_bundle_has_a_target_for_each_service_and_platform(caisson: Command, folder: Path) -> None:
    answer = build(
        caisson, folder, "--image", f"backend=oci:{folder / 'layout'}", "--service-revision", "backend=r9",
        "--optional", "backend", "--reference", "backend=example/other:3", "--device-type", "gw-1",
        "--created-at", "2026-05-06T07:08:09Z", "--allow-downgrade", "--min-updater-version", "1.0.0", "--json",
    )  # fmt: skip
    manifest = answer.json["manifest"]
    shown = [
        (one["service"], one["service_revision"], one["platform"], one["reference"], one["optional"])
        for one in manifest["targets"]
    ]
    assert shown == [
        ("frontend", "r1", "linux/amd64", "example/frontend:1.2.3", False),
        ("backend", "r9", "linux/amd64", "example/other:3", True),
        ("backend", "r9", "linux/arm64", "example/other:3", True),
    ]
    assert (manifest["device_types"], manifest["created_at"]) == (["gw-1"], "2026-05-06T07:08:09Z")
    assert (manifest["allow_downgrade"], manifest["min_updater_version"]) == (True, "1.0.0")
    assert (answer.json["layers"], answer.json["layer_uses"]) == (1, 3)


def test_platform_picks_from_a_layout(caisson: Command, folder: Path) -> None:
    answer = caisson(
        "package", "build", "--image", f"backend=oci:{folder / 'layout'}:example/backend:2.0.0", "--version", "2.0.0",
        "--service-revision", "r1", "--platform", "linux/arm64", "-o", folder / "x.edgepkg", "--json",
    )  # fmt: skip
    assert [one["platform"] for one in answer.json["manifest"]["targets"]] == ["linux/arm64"]


def test_source_date_epoch_goes_before_the_images_and_behind_the_option(
    caisson: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert "made 2023-11-14T22:13:20Z" in build(caisson, folder).out
    assert "made 2020-01-01T00:00:00Z" in build(caisson, folder, "--created-at", "2020-01-01T00:00:00Z").out
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "tomorrow")
    assert "[manifest.invalid_created_at, " in build(caisson, folder).err


def test_same_command_makes_the_same_package_anywhere(caisson: Command, folder: Path) -> None:
    first = built(caisson, folder, "--sign-key", folder / "first").read_bytes()
    os.utime(folder / "image.tar", (0, 0))
    (folder / "elsewhere").mkdir()
    program = [
        "taskset",
        "--cpu-list",
        "0",
        sys.executable,
        "-c",
        "from caissond.cli.entry import main; main()",
    ]
    arguments = [
        "package", "build", "--image", "frontend=docker-archive:../image.tar", "--version", "1.2.3",
        "--service-revision", "r1", "--output", "y.edgepkg", "--sign-key", "../first",
    ]  # fmt: skip
    subprocess.run(
        [*program, *arguments], cwd=folder / "elsewhere", check=True, timeout=60, capture_output=True
    )
    assert (folder / "elsewhere/y.edgepkg").read_bytes() == first


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--image", "frontend"], 64, "expected SERVICE=VALUE"),
        (["--image", "a=oci:"], 64, "expected a path"),
        (["--reference", "frontend"], 64, "expected SERVICE=VALUE"),
        (["--service-revision", "backend=r1"], 1, "[build.unknown_service, E-973]"),
        (["--optional", "backend"], 1, "[build.unknown_service, E-973]"),
        (["--platform", "linux/riscv64"], 1, "[build.no_platform, E-967]"),
        (["--platform", "linux/amd64", "--platform", "linux/arm"], 1, "[build.no_platform, E-967]"),
        (["--image", "a=oci:LAYOUT", "--platform", "linux/arm64"], 1, "[build.no_platform, E-967]"),
        (["--image", "a=oci:LAYOUT", "--platform", "linux/arm"], 1, "[build.no_platform, E-967]"),
        (["--image", "frontend=docker-archive:IMAGE"], 1, "[manifest.duplicate_target, "),
        (["--image", "a=docker-archive:/no/such"], 1, "[build.cannot_read, E-961]"),
        (["--zstd-level", "20"], 64, "--zstd-level"),
        (["--created-at", "today"], 1, "[manifest.invalid_created_at, "),
        (["--sign-key", "/no/such"], 1, "[sign.key_unreadable, "),
        (["--output", "x.tar"], 1, "[package.invalid_extension, "),
    ],
)
def test_what_cannot_be_built_is_said_and_leaves_nothing(
    caisson: Command, folder: Path, arguments: list[str], code: int, said: str
) -> None:
    before = sorted(folder.iterdir())
    words = [
        word.replace("LAYOUT", f"{folder}/layout").replace("IMAGE", f"{folder}/image.tar")
        for word in arguments
    ]
    answer = build(caisson, folder, *words)
    assert (answer.code, answer.out) == (code, "")
    assert said in answer.err
    assert sorted(folder.iterdir()) == before


def test_image_of_an_engine_that_does_not_answer_is_an_error(caisson: Command, folder: Path) -> None:
    answer = caisson.as_process(
        "package",
        "build",
        "--image",
        "frontend=example/frontend:1",
        "--version",
        "1.2.3",
        "-o",
        folder / "x.edgepkg",
    )
    assert (answer.code, "[docker.unavailable, E-501]" in answer.err) == (1, True)


@pytest.mark.parametrize(
    ("content", "more", "said"),
    [
        (image(), (), "[build.no_created_at, E-966]"),
        (image(manifest=b'[{"Config":"c","RepoTags":null,"Layers":["layer.tar"]}]', named="c"),
         ("--created-at", "2026-01-01T00:00:00Z"), "[build.no_reference, E-965]"),
    ],
)  # fmt: skip
def test_what_the_image_does_not_say_has_to_be_given(
    caisson: Command, folder: Path, content: bytes, more: tuple[str, ...], said: str
) -> None:
    (folder / "image.tar").write_bytes(content)
    answer = build(caisson, folder, *more)
    assert (answer.code, said in answer.err) == (1, True)


def test_revision_has_to_be_given(caisson: Command, folder: Path) -> None:
    answer = caisson(
        "package", "build", "--image", f"frontend=docker-archive:{folder / 'image.tar'}", "--version", "1.2.3",
        "-o", folder / "x.edgepkg",
    )  # fmt: skip
    assert (answer.code, "[build.no_revision, E-968]" in answer.err) == (1, True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_build_leaves_nothing(folder: Path, number: int) -> None:
    noise = os.urandom(64 << 20)
    (folder / "image.tar").write_bytes(archive(*layered(noise)))
    before = sorted(folder.iterdir())
    arguments = [
        "package", "build", "--image", f"frontend=docker-archive:{folder / 'image.tar'}", "--version", "1.2.3",
        "--service-revision", "r1", "--zstd-level", "19", "--output", str(folder / "x.edgepkg"),
    ]  # fmt: skip
    program = [sys.executable, "-c", "from caissond.cli.entry import main; main()", *arguments]
    with subprocess.Popen(program, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        wait_until_packing(folder)
        process.send_signal(number)
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out, err) == (3, b"", b"Cancelled.\n")
    assert sorted(folder.iterdir()) == before


def test_full_disk_is_said_and_leaves_nothing(caisson: Command, folder: Path) -> None:
    """A limit on the size of files stands for it: EFBIG is as good as ENOSPC."""
    (folder / "image.tar").write_bytes(archive(*layered(os.urandom(1 << 20))))
    before = sorted(folder.iterdir())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512 << 10, limits[1]))
    try:
        answer = build(caisson, folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (answer.code, "[host.disk_full, E-510]" in answer.err) == (1, True)
    assert sorted(folder.iterdir()) == before


def layered(layer: bytes) -> list[bytes]:
    content = config(hashlib.sha256(layer).hexdigest(), created="2026-01-02T03:04:05Z")
    manifest = b'[{"Config":"c.json","RepoTags":["a:1"],"Layers":["layer.tar"]}]'
    return [entry("layer.tar", layer), entry("c.json", content), entry("manifest.json", manifest)]


def wait_until_packing(folder: Path) -> None:
    deadline = time.monotonic() + 120
    while not list(folder.glob(".x-*.tmp/0.layer")):
        assert time.monotonic() < deadline
        time.sleep(0.01)


# convert


def test_convert_keeps_the_release_and_every_field(caisson: Command, folder: Path) -> None:
    text = members(caisson.package())["manifest.toml"] + b'[compatibility]\nmin_updater_version = "0.1.0"\n'
    old = caisson.package(package(manifest=text), "old.edgepkg")
    answer = caisson("package", "convert", old, folder / "new.edgepkg", "--sign-key", folder / "first")
    assert (answer.code, answer.err) == (0, "")
    before, after = (
        caisson.as_process("package", "inspect", path, "--json").json
        for path in (old, folder / "new.edgepkg")
    )
    kept = ("version", "created_at", "min_updater_version", "device_types", "allow_downgrade")
    assert [before[key] for key in kept] == [after[key] for key in kept]
    kept = ("service", "service_revision", "platform", "reference", "config_digest")
    assert [before["targets"][0][key] for key in kept] == [after["targets"][0][key] for key in kept]
    assert (before["format_version"], after["format_version"]) == (1, 2)
    assert caisson("package", "verify", folder / "new.edgepkg").code == 0


def test_format_2_is_not_converted(caisson: Command, folder: Path) -> None:
    answer = caisson("package", "convert", built(caisson, folder), folder / "new.edgepkg")
    assert (answer.code, "[build.format_2, E-971]" in answer.err) == (2, True)
    assert not (folder / "new.edgepkg").exists()


# keygen


def test_keygen_points_to_ssh_keygen_where_it_is(
    caisson: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "bin").mkdir()
    (folder / "bin/ssh-keygen").write_text("#!/bin/sh\n")
    (folder / "bin/ssh-keygen").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder / "bin"))
    answer = caisson("package", "keygen", folder / "key")
    assert answer.code == 64
    assert f"ssh-keygen -t ed25519 -f {folder / 'key'} [build.use_ssh_keygen, E-975]" in answer.err
    assert not (folder / "key").exists()


def test_keygen_makes_a_key_that_signs_and_says_how_to_trust_it(
    caisson: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    answer = caisson("package", "keygen", folder / "key", "--no-passphrase")
    assert answer.code == 0
    (caisson.root / "etc/caisson/allowed_signers").write_text(answer.lines[-1] + "\n")
    path = built(caisson, folder, "--sign-key", folder / "key")
    assert "Good signature by release@example.com" in caisson("package", "verify", path).out
