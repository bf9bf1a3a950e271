"""ssh-keygen verifies what we sign, and we take what ssh-keygen signs. The real tool."""

import subprocess
from pathlib import Path

import pytest

from caissond.cli.app import run
from fixtures.raw_package import config, image
from tests.unit.package.builds import members

PRINCIPAL = "release@example.com"


def ssh_keygen(*arguments: str | Path, content: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = ["ssh-keygen", *map(str, arguments)]
    return subprocess.run(command, input=content, capture_output=True, timeout=300)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a package that nobody has signed yet."""
    (tmp_path / "image.tar").write_bytes(image(config=config(created="2026-01-02T03:04:05Z")))
    source = f"web=docker-archive:{tmp_path / 'image.tar'}"
    words = ["--image", source, "--version", "1.2.3", "--service-revision", "r1", "--output"]
    code = run(["--root", str(tmp_path), "package", "build", *words, str(tmp_path / "x.edgepkg")])
    assert code == 0
    return tmp_path


def make_key(folder: Path, kind: str, *, passphrase: str = "") -> Path:
    """A key that `signers` trusts."""
    bits = ["-b", "3072"] if kind == "rsa" else []
    made = ssh_keygen("-q", "-t", kind, *bits, "-N", passphrase, "-f", folder / "key")
    assert made.returncode == 0
    public = (folder / "key.pub").read_text()
    (folder / "signers").write_text(f'{PRINCIPAL} namespaces="caisson-package" {public}')
    return folder / "key"


def package(folder: Path, command: str, *options: str | Path) -> int:
    """The exit code of a command on the folder's package."""
    return run(["--root", str(folder), "package", command, str(folder / "x.edgepkg"), *map(str, options)])


def verified(folder: Path) -> int:
    return package(folder, "verify", "--allowed-signers", folder / "signers")


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_ssh_keygen_verifies_what_we_sign(folder: Path, kind: str) -> None:
    key = make_key(folder, kind)
    assert package(folder, "sign", "--sign-key", key) == 0
    content = members(folder / "x.edgepkg")
    (folder / "sig").write_bytes(content["manifest.toml.sig"])
    answer = ssh_keygen(
        "-Y", "verify", "-f", folder / "signers", "-I", PRINCIPAL, "-n", "caisson-package", "-s", folder / "sig",
        content=content["manifest.toml"],
    )  # fmt: skip
    assert answer.stdout.startswith(b'Good "caisson-package" signature for release@example.com')
    assert verified(folder) == 0


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_we_take_what_ssh_keygen_signs(folder: Path, kind: str) -> None:
    key = make_key(folder, kind)
    manifest = folder / "manifest.toml"
    manifest.write_bytes(members(folder / "x.edgepkg")["manifest.toml"])
    assert ssh_keygen("-Y", "sign", "-f", key, "-n", "caisson-package", manifest).returncode == 0
    assert verified(folder) == 2
    assert package(folder, "sign", "--signature", f"{manifest}.sig") == 0
    assert verified(folder) == 0


def test_package_put_together_by_hand_is_taken(folder: Path) -> None:
    """With nothing but tar and ssh-keygen: the signature goes in behind the manifest."""
    key = make_key(folder, "ed25519")
    files = folder / "files"
    files.mkdir()
    subprocess.run(["tar", "-xf", folder / "x.edgepkg", "-C", files], check=True)
    assert (
        ssh_keygen("-Y", "sign", "-f", key, "-n", "caisson-package", files / "manifest.toml").returncode == 0
    )
    names = [*members(folder / "x.edgepkg")]
    names.insert(1, "manifest.toml.sig")
    options = ["--format=ustar", "--owner=0", "--group=0", "-b1"]
    subprocess.run(["tar", *options, "-cf", folder / "x.edgepkg", "-C", files, *names], check=True)
    assert verified(folder) == 0


def test_signing_for_another_purpose_does_not_count(folder: Path) -> None:
    key = make_key(folder, "ed25519")
    manifest = folder / "manifest.toml"
    manifest.write_bytes(members(folder / "x.edgepkg")["manifest.toml"])
    assert ssh_keygen("-Y", "sign", "-f", key, "-n", "file", manifest).returncode == 0
    assert package(folder, "sign", "--signature", f"{manifest}.sig") == 2


def test_key_in_the_agent_signs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = make_key(folder, "ed25519")
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(folder / "agent")], stdout=subprocess.PIPE)
    try:
        assert agent.stdout is not None
        agent.stdout.readline()
        monkeypatch.setenv("SSH_AUTH_SOCK", str(folder / "agent"))
        subprocess.run(["ssh-add", "-q", key], check=True, capture_output=True)
        key.unlink()
        assert package(folder, "sign", "--sign-key", f"{key}.pub") == 0
    finally:
        agent.terminate()
        agent.communicate()
    assert verified(folder) == 0
