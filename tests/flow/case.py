"""One question to us and to `ssh-keygen -Y verify`, and every reason why our answer may be the stricter one."""

from dataclasses import dataclass
from datetime import UTC, datetime

from fixtures.signatures import Key, ed25519

CONTENT = b'format_version = 2\npackage_type = "service"\n'
NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
LONG_AGO = datetime(1970, 1, 2, tzinfo=UTC)
ME = "alice@example.com"

STRICTER = {
    "version": "PROTOCOL.sshsig knows version 1 only; ssh-keygen reads 0 too, and the version is not signed",
    "reserved": "what stands in the reserved field is not signed; ssh-keygen ignores it",
    "armor": "ssh-keygen skips spaces, takes any width, and reads nothing behind the end: all of it could be changed",
    "zeros": "a number with zeros in front is another encoding of the same signature or key",
    "short": "ssh-keygen pads an RSA signature whose first bytes are zero and missing",
    "order": "S and S + the group's order are the same signature (RFC 8032, 5.1.7); ssh-keygen takes some of both",
    "rsa-sha2-256": "nothing makes it unless it is asked to; packages have rsa-sha2-512",
    "key kind": "of the kinds of keys four are supported; RSA from 3072 bits",
    "whole file": "ssh-keygen does not read lines for other principals, nor those behind the one it wants",
    "dates": "ssh-keygen lets the C library make a date of what is none",
    "cert-authority": "no certificates are supported, so the option can only be a misunderstanding",
    "commas": "ssh-keygen lets commas with no option between them pass",
    "quotes": "ssh-keygen lets a quote begin in the middle of a name",
    "nul": "ssh-keygen passes over a line of revoked_keys that begins with a zero byte",
}


@dataclass(frozen=True, slots=True)
class Case:
    """One signature, those who are asked about it, and why we may be stricter."""

    name: str
    signature: bytes
    signers: str
    content: bytes = CONTENT
    revoked: bytes = b""
    principal: str = ME
    when: datetime = NOW
    stricter: str = ""
    zone: str = "UTC0"
    """The device's, as the environment variable TZ says it."""


ALICE = ed25519("alice")


def line(key: Key, principals: str = ME, options: str = "") -> str:
    """A line of allowed_signers."""
    return f"{principals} {options + ' ' if options else ''}{key.line}\n"
