"""SSHSIG, the signatures that `ssh-keygen -Y sign` makes (OpenSSH's PROTOCOL.sshsig). No I/O.

Stricter than `ssh-keygen -Y verify`, which reads all of these as good: version 0, a reserved field with something in
it, text behind the armor, base64 with spaces or stray bits, lines of any width. None of them is signed, so each would
be a way to change a package and keep its signature.
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from caissond.errors import Refusal
from caissond.package.ssh_keys import (
    BadSignature,
    Malformed,
    PublicKey,
    Reader,
    parse_public_key,
    put_string,
)

NAMESPACE = "caisson-package"
MAX_SIGNATURES_BYTES = 64 * 1024
MAX_SIGNATURES = 16

_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_LINE_WIDTH = 70
_MAX_LINE_WIDTH = 76
_BLOCK = re.compile(rf"{_BEGIN}\n((?:[A-Za-z0-9+/=]+\n)+){_END}\n")
_MAGIC = b"SSHSIG"
_VERSION = 1
_HASHES = frozenset({"sha256", "sha512"})


@dataclass(frozen=True, slots=True)
class SshSignature:
    """A signature that has the right form. Nothing is checked yet."""

    key: PublicKey
    namespace: str
    hash_name: str
    signature: bytes

    def check(self, content: bytes) -> None:
        """Check that this key signed this content, for whatever namespace it says.

        Raises:
            Refusal: `trust.malformed_signature`, `trust.bad_signature`.
            UnsupportedKey: the key is of a kind that is not used here.
        """
        message = signed_message(content, self.namespace, self.hash_name)
        try:
            self.key.verify(self.signature, message)
        except Malformed as exc:
            raise malformed(str(exc)) from exc
        except BadSignature as exc:
            text = (
                f"cannot trust the package: the signature by {self.key.fingerprint} is not of this manifest"
            )
            raise Refusal(text, code="trust.bad_signature") from exc


def signed_message(content: bytes, namespace: str, hash_name: str) -> bytes:
    """What the key really signs: PROTOCOL.sshsig, 3."""
    digest = hashlib.new(hash_name, content).digest()
    fields = (namespace.encode(), b"", hash_name.encode(), digest)
    return _MAGIC + b"".join(map(put_string, fields))


def armored(
    key_blob: bytes, signature: bytes, *, namespace: str = NAMESPACE, hash_name: str = "sha512"
) -> bytes:
    """A signature as ssh-keygen writes it: PROTOCOL.sshsig, 1 and 2."""
    fields = (key_blob, namespace.encode(), b"", hash_name.encode(), signature)
    blob = _MAGIC + _VERSION.to_bytes(4, "big") + b"".join(map(put_string, fields))
    text = base64.b64encode(blob).decode()
    lines = [text[start : start + _LINE_WIDTH] for start in range(0, len(text), _LINE_WIDTH)]
    return "\n".join([_BEGIN, *lines, _END, ""]).encode()


def split_signatures(signatures: bytes) -> tuple[bytes, ...]:
    """The binary signatures in a `manifest.toml.sig`: armored blocks, one right behind the other.

    Raises:
        Refusal: `trust.malformed_signature`.
    """
    if len(signatures) > MAX_SIGNATURES_BYTES:
        raise malformed(f"it has {len(signatures)} bytes, at most {MAX_SIGNATURES_BYTES} are allowed")
    try:
        text = signatures.decode("ascii")
    except UnicodeDecodeError as exc:
        raise malformed("it is not armored text") from exc
    blobs: list[bytes] = []
    position = 0
    while position < len(text):
        block = _BLOCK.match(text, position)
        if block is None:
            raise malformed(f"expected {_BEGIN!r}, lines of base64 and {_END!r}")
        if len(blobs) == MAX_SIGNATURES:
            raise malformed(f"it holds more than {MAX_SIGNATURES} signatures")
        blobs.append(_decoded(block.group(1).splitlines()))
        position = block.end()
    return tuple(blobs)


def _decoded(lines: list[str]) -> bytes:
    width = len(lines[0])
    if width > _MAX_LINE_WIDTH or any(len(line) != width for line in lines[:-1]) or len(lines[-1]) > width:
        raise malformed("its lines are not of one width")
    text = "".join(lines)
    try:
        blob = base64.b64decode(text, validate=True)
    except binascii.Error as exc:
        raise malformed("it is not base64") from exc
    if base64.b64encode(blob).decode() != text:
        raise malformed("its base64 has stray bits")
    return blob


def parse_signature(blob: bytes) -> SshSignature:
    """One binary signature.

    Raises:
        Refusal: `trust.malformed_signature`.
    """
    try:
        return _parse(Reader(blob))
    except Malformed as exc:
        raise malformed(str(exc)) from exc


def _parse(reader: Reader) -> SshSignature:
    if reader.take(len(_MAGIC)) != _MAGIC:
        raise Malformed("it does not begin with SSHSIG")
    if (version := reader.uint32()) != _VERSION:
        raise Malformed(f"it is of version {version}, expected {_VERSION}")
    key, namespace = parse_public_key(reader.string()), reader.text()
    if reader.string():
        raise Malformed("its reserved field is not empty")
    if (hash_name := reader.text()) not in _HASHES:
        raise Malformed(f"its hash is {hash_name!r:.40}, expected sha256 or sha512")
    signature = reader.string()
    reader.end()
    return SshSignature(key, namespace, hash_name, signature)


def malformed(problem: str) -> Refusal:
    """The refusal of a signature that cannot be read."""
    return Refusal(f"cannot read the package's signature: {problem}", code="trust.malformed_signature")
