"""The arithmetic of SSH signatures: everything that is asked of `cryptography` to check one.

Apart from `ssh_keys`, which imports this when it is first needed: the library takes 7 MiB of memory, and a device that
waits for its next package does not need it.
"""

from collections.abc import Callable

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA512


def fits_ed25519(point: bytes, signature: bytes, message: bytes) -> bool:
    """Whether a signature of 64 bytes fits a key of 32 bytes and the message (RFC 8032, without prehashing)."""
    return _fits(lambda: Ed25519PublicKey.from_public_bytes(point).verify(signature, message))


def p256_key(point: bytes) -> EllipticCurvePublicKey | None:
    """The key of an uncompressed point of 65 bytes; None when it is not on the curve."""
    try:
        return EllipticCurvePublicKey.from_encoded_point(SECP256R1(), point)
    except (ValueError, UnsupportedAlgorithm):
        return None


def fits_p256(key: EllipticCurvePublicKey, r: int, s: int, message: bytes) -> bool:
    """Whether r and s are ECDSA over SHA-256 of the message."""
    return _fits(lambda: key.verify(encode_dss_signature(r, s), message, ECDSA(SHA256())))


def rsa_key(exponent: int, modulus: int) -> RSAPublicKey | None:
    """The key of these numbers; None when they are impossible."""
    try:
        return RSAPublicNumbers(exponent, modulus).public_key()
    except (ValueError, UnsupportedAlgorithm):
        return None


def fits_rsa(key: RSAPublicKey, signature: bytes, message: bytes) -> bool:
    """Whether it is RSASSA-PKCS1-v1_5 over SHA-512 of the message (RFC 8332)."""
    return _fits(lambda: key.verify(signature, message, PKCS1v15(), SHA512()))


def _fits(verify: Callable[[], None]) -> bool:
    try:
        verify()
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):
        return False
    return True
