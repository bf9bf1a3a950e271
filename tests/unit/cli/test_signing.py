"""Signatures added to a package that is there."""

import os
import shutil
import subprocess
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path

import pytest

from caissond.package.signing import generate_key, load_signer
from tests.unit.cli.command import Command
from tests.unit.cli.release import built, sign
from tests.unit.package.builds import members


def test_sign_adds_signatures_and_leaves_the_rest(caisson: Command, folder: Path) -> None:
    path = built(caisson, folder)
    before = members(path)
    assert sign(caisson, path, "first").lines[0] == "Added 1 signature."
    assert sign(caisson, path, "second").lines[0] == "Added 1 signature."
    after = members(path)
    assert after.pop("manifest.toml.sig").count(b"BEGIN SSH SIGNATURE") == 2
    assert after == before
    assert caisson("package", "verify", path).code == 0


def test_signing_twice_with_a_key_does_nothing(caisson: Command, folder: Path) -> None:
    path = built(caisson, folder, "--sign-key", folder / "first", "--sign-key", folder / "first")
    before = path.stat()
    assert members(path)["manifest.toml.sig"].count(b"BEGIN SSH SIGNATURE") == 1
    answer = sign(caisson, path, "first")
    assert (answer.code, answer.lines[0]) == (0, "It is signed so already.")
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_signed_later_is_the_same_file_as_signed_at_once(caisson: Command, folder: Path) -> None:
    at_once = built(caisson, folder, "--sign-key", folder / "first", "--sign-key", folder / "second")
    later = built(caisson, folder, name="later.edgepkg")
    sign(caisson, later, "first")
    sign(caisson, later, "second")
    assert later.read_bytes() == at_once.read_bytes()


def test_format_1_is_not_signed(caisson: Command, folder: Path) -> None:
    answer = sign(caisson, caisson.package(), str(folder / "first"))
    assert answer.code == 2
    assert "[build.format_1, E-969]" in answer.err
    assert "caisson package convert" in answer.err


def test_package_with_a_bad_signature_is_not_signed_over(caisson: Command, folder: Path) -> None:
    path = built(caisson, folder, "--sign-key", folder / "first")
    path.write_bytes(path.read_bytes().replace(b'"1.2.3"', b'"1.2.4"'))
    before = path.read_bytes()
    answer = sign(caisson, path, "a key that nobody asks for")
    assert (answer.code, "[trust.bad_signature, E-404]" in answer.err) == (2, True)
    assert path.read_bytes() == before


def test_signature_of_something_else_is_not_added(caisson: Command, folder: Path) -> None:
    other = built(caisson, folder, "--sign-key", folder / "first", "--allow-downgrade", name="other.edgepkg")
    (folder / "sig").write_bytes(members(other)["manifest.toml.sig"])
    path = built(caisson, folder)
    answer = caisson("package", "sign", path, "--signature", folder / "sig")
    assert (answer.code, "[trust.bad_signature, E-404]" in answer.err) == (2, True)
    assert "manifest.toml.sig" not in members(path)


def test_sign_wants_a_key(caisson: Command, folder: Path) -> None:
    assert caisson("package", "sign", built(caisson, folder)).code == 64


def test_signature_that_is_not_there_is_an_error(caisson: Command, folder: Path) -> None:
    answer = caisson("package", "sign", built(caisson, folder), "--signature", folder / "none")
    assert (answer.code, "[build.cannot_read, E-961]" in answer.err) == (1, True)


def typing(arguments: list[str | Path], answers: list[tuple[bytes, bytes]]) -> int:
    """Run the command on a terminal of its own; each answer is typed once its question is there."""
    ours, theirs = os.openpty()
    program = [
        "setsid",
        "--ctty",
        "--wait",
        sys.executable,
        "-c",
        "from caissond.cli.entry import main; main()",
    ]
    with subprocess.Popen([*program, *arguments], stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        for question, answer in answers:
            shown = b""
            while question not in shown:
                shown += os.read(ours, 1024)
            while termios.tcgetattr(ours)[3] & termios.ECHO:  # what is typed before that is thrown away
                time.sleep(0.01)
            os.write(ours, answer + b"\n")
        with suppress(OSError):  # the terminal is gone when the command has ended
            while os.read(ours, 1024):
                pass
    os.close(ours)
    return process.returncode


def test_passphrase_is_asked_for_on_the_terminal(caisson: Command, folder: Path) -> None:
    path = built(caisson, folder)
    generate_key(folder / "locked", passphrase="secret")
    command: list[str | Path] = ["package", "sign", path, "--sign-key", folder / "locked"]
    assert typing(command, [(b"Passphrase of", b"wrong")]) == 1
    assert typing(command, [(b"Passphrase of", b"secret")]) == 0
    assert "manifest.toml.sig" in members(path)


def test_keygen_asks_for_a_passphrase_twice(
    caisson: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "bin").mkdir()
    (folder / "bin/setsid").symlink_to(str(shutil.which("setsid")))
    monkeypatch.setenv("PATH", str(folder / "bin"))
    answers = [(b"Passphrase:", b"secret"), (b"confirmation:", b"secret")]
    assert typing(["package", "keygen", folder / "new"], answers) == 0
    assert load_signer(folder / "new", lambda: "secret").key.fingerprint
    assert caisson("package", "keygen", folder / "new", "--no-passphrase").code == 1
