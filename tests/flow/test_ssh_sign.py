"""What we sign with real keys and a real ssh-agent is what ssh-keygen signs, and good for it."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from caissond.errors import CaissonError
from caissond.package.signing import generate_key, load_signer

CONTENT = b"format_version = 2\n"
KINDS = {
    "ed25519": ["-t", "ed25519"],
    "ecdsa": ["-t", "ecdsa", "-b", "256"],
    "rsa": ["-t", "rsa", "-b", "3072"],
}
by_kind = pytest.mark.parametrize("kind", KINDS)


def run(*command: str | Path, stdin: bytes = b"") -> bytes:
    # a key for RSA takes its time, and more or less of it by chance
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def make_key(folder: Path, kind: str, passphrase: str = "") -> Path:
    path = folder / kind
    run("ssh-keygen", "-q", *KINDS[kind], "-N", passphrase, "-C", "me", "-f", path)
    return path


def ssh_keygen_verifies(folder: Path, public: str, signature: bytes) -> bool:
    (folder / "signature").write_bytes(signature)
    (folder / "signers").write_text(f"me {public}\n")
    command = [
        "ssh-keygen",
        "-Y",
        "verify",
        "-f",
        "signers",
        "-I",
        "me",
        "-n",
        "caisson-package",
        "-s",
        "signature",
    ]
    return subprocess.run(command, input=CONTENT, cwd=folder, capture_output=True, timeout=60).returncode == 0


def no_passphrase() -> str:
    raise AssertionError("nobody asked for a passphrase")


@by_kind
@pytest.mark.parametrize("passphrase", ["", "secret"])
def test_key_of_ssh_keygen_signs_for_ssh_keygen(tmp_path: Path, kind: str, passphrase: str) -> None:
    path = make_key(tmp_path, kind, passphrase)
    signature = load_signer(path, lambda: passphrase).sign(CONTENT)
    assert ssh_keygen_verifies(tmp_path, path.with_suffix(".pub").read_text(), signature)


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_signature_is_the_one_that_ssh_keygen_makes(tmp_path: Path, kind: str) -> None:
    """These two kinds sign the same content in the same way every time."""
    path = make_key(tmp_path, kind)
    theirs = run("ssh-keygen", "-q", "-Y", "sign", "-f", path, "-n", "caisson-package", stdin=CONTENT)
    assert load_signer(path, no_passphrase).sign(CONTENT) == theirs


@pytest.mark.parametrize("passphrase", ["", "secret"])
def test_made_key_is_a_key_for_ssh_keygen(tmp_path: Path, passphrase: str) -> None:
    path = tmp_path / "made"
    made = generate_key(path, passphrase=passphrase, comment="release key")
    shown = run("ssh-keygen", "-y", "-P", passphrase, "-f", path).decode().split()
    public = path.with_suffix(".pub").read_text()
    assert shown[:2] == public.split()[:2]
    assert run("ssh-keygen", "-l", "-f", path.with_suffix(".pub")).decode().split()[1] == made.fingerprint
    assert ssh_keygen_verifies(tmp_path, public, load_signer(path, lambda: passphrase).sign(CONTENT))


@pytest.fixture
def ssh_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A real agent with nothing in it."""
    socket = tmp_path / "agent"
    monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
    with subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.PIPE) as agent:
        try:
            assert agent.stdout is not None
            assert agent.stdout.readline().startswith(b"SSH_AUTH_SOCK=")  # it listens by now
            yield
        finally:
            agent.terminate()


@pytest.mark.usefixtures("ssh_agent")
@by_kind
def test_agent_signs_for_ssh_keygen(tmp_path: Path, kind: str) -> None:
    path = make_key(tmp_path, kind)
    run("ssh-add", "-q", path)
    path.unlink()
    public = path.with_suffix(".pub")
    signature = load_signer(public, no_passphrase).sign(CONTENT)
    assert ssh_keygen_verifies(tmp_path, public.read_text(), signature)


@pytest.mark.usefixtures("ssh_agent")
def test_agent_without_the_key_says_so(tmp_path: Path) -> None:
    run("ssh-add", "-q", make_key(tmp_path, "ecdsa"))
    public = make_key(tmp_path, "ed25519").with_suffix(".pub")
    with pytest.raises(CaissonError, match="does not hold the key SHA256:") as caught:
        load_signer(public, no_passphrase)
    assert caught.value.code == "sign.key_not_in_agent"


@pytest.mark.usefixtures("ssh_agent")
def test_agent_that_lost_the_key_meanwhile_says_so(tmp_path: Path) -> None:
    path = make_key(tmp_path, "ed25519")
    run("ssh-add", "-q", path)
    signer = load_signer(path.with_suffix(".pub"), no_passphrase)
    run("ssh-add", "-q", "-D")
    with pytest.raises(CaissonError, match="it refused") as caught:
        signer.sign(CONTENT)
    assert caught.value.code == "sign.agent_failed"
