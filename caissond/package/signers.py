"""Whom the device trusts: `allowed_signers` and `revoked_keys` in OpenSSH's formats, parsed (ssh-keygen(1)). No I/O.

A mistake anywhere makes a file useless, and every package is refused until it is corrected: the broken line may be the
one that would have withdrawn somebody's trust. A key of a type that OpenSSH knows and we do not is no mistake: it is
passed over, and told.
"""

import base64
import binascii
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from caissond.errors import Refusal
from caissond.model.text import has_hidden
from caissond.package.patterns import names_in
from caissond.package.ssh_keys import Malformed, PublicKey, parse_public_key

MAX_LINES = 10_000
_KRL_MAGIC = b"SSHKRL\n\0"
_SPACE = " \t"
_OPTION = re.compile(r'([A-Za-z-]+)(?:="((?:[^"\\]|\\"|\\(?!"))*)")?(,(?=[^ \t])|(?=[ \t]|$))')
_DATE = re.compile(r"(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)?)?(Z|UTC)?", re.ASCII | re.IGNORECASE)
_KEY_TYPE = re.compile(r"(?:sk-)?(?:ssh|ecdsa|rsa)-[a-z0-9@.-]+")
_VALUED = ("namespaces", "valid-after", "valid-before")


@dataclass(frozen=True, slots=True)
class Signer:
    """A line of allowed_signers."""

    line: int
    principals: str
    """A pattern-list, as it stands there."""
    key: PublicKey
    namespaces: str | None = None
    valid_after: datetime | None = None
    valid_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Mistake:
    """A line that cannot be used, and why."""

    file: str
    line: int
    text: str
    code: str

    def refusal(self) -> Refusal:
        return Refusal(f"cannot trust anybody: {self.file}, line {self.line}: {self.text}", code=self.code)


@dataclass(frozen=True, slots=True)
class ParsedSigners:
    """All of an allowed_signers."""

    signers: tuple[Signer, ...]
    mistakes: tuple[Mistake, ...]
    passed_over: tuple[Mistake, ...]
    """Lines with keys that are not used here: no mistakes."""


@dataclass(frozen=True, slots=True)
class ParsedRevocations:
    """All of a revoked_keys: key blobs."""

    revoked: frozenset[bytes]
    mistakes: tuple[Mistake, ...]


class _Wrong(ValueError):
    def __init__(self, text: str, code: str = "trust.invalid_signers") -> None:
        super().__init__(text)
        self.code = code


def parse_allowed_signers(text: str) -> ParsedSigners:
    """Every line of an allowed_signers; nothing is raised."""
    signers: list[Signer] = []
    mistakes: list[Mistake] = []
    passed_over: list[Mistake] = []
    for number, line in _lines(text):
        try:
            signer = _parse_line(number, line)
        except _Wrong as exc:
            mistakes.append(Mistake("allowed_signers", number, str(exc), exc.code))
            continue
        if signer.key.problem:
            code = "trust.unsupported_key"
            passed_over.append(Mistake("allowed_signers", number, signer.key.problem, code))
        else:
            signers.append(signer)
    if text.count("\n") > MAX_LINES:
        text = f"there are more than {MAX_LINES} lines"
        mistakes.append(Mistake("allowed_signers", MAX_LINES + 1, text, "trust.invalid_signers"))
    return ParsedSigners(tuple(signers), tuple(mistakes), tuple(passed_over))


def parse_revoked_keys(content: bytes) -> ParsedRevocations:
    """Every line of a revoked_keys: public keys, one a line; nothing is raised."""
    if content.startswith(_KRL_MAGIC):
        text = "it is a binary key revocation list, expected public keys, one a line"
        return ParsedRevocations(frozenset(), (Mistake("revoked_keys", 1, text, "trust.binary_krl"),))
    revoked: set[bytes] = set()
    mistakes: list[Mistake] = []
    for number, line in _lines(content.decode(errors="replace")):
        try:
            revoked.add(_parse_key(line, "").blob)
        except _Wrong as exc:
            mistakes.append(Mistake("revoked_keys", number, str(exc), "trust.invalid_revoked_keys"))
    if content.count(b"\n") > MAX_LINES:
        text = f"there are more than {MAX_LINES} lines"
        mistakes.append(Mistake("revoked_keys", MAX_LINES + 1, text, "trust.invalid_revoked_keys"))
    return ParsedRevocations(frozenset(revoked), tuple(mistakes))


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Numbered lines that say something, as getline(3) splits them."""
    for number, line in enumerate(text.split("\n")[:MAX_LINES], start=1):
        line = line.strip(_SPACE + "\r")
        if line and not line.startswith("#"):
            yield number, line


def _parse_line(number: int, line: str) -> Signer:
    if has_hidden(line.replace("\t", " ")):
        raise _Wrong("it holds characters that cannot be seen")
    if "\ufffd" in line:
        raise _Wrong("it is not UTF-8 text")
    principals, rest = _take_principals(line)
    if _KEY_TYPE.fullmatch(_first_word(rest)):
        return Signer(number, principals, _parse_key(rest, "options or "))
    options, rest = _take_options(rest)
    key = _parse_key(rest, "")
    after, before = (_parse_date(name, options.get(name)) for name in ("valid-after", "valid-before"))
    if after and before and before <= after:
        raise _Wrong("valid-before is not later than valid-after")
    return Signer(number, principals, key, options.get("namespaces"), after, before)


def _take_principals(line: str) -> tuple[str, str]:
    if line.startswith('"'):
        principals, quote, rest = line[1:].partition('"')
        if not quote or rest[:1] not in _SPACE:
            raise _Wrong("the quote around the principals is not closed")
    else:
        principals = _first_word(line)
        rest = line[len(principals) :]
        if '"' in principals:
            raise _Wrong("a quote stands in the middle of the principals")
    if _KEY_TYPE.fullmatch(principals):
        raise _Wrong("the principals are missing in front of the key")
    if not names_in(principals) or any(part in ("", "!") for part in principals.split(",")):
        raise _Wrong("the principals are empty or hold an empty name")
    if not rest.strip(_SPACE):
        raise _Wrong("the key is missing")
    return principals, rest.strip(_SPACE)


def _take_options(rest: str) -> tuple[dict[str, str], str]:
    options: dict[str, str] = {}
    position = 0
    while position == 0 or rest[position - 1] == ",":
        found = _OPTION.match(rest, position)
        if found is None:
            raise _Wrong(f"expected a key or options, found {_first_word(rest[position:])!r:.60}")
        name, value = found.group(1).lower(), found.group(2)
        _check_option(name, value, options)
        options[name] = (value or "").replace('\\"', '"')
        position = found.end()
    if not rest[position:].strip(_SPACE):
        raise _Wrong("the key is missing")
    return options, rest[position:].strip(_SPACE)


def _check_option(name: str, value: str | None, before: dict[str, str]) -> None:
    if name == "cert-authority":
        raise _Wrong("cert-authority is not supported: name the signers' own keys", "trust.cert_authority")
    if name not in _VALUED:
        raise _Wrong(f"there is no option {name!r:.60}")
    if value is None:
        raise _Wrong(f'{name} needs a value: {name}="…"')
    if name in before:
        raise _Wrong(f"{name} stands there twice")
    if name == "namespaces" and not names_in(value):
        raise _Wrong("namespaces names none")


def _parse_date(name: str, value: str | None) -> datetime | None:
    """A timestamp as OpenSSH reads it: UTC with a Z, else in the device's own zone, in its standard time."""
    if value is None:
        return None
    found = _DATE.fullmatch(value)
    if found is None:
        raise _Wrong(f"{name} is {value!r:.40}, expected YYYYMMDD or YYYYMMDDHHMM[SS], and Z for UTC")
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups()[:6])
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        if not found.group(7):
            moment = datetime.fromtimestamp(time.mktime((*moment.timetuple()[:6], 0, 0, 0)), UTC)
    except (ValueError, OverflowError, OSError) as exc:
        raise _Wrong(f"{name} is {value!r}: there is no such time") from exc
    if moment.timestamp() <= 0:
        raise _Wrong(f"{name} is {value!r}: it must be after 1970")
    return moment


def _parse_key(rest: str, also: str) -> PublicKey:
    """A key as it stands in a .pub file: its type, base64, and a comment."""
    key_type, _, rest = rest.replace("\t", " ").partition(" ")
    try:
        blob = base64.b64decode(_first_word(rest.strip(" ")), validate=True)
        key = parse_public_key(blob)
    except (binascii.Error, Malformed, ValueError) as exc:
        raise _Wrong(f"expected {also}a public key, found {key_type!r:.40}: {exc}") from exc
    if key.key_type != key_type:
        raise _Wrong(f"the key says that it is {key.key_type}, the line says {key_type!r:.60}")
    return key


def _first_word(text: str) -> str:
    return re.split(f"[{_SPACE}]", text, maxsplit=1)[0]
