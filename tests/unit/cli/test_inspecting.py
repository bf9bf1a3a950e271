"""Looking at packages: `inspect` and `verify`, without Docker."""

from pathlib import Path

import pytest

from caissond.package.compression import Compression, unpack
from fixtures.raw_package import LAYER
from tests.unit.cli.command import Command
from tests.unit.cli.release import built
from tests.unit.package.builds import members


def test_inspect_shows_layers_and_signers_and_says_that_docker_is_away(
    caisson: Command, folder: Path
) -> None:
    path = built(caisson, folder, "--sign-key", folder / "first")
    answer = caisson.as_process("package", "inspect", path)
    assert (answer.code, answer.err) == (0, "")
    assert any(line.startswith("  Layer: sha256:") and line.endswith("bytes, zstd") for line in answer.lines)
    assert any(line.startswith("Signed by: first@example.com (ssh-ed25519 SHA256:") for line in answer.lines)
    assert answer.lines[-1].startswith("Docker does not answer here")


def test_inspect_changes_nothing(caisson: Command, folder: Path) -> None:
    path = built(caisson, folder)
    before = {one: one.stat().st_mtime_ns for one in folder.rglob("*")}
    caisson.as_process("package", "inspect", path)
    caisson("package", "verify", path, "--allow-unsigned")
    assert {one: one.stat().st_mtime_ns for one in folder.rglob("*")} == before


def test_inspect_reads_format_1(caisson: Command) -> None:
    answer = caisson.as_process("package", "inspect", caisson.package())
    assert (answer.code, "Signed by: nobody" in answer.lines) == (0, True)
    assert any(line.startswith("  Layer: ") and line.endswith("plain") for line in answer.lines)


def test_inspect_shows_what_is_wrong_with_signers(caisson: Command, folder: Path) -> None:
    path = built(caisson, folder, "--sign-key", folder / "first")
    (caisson.root / "etc/caisson/allowed_signers").write_text("nonsense\n")
    answer = caisson.as_process("package", "inspect", path)
    assert (answer.code, "[trust.invalid_signers, E-420]" in answer.err) == (0, True)
    assert any("Signed by: unknown" in line and "nobody here knows the key" in line for line in answer.lines)


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_no_package_is_refused(caisson: Command, command: str) -> None:
    answer = caisson("package", command, caisson.package(b"nonsense" * 1000))
    assert (answer.code, "[archive.read_failed, E-101]" in answer.err) == (2, True)


def test_every_changed_byte_of_a_layer_is_found(caisson: Command, folder: Path) -> None:
    path = built(caisson, folder, "--sign-key", folder / "first")
    layer = list(members(path).values())[-1]
    content = path.read_bytes()
    begin = content.index(layer)
    for position in range(begin, begin + len(layer), 7):
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        answer = caisson("package", "verify", path, "--json")
        assert (answer.code, answer.json["verified"]) == (2, False)
        assert "[image.layer_mismatch, E-313]" in answer.err


def test_verify_takes_a_list_of_signers(caisson: Command, folder: Path) -> None:
    path = built(caisson, folder, "--sign-key", folder / "second")
    lines = (caisson.root / "etc/caisson/allowed_signers").read_text().splitlines()
    for number, code in ((0, 2), (1, 0)):
        (folder / "signers").write_text(lines[number])
        assert caisson("package", "verify", path, "--allowed-signers", folder / "signers").code == code
    answer = caisson("package", "verify", path, "--allowed-signers", folder / "none")
    assert (answer.code, "[build.cannot_read, E-961]" in answer.err) == (1, True)


def test_verify_shows_signatures_that_do_not_count_and_obeys_revoked_keys(
    caisson: Command, folder: Path
) -> None:
    path = built(caisson, folder, "--sign-key", folder / "first", "--sign-key", folder / "second")
    signers = (caisson.root / "etc/caisson/allowed_signers").read_text().splitlines()
    (folder / "signers").write_text(signers[0])
    listed = ("--allowed-signers", folder / "signers")
    answer = caisson("package", "verify", path, *listed)
    assert (answer.code, [line.partition(":")[0] for line in answer.lines[-1:]]) == (0, ["Does not count"])
    answer = caisson("package", "verify", path, *listed, "--revoked-keys", folder / "second.pub")
    assert (answer.code, "[trust.revoked, E-408]" in answer.err) == (2, True)


def test_unsigned_package_is_verified_only_when_that_is_asked_for(caisson: Command, folder: Path) -> None:
    path = built(caisson, folder)
    answer = caisson("package", "verify", path)
    assert (answer.code, "[trust.unsigned, E-401]" in answer.err) == (2, True)
    answer = caisson("package", "verify", path, "--allow-unsigned")
    assert (answer.code, answer.lines[-1]) == (0, "Nobody known to this device has signed it.")


def test_layer_is_the_one_that_went_in(caisson: Command, folder: Path) -> None:
    """From end to end: what a device unpacks is what the image held."""
    layer = list(members(built(caisson, folder)).values())[-1]
    assert b"".join(unpack([layer], Compression.ZSTD)) == LAYER
