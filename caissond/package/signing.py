"""Making signatures: the release engineer's side. The key is in a file, or in the ssh-agent, which keeps it."""

import base64
import binascii
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA512
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    SSHPrivateKeyTypes,
    load_ssh_private_key,
)

from caissond.errors import CaissonError
from caissond.package.agent import agent_keys, agent_signature
from caissond.package.ssh_keys import (
    ECDSA_P256,
    ED25519,
    RSA_SIGNATURE,
    SK_ED25519,
    BadSignature,
    Malformed,
    PublicKey,
    Reader,
    UnsupportedKey,
    parse_public_key,
    put_mpint,
    put_string,
)
from caissond.package.sshsig import NAMESPACE, armored, signed_message

MAX_KEY_FILE_BYTES = 64 * 1024
HASH = "sha512"
"""As ssh-keygen does unless it is told otherwise."""

_BEGIN, _END = b"-----BEGIN OPENSSH PRIVATE KEY-----", b"-----END OPENSSH PRIVATE KEY-----"
_MAGIC = b"openssh-key-v1\0"


@dataclass(frozen=True, slots=True)
class Signer:
    """A key that signs, wherever its private half is."""

    key: PublicKey
    _sign: Callable[[bytes], bytes]

    def sign(self, content: bytes) -> bytes:
        """One armored signature of the content, which is exactly a manifest.toml; verified before it is given away.

        Raises:
            CaissonError: `sign.*`.
        """
        message = signed_message(content, NAMESPACE, HASH)
        signature = self._sign(message)
        try:
            self.key.verify(signature, message)
        except (Malformed, BadSignature, UnsupportedKey) as exc:
            text = f"cannot sign: what was made as the signature is none: {exc}"
            raise CaissonError(text, code="sign.agent_failed") from exc
        return armored(self.key.blob, signature, hash_name=HASH)


def load_signer(path: Path, ask_passphrase: Callable[[], str]) -> Signer:
    """The signer whose key is in this file: an OpenSSH private key, or a public one whose other half the agent has.

    Args:
        ask_passphrase: called once, and only when the private key is encrypted.

    Raises:
        CaissonError: `sign.*`.
    """
    content = _read(path)
    if content.lstrip().startswith(_BEGIN):
        return _private_signer(path, content.lstrip(), ask_passphrase)
    return _agent_signer(_usable(_public_key_in(path, content), path))


def generate_key(path: Path, *, passphrase: str = "", comment: str = "") -> PublicKey:
    """Make an ed25519 key: the private half in `path`, the public one in `path`.pub, as ssh-keygen writes them.

    Args:
        passphrase: encrypts the private half; empty: it lies there in the open.

    Raises:
        CaissonError: `sign.key_exists`, `sign.key_unreadable`.
    """
    private = Ed25519PrivateKey.generate()
    encryption = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    secret = private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, encryption)
    line = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    public_path = path.with_name(path.name + ".pub")
    _write_new(public_path, line + (f" {comment}" if comment else "").encode() + b"\n", 0o644)
    try:
        _write_new(path, secret, 0o600)
    except CaissonError:
        public_path.unlink()
        raise
    return parse_public_key(base64.b64decode(line.split()[1]))


def _private_signer(path: Path, content: bytes, ask_passphrase: Callable[[], str]) -> Signer:
    _check_private(path)
    key, is_encrypted = _parse_container(path, content)
    _usable(key, path)
    if key.key_type == SK_ED25519:
        return _agent_signer(key)
    passphrase = ask_passphrase().encode() if is_encrypted else None
    try:
        private = load_ssh_private_key(content, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        code = "sign.wrong_passphrase" if is_encrypted else "sign.key_invalid"
        raise CaissonError(f"cannot read the key {path}: {exc}", code=code) from exc
    return Signer(key, lambda message: _signature(private, message))


def _signature(private: SSHPrivateKeyTypes, message: bytes) -> bytes:
    """A signature as it stands in an SSHSIG: RFC 8709, 5656, 8332."""
    match private:
        case Ed25519PrivateKey():
            return put_string(ED25519.encode()) + put_string(private.sign(message))
        case RSAPrivateKey():
            signature = private.sign(message, PKCS1v15(), SHA512())
            return put_string(RSA_SIGNATURE.encode()) + put_string(signature)
        case EllipticCurvePrivateKey():
            r, s = decode_dss_signature(private.sign(message, ECDSA(SHA256())))
            return put_string(ECDSA_P256.encode()) + put_string(put_mpint(r) + put_mpint(s))
        case _:
            raise AssertionError(f"a key of type {type(private)} was let through")


def _agent_signer(key: PublicKey) -> Signer:
    if key.blob not in agent_keys():
        text = f"cannot sign: the ssh-agent does not hold the key {key.fingerprint}"
        raise CaissonError(text, code="sign.key_not_in_agent")
    return Signer(key, lambda message: agent_signature(key.blob, message))


def _public_key_in(path: Path, content: bytes) -> PublicKey:
    """The key of a .pub file: its type, base64, a comment."""
    words = content.split(maxsplit=2)
    try:
        if len(words) < 2:
            raise Malformed("expected an OpenSSH private key or a public one")
        key = parse_public_key(base64.b64decode(words[1], validate=True))
        if key.key_type.encode() != words[0]:
            raise Malformed(f"the key says that it is {key.key_type}, the file says otherwise")
    except (Malformed, binascii.Error) as exc:
        raise CaissonError(f"cannot read the key {path}: {exc}", code="sign.key_invalid") from exc
    return key


def _parse_container(path: Path, content: bytes) -> tuple[PublicKey, bool]:
    """The public half in an OpenSSH private key file, and whether the private half is encrypted (PROTOCOL.key)."""
    text = content.removeprefix(_BEGIN).partition(_END)[0]
    try:
        reader = Reader(base64.b64decode(b"".join(text.split()), validate=True))
        if reader.take(len(_MAGIC)) != _MAGIC:
            raise Malformed("it does not begin as a key")
        cipher = reader.text()
        reader.text(), reader.string()  # how the passphrase is stretched
        if (count := reader.uint32()) != 1:
            raise Malformed(f"it holds {count} keys, expected 1")
        return parse_public_key(reader.string()), cipher != "none"
    except (Malformed, binascii.Error) as exc:
        raise CaissonError(f"cannot read the key {path}: {exc}", code="sign.key_invalid") from exc


def _usable(key: PublicKey, path: Path) -> PublicKey:
    if key.problem:
        raise CaissonError(f"cannot sign with {path}: {key.problem}", code="sign.unsupported_key")
    return key


def _check_private(path: Path) -> None:
    """ssh-keygen's rule: one's own private key is nobody else's to read."""
    status = path.stat()
    if status.st_uid == os.getuid() and status.st_mode & 0o077:
        text = f"cannot use the key {path}: its mode is {stat.S_IMODE(status.st_mode):04o}, expected 0600"
        raise CaissonError(text, code="sign.key_too_open")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_KEY_FILE_BYTES + 1)
    except OSError as exc:
        raise CaissonError(f"cannot read the key {path}: {exc.strerror}", code="sign.key_unreadable") from exc
    if len(content) > MAX_KEY_FILE_BYTES:
        text = f"cannot read the key {path}: larger than {MAX_KEY_FILE_BYTES} bytes"
        raise CaissonError(text, code="sign.key_invalid")
    return content


def _write_new(path: Path, content: bytes, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
    except FileExistsError as exc:
        raise CaissonError(f"cannot write {path}: it exists", code="sign.key_exists") from exc
    except OSError as exc:
        raise CaissonError(f"cannot write {path}: {exc.strerror}", code="sign.key_unreadable") from exc
