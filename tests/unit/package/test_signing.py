"""Signers from files and from agents that lie, and keys that are made."""

import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    SSHPrivateKeyTypes,
)

from caissond.errors import CaissonError
from caissond.package import agent
from caissond.package.signing import generate_key, load_signer
from caissond.package.ssh_keys import put_string
from caissond.package.sshsig import parse_signature, split_signatures
from fixtures import signatures

CONTENT = b"format_version = 2\n"


def no_passphrase() -> str:
    raise AssertionError("nobody asked for a passphrase")


def key_file(folder: Path, private: SSHPrivateKeyTypes, passphrase: bytes = b"", mode: int = 0o600) -> Path:
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    path = folder / "key"
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, encryption))
    path.chmod(mode)
    return path


def check(signed: bytes) -> str:
    """The type of the key that really signed the content."""
    (blob,) = split_signatures(signed)
    signature = parse_signature(blob)
    signature.check(CONTENT)
    assert (signature.namespace, signature.hash_name) == ("caisson-package", "sha512")
    return signature.key.key_type


@pytest.mark.parametrize(
    ("make", "key_type"),
    [
        (ed25519.Ed25519PrivateKey.generate, "ssh-ed25519"),
        (lambda: ec.generate_private_key(ec.SECP256R1()), "ecdsa-sha2-nistp256"),
        (lambda: rsa.generate_private_key(65537, 3072), "ssh-rsa"),
    ],
)
def test_private_key_file_signs(
    tmp_path: Path, make: Callable[[], SSHPrivateKeyTypes], key_type: str
) -> None:
    signer = load_signer(key_file(tmp_path, make()), no_passphrase)
    assert check(signer.sign(CONTENT)) == signer.key.key_type == key_type


def test_encrypted_key_asks_for_its_passphrase(tmp_path: Path) -> None:
    path = key_file(tmp_path, ed25519.Ed25519PrivateKey.generate(), b"secret")
    assert check(load_signer(path, lambda: "secret").sign(CONTENT)) == "ssh-ed25519"


@pytest.mark.parametrize("passphrase", ["Secret", ""])
def test_wrong_passphrase_says_so(tmp_path: Path, passphrase: str) -> None:
    path = key_file(tmp_path, ed25519.Ed25519PrivateKey.generate(), b"secret")
    with pytest.raises(CaissonError) as caught:
        load_signer(path, lambda: passphrase)
    assert caught.value.code == "sign.wrong_passphrase"


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: rsa.generate_private_key(65537, 2048), "2048 bits is too short"),
        (lambda: ec.generate_private_key(ec.SECP384R1()), "ecdsa-sha2-nistp384 are not supported"),
    ],
)
def test_key_that_no_device_would_trust_does_not_sign(
    tmp_path: Path, make: Callable[[], SSHPrivateKeyTypes], why: str
) -> None:
    with pytest.raises(CaissonError, match=why) as caught:
        load_signer(key_file(tmp_path, make()), no_passphrase)
    assert caught.value.code == "sign.unsupported_key"


def test_private_key_that_others_may_read_does_not_sign(tmp_path: Path) -> None:
    path = key_file(tmp_path, ed25519.Ed25519PrivateKey.generate(), mode=0o640)
    with pytest.raises(CaissonError, match="its mode is 0640, expected 0600") as caught:
        load_signer(path, no_passphrase)
    assert caught.value.code == "sign.key_too_open"


@pytest.mark.parametrize(
    "content",
    [
        b"", b"nonsense", b"ssh-ed25519", b"ssh-ed25519 AAAA", b"ssh-ed25519 !!!!", b"\xff\xfe\0", b"x" * 70_000,
        signatures.ed25519().line.replace("ssh-ed25519", "ssh-rsa").encode(),
        b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
        b"-----BEGIN OPENSSH PRIVATE KEY-----\n",
        b"-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n",
    ],
)  # fmt: skip
def test_file_that_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(CaissonError, match="cannot read the key") as caught:
        load_signer(path, no_passphrase)
    assert caught.value.code == "sign.key_invalid"


def test_cut_private_key_is_refused_at_every_length(tmp_path: Path) -> None:
    whole = key_file(tmp_path, ed25519.Ed25519PrivateKey.generate()).read_bytes()
    path = tmp_path / "cut"
    for size in range(0, len(whole) - 40, 7):
        path.write_bytes(whole[:size])
        path.chmod(0o600)
        with pytest.raises(CaissonError) as caught:
            load_signer(path, no_passphrase)
        assert caught.value.code == "sign.key_invalid"


@pytest.mark.parametrize("name", ["missing", "folder"])
def test_key_that_cannot_be_read_says_why(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(CaissonError) as caught:
        load_signer(tmp_path / name, no_passphrase)
    assert caught.value.code == "sign.key_unreadable"


# keys that are made


@pytest.mark.parametrize("passphrase", ["", "secret"])
def test_made_key_is_private_and_signs(tmp_path: Path, passphrase: str) -> None:
    path = tmp_path / "key"
    made = generate_key(path, passphrase=passphrase, comment="release key")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert check(load_signer(path, lambda: passphrase).sign(CONTENT)) == "ssh-ed25519"
    key_type, _, comment = (tmp_path / "key.pub").read_text().split(" ", 2)
    assert (key_type, comment) == (made.key_type, "release key\n")


@pytest.mark.parametrize("there", ["key", "key.pub"])
def test_no_key_is_overwritten(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("precious")
    with pytest.raises(CaissonError) as caught:
        generate_key(tmp_path / "key")
    assert caught.value.code == "sign.key_exists"
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "precious"


def test_key_that_cannot_be_written_says_why(tmp_path: Path) -> None:
    with pytest.raises(CaissonError) as caught:
        generate_key(tmp_path / "nowhere" / "key")
    assert caught.value.code == "sign.key_unreadable"


# agents

KEY = signatures.ed25519()
HOLDS_KEY = put_string(b"\x0c" + (1).to_bytes(4, "big") + put_string(KEY.blob) + put_string(b"comment"))


def signing(key: signatures.Key) -> Callable[[bytes], bytes]:
    """An agent's answer to the request to sign: type, key, message, flags."""

    def answer(request: bytes) -> bytes:
        message = request[9 + len(KEY.blob) : -4]
        assert request[-4:] == b"\0\0\0\4"  # rsa-sha2-512, for an RSA key
        return put_string(b"\x0e" + put_string(key.sign(message)))

    return answer


@contextmanager
def agent_that(
    monkeypatch: pytest.MonkeyPatch, folder: Path, *answers: bytes | Callable[[bytes], bytes]
) -> Iterator[None]:
    """An agent that answers one connection after the other, whatever it is asked, and hangs up."""
    path = folder / "agent"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(path))
        server.listen()
        server.settimeout(30)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(path))

        def serve() -> None:
            for answer in answers:
                with suppress(TimeoutError), server.accept()[0] as connection:
                    size = int.from_bytes(connection.recv(4, socket.MSG_WAITALL), "big")
                    request = connection.recv(size, socket.MSG_WAITALL)
                    connection.sendall(answer if isinstance(answer, bytes) else answer(request))

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            thread.join(timeout=60)
            assert not thread.is_alive()


@pytest.fixture
def public_key(tmp_path: Path) -> Path:
    path = tmp_path / "key.pub"
    path.write_text(f"{KEY.line} comment\n")
    return path


def test_agent_signs_for_a_public_key(
    tmp_path: Path, public_key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with agent_that(monkeypatch, tmp_path, HOLDS_KEY, signing(KEY)):
        assert check(load_signer(public_key, no_passphrase).sign(CONTENT)) == "ssh-ed25519"


def test_agent_that_signs_with_another_key_is_found_out(
    tmp_path: Path, public_key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with agent_that(monkeypatch, tmp_path, HOLDS_KEY, signing(signatures.ed25519("mallory"))):
        signer = load_signer(public_key, no_passphrase)
        with pytest.raises(CaissonError, match="what was made as the signature is none") as caught:
            signer.sign(CONTENT)
    assert caught.value.code == "sign.agent_failed"


@pytest.mark.parametrize(
    ("answer", "code", "why"),
    [
        (b"", "sign.agent_failed", "hung up"),
        (b"\0\0\0\x0a", "sign.agent_failed", "hung up"),
        (put_string(b"\5"), "sign.agent_failed", "it refused"),
        (put_string(b"\x0e"), "sign.agent_failed", "message of type 14"),
        (put_string(b""), "sign.agent_failed", "an answer of 0 bytes"),
        (b"\xff\xff\xff\xff", "sign.agent_failed", "an answer of 4294967295 bytes"),
        (put_string(b"\x0c"), "sign.agent_failed", "ends too early"),
        (put_string(b"\x0c\xff\xff\xff\xff"), "sign.agent_failed", "holds 4294967295 keys"),
        (put_string(b"\x0c\0\0\0\1"), "sign.agent_failed", "ends too early"),
        (put_string(b"\x0c\0\0\0\1\xff\xff\xff\xff"), "sign.agent_failed", "too long"),
        (put_string(b"\x0c\0\0\0\0x"), "sign.agent_failed", "stand behind its end"),
        (put_string(b"\x0c\0\0\0\0"), "sign.key_not_in_agent", "does not hold the key SHA256:"),
    ],
)
def test_agent_that_answers_nonsense_is_not_believed(
    tmp_path: Path, public_key: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes, code: str, why: str
) -> None:
    with agent_that(monkeypatch, tmp_path, answer), pytest.raises(CaissonError, match=why) as caught:
        load_signer(public_key, no_passphrase)
    assert caught.value.code == code


@pytest.mark.parametrize("path", [None, "", "/nonexistent/agent", "x" * 200])
def test_agent_that_is_not_there_says_so(
    public_key: Path, monkeypatch: pytest.MonkeyPatch, path: str | None
) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    if path is not None:
        monkeypatch.setenv("SSH_AUTH_SOCK", path)
    with pytest.raises(CaissonError) as caught:
        load_signer(public_key, no_passphrase)
    assert caught.value.code == "sign.no_agent"


def test_agent_that_says_nothing_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(tmp_path / "agent"))
        server.listen()
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
        with pytest.raises(CaissonError, match="the ssh-agent does not answer") as caught:
            agent.agent_keys(timeout_s=0.05)
    assert caught.value.code == "sign.agent_failed"


def test_private_key_of_a_security_key_is_asked_of_the_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file holds a handle that only the token can use."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    blob = b"openssh-key-v1\0" + signatures.typed("none", b"none", b"") + b"\0\0\0\1"
    blob += put_string(signatures.sk_ed25519().blob) + put_string(bytes(64))
    path = tmp_path / "key"
    path.write_bytes(signatures.armor(blob).replace(b"SSH SIGNATURE", b"OPENSSH PRIVATE KEY"))
    path.chmod(0o600)
    with pytest.raises(CaissonError) as caught:
        load_signer(path, no_passphrase)
    assert caught.value.code == "sign.no_agent"
