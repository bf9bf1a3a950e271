"""SSH public keys and what they sign, as bytes: read strictly, checked by `key_math`, which is imported
when it is first needed. No I/O.

The formats are those of RFC 4251 (strings, mpints), RFC 8709 (ed25519), RFC 5656 (ECDSA), RFC 8332 (RSA) and OpenSSH's
PROTOCOL.u2f (security keys). A key has one encoding here: what OpenSSH tolerates besides (leading zeros, signatures
shorter than the modulus, S above the group's order) is refused, so that nobody can change a signature and keep it good.
"""

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

ED25519 = "ssh-ed25519"
ECDSA_P256 = "ecdsa-sha2-nistp256"
RSA = "ssh-rsa"
SK_ED25519 = "sk-ssh-ed25519@openssh.com"
RSA_SIGNATURE = "rsa-sha2-512"
"""What ssh-keygen makes. It also accepts rsa-sha2-256, which nothing makes unless it is asked to; we do not."""

OTHER_KEY_TYPES = frozenset(
    {
        "ssh-dss", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "sk-ecdsa-sha2-nistp256@openssh.com",
        "ssh-xmss@openssh.com", "ssh-dss-cert-v01@openssh.com", "ssh-rsa-cert-v01@openssh.com",
        "ecdsa-sha2-nistp256-cert-v01@openssh.com", "ecdsa-sha2-nistp384-cert-v01@openssh.com",
        "ecdsa-sha2-nistp521-cert-v01@openssh.com", "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
        "ssh-ed25519-cert-v01@openssh.com", "sk-ssh-ed25519-cert-v01@openssh.com", "ssh-xmss-cert-v01@openssh.com",
    }
)  # fmt: skip
"""What OpenSSH knows and we do not check (PROTOCOL.certkeys, sshkey.c)."""

MAX_STRING_BYTES = 16 * 1024
MIN_RSA_BITS = 3072
_MAX_RSA_BITS = 16384
_MAX_EXPONENT_BITS = 64


class Malformed(ValueError):
    """The bytes are not what they have to be; the message continues "cannot read ...: "."""


class BadSignature(ValueError):
    """The bytes are a signature, but not of this message by this key."""


class UnsupportedKey(ValueError):
    """The key is a real one, but of a kind or length that is not checked here."""


class Reader:
    """Takes RFC 4251's types from the front of some bytes; every method raises Malformed."""

    def __init__(self, content: bytes) -> None:
        self._rest = content

    def take(self, size_bytes: int) -> bytes:
        if size_bytes > len(self._rest):
            raise Malformed("it ends too early")
        taken, self._rest = self._rest[:size_bytes], self._rest[size_bytes:]
        return taken

    def byte(self) -> int:
        return self.take(1)[0]

    def uint32(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def string(self, limit_bytes: int = MAX_STRING_BYTES) -> bytes:
        size_bytes = self.uint32()
        if size_bytes > limit_bytes:
            raise Malformed(f"a field of {size_bytes} bytes is too long")
        return self.take(size_bytes)

    def text(self) -> str:
        """A string of visible ASCII characters, at most 255."""
        content = self.string(255)
        if not content.isascii() or not content.decode("ascii").isprintable():
            raise Malformed("a name holds characters that cannot be seen")
        return content.decode("ascii")

    def mpint(self) -> int:
        """A number that is not negative, in its shortest form (RFC 4251, 5)."""
        content = self.string(_MAX_RSA_BITS // 8 + 1)
        if content[:1] == b"\0" and (len(content) == 1 or content[1] < 0x80):
            raise Malformed("a number has zeros in front")
        if content and content[0] >= 0x80:
            raise Malformed("a number is negative")
        return int.from_bytes(content, "big")

    def end(self) -> None:
        if self._rest:
            raise Malformed(f"{len(self._rest)} bytes stand behind its end")


def put_string(content: bytes) -> bytes:
    """RFC 4251's string: the length in front."""
    return len(content).to_bytes(4, "big") + content


def put_mpint(number: int) -> bytes:
    """RFC 4251's mpint, of a number that is not negative."""
    return put_string(number.to_bytes(number.bit_length() // 8 + 1, "big") if number else b"")


Check = Callable[[Reader, bytes], None]
"""Takes the fields behind a signature's type, and the message; raises Malformed, BadSignature, UnsupportedKey."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key, known by its bytes."""

    blob: bytes
    key_type: str
    problem: str = field(default="", compare=False)
    """Why it is not used here, such as `it has 2048 bits`; empty for one that is."""
    _signature_type: str = field(default="", compare=False, repr=False)
    _check: Check | None = field(default=None, compare=False, repr=False)

    @property
    def fingerprint(self) -> str:
        """As ssh-keygen -l shows it: `SHA256:` and base64 without padding."""
        digest = base64.b64encode(hashlib.sha256(self.blob).digest()).decode()
        return "SHA256:" + digest.rstrip("=")

    def verify(self, signature: bytes, message: bytes) -> None:
        """Check a signature as it stands in an SSHSIG: its type and what that type asks for.

        Raises:
            Malformed: it is no signature by a key of this type.
            BadSignature: it does not fit the message.
            UnsupportedKey: it may be good, but the key is of a kind that is not used here.
        """
        if self._check is None:
            raise UnsupportedKey(self.problem)
        reader = Reader(signature)
        signature_type = reader.text()
        if signature_type != self._signature_type:
            text = f"it is of type {signature_type!r}, expected {self._signature_type!r}"
            raise Malformed(text)
        self._check(reader, message)
        if self.problem:
            raise UnsupportedKey(self.problem)


def parse_public_key(blob: bytes) -> PublicKey:
    """The key in these bytes. One of a type that only OpenSSH knows is returned with a `problem`.

    Raises:
        Malformed: it is no key.
    """
    reader = Reader(blob)
    key_type = reader.text()
    if key_type in OTHER_KEY_TYPES:
        return PublicKey(blob, key_type, f"keys of type {key_type} are not supported")
    read = _READERS.get(key_type)
    if read is None:
        raise Malformed(f"{key_type!r:.60} is no type of key")
    key = read(reader, blob)
    reader.end()
    return key


def _read_ed25519(reader: Reader, blob: bytes) -> PublicKey:
    point = _exactly(reader.string(), 32, "an ed25519 key")

    def check(fields: Reader, message: bytes) -> None:
        from caissond.package.key_math import fits_ed25519

        signature = _exactly(fields.string(), 64, "an ed25519 signature")
        fields.end()
        _demand(fits_ed25519(point, signature, message))

    return PublicKey(blob, ED25519, "", ED25519, check)


def _read_sk_ed25519(reader: Reader, blob: bytes) -> PublicKey:
    """A key in a FIDO token. Its flags are signed; that they say "touched" is demanded as little as by ssh-keygen."""
    point = _exactly(reader.string(), 32, "an ed25519 key")
    application = reader.text().encode()

    def check(fields: Reader, message: bytes) -> None:
        from caissond.package.key_math import fits_ed25519

        signature = _exactly(fields.string(), 64, "an ed25519 signature")
        flags_and_counter = fields.take(5)
        fields.end()
        signed = hashlib.sha256(application).digest() + flags_and_counter + hashlib.sha256(message).digest()
        _demand(fits_ed25519(point, signature, signed))

    return PublicKey(blob, SK_ED25519, "", SK_ED25519, check)


def _read_ecdsa(reader: Reader, blob: bytes) -> PublicKey:
    from caissond.package.key_math import fits_p256, p256_key

    if (curve := reader.text()) != "nistp256":
        raise Malformed(f"its curve is {curve!r:.40}, expected 'nistp256'")
    point = _exactly(reader.string(), 65, "an uncompressed point")
    key = p256_key(point)
    if key is None:
        raise Malformed("its point is not on the curve")

    def check(fields: Reader, message: bytes) -> None:
        numbers = Reader(fields.string())
        fields.end()
        r, s = numbers.mpint(), numbers.mpint()
        numbers.end()
        _demand(fits_p256(key, r, s, message))

    return PublicKey(blob, ECDSA_P256, "", ECDSA_P256, check)


def _read_rsa(reader: Reader, blob: bytes) -> PublicKey:
    from caissond.package.key_math import fits_rsa, rsa_key

    exponent, modulus = reader.mpint(), reader.mpint()
    bits = modulus.bit_length()
    if not (1024 <= bits <= _MAX_RSA_BITS and exponent.bit_length() <= _MAX_EXPONENT_BITS):
        raise Malformed(f"an RSA key of {bits} bits with an exponent of {exponent.bit_length()} is none")
    key = rsa_key(exponent, modulus)
    if key is None:
        raise Malformed("its RSA numbers are impossible")

    def check(fields: Reader, message: bytes) -> None:
        signature = _exactly(fields.string(), (bits + 7) // 8, "an RSA signature")
        fields.end()
        _demand(fits_rsa(key, signature, message))

    weak = (
        ""
        if bits >= MIN_RSA_BITS
        else f"an RSA key of {bits} bits is too short, at least {MIN_RSA_BITS} are expected"
    )
    return PublicKey(blob, RSA, weak, RSA_SIGNATURE, check)


_READERS: dict[str, Callable[[Reader, bytes], PublicKey]] = {
    ED25519: _read_ed25519,
    ECDSA_P256: _read_ecdsa,
    RSA: _read_rsa,
    SK_ED25519: _read_sk_ed25519,
}


def _exactly(content: bytes, size_bytes: int, what: str) -> bytes:
    if len(content) != size_bytes:
        raise Malformed(f"{what} has {len(content)} bytes, expected {size_bytes}")
    return content


def _demand(fits: bool) -> None:
    if not fits:
        raise BadSignature("it does not fit the key and the content")
