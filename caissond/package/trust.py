"""Whether a package is trusted: its signatures, the device's signers, and the time. Pure; files are read elsewhere.

What is there and bad refuses always: whoever changes a signature changes the package. What is there and good, but by
nobody we know, counts for nothing: anybody could have put it there, and anybody could take it off.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from caissond.errors import Refusal
from caissond.package.patterns import is_allowed, matches
from caissond.package.signers import Signer, parse_allowed_signers, parse_revoked_keys
from caissond.package.ssh_keys import PublicKey, UnsupportedKey
from caissond.package.sshsig import NAMESPACE, SshSignature, parse_signature, split_signatures

_MOST_TELLING = (
    "trust.expired",
    "trust.not_yet_valid",
    "trust.wrong_namespace",
    "trust.not_for_service",
    "trust.too_few_signatures",
    "trust.unsupported_key",
    "trust.unknown_signer",
)
"""What is told when too few signatures count: first what somebody known should hear."""


@dataclass(frozen=True, slots=True)
class TrustStore:
    """Whom the device trusts, and whom no more."""

    signers: tuple[Signer, ...] = ()
    revoked: frozenset[bytes] = frozenset()
    """Key blobs."""


@dataclass(frozen=True, slots=True)
class TrustTime:
    """The clock, and a time that has certainly come: a clock before it is not to be believed."""

    now: datetime
    floor: datetime

    @property
    def latest(self) -> datetime:
        return max(self.now, self.floor).replace(microsecond=0)

    @property
    def is_believed(self) -> bool:
        return self.now >= self.floor


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature of a package, and what is wrong with it."""

    principals: str
    """Of the signers whose key it is, pattern-lists joined with commas; empty when nobody knows it."""
    fingerprint: str
    key_type: str
    problem: Refusal | None


@dataclass(frozen=True, slots=True)
class _Judged:
    """A signature with what the decision needs besides."""

    shown: Signature
    key: bytes = b""
    principals: tuple[str, ...] = ()
    """Of each line of allowed_signers that lets it count."""
    refuses: bool = False
    """The package is refused whatever stands beside it."""


def parse_trust_store(allowed_signers: str, revoked_keys: bytes) -> TrustStore:
    """The store that both files make.

    Raises:
        Refusal: `trust.invalid_signers`, `trust.cert_authority`, `trust.invalid_revoked_keys`, `trust.binary_krl`,
            with the first line that cannot be used.
    """
    parsed, revocations = parse_allowed_signers(allowed_signers), parse_revoked_keys(revoked_keys)
    for mistake in (*parsed.mistakes, *revocations.mistakes):
        raise mistake.refusal()
    return TrustStore(parsed.signers, revocations.revoked)


def read_signatures(
    content: bytes, signatures: bytes, store: TrustStore, time: TrustTime
) -> tuple[Signature, ...]:
    """Each signature and what is wrong with it, for showing. This is **not** a verification function.

    Args:
        content: manifest.toml, as it stands in the package.
        signatures: manifest.toml.sig, as it stands there; empty when there is none.
    """
    return tuple(judged.shown for judged in _judge_all(content, signatures, store, time))


def check_signatures(
    content: bytes,
    signatures: bytes,
    store: TrustStore,
    *,
    time: TrustTime,
    services: Mapping[str, tuple[str, ...]],
    required: int,
    allow_unsigned: bool,
) -> tuple[Signature, ...]:
    """The signatures that count; none when the package is let in as an unsigned one.

    Args:
        services: what the package would change, and for each the principal patterns that may sign for it; no patterns:
            any signer may.
        required: how many distinct keys have to count, for every service.

    Raises:
        Refusal: `trust.*`.
    """
    judged = _judge_all(content, signatures, store, time)
    for one in judged:
        if one.refuses and one.shown.problem:
            raise one.shown.problem
    scopes = services or {"": ()}
    counting = {service: _counting(judged, scopes[service]) for service in scopes}
    if not allow_unsigned:
        for service, keys in counting.items():
            if len(keys) < max(required, 1):
                raise _too_few(judged, service, scopes[service], required, store)
    return tuple(one.shown for one in _distinct(judged) if any(one.key in keys for keys in counting.values()))


def validity_problem(signer: Signer, time: TrustTime) -> Refusal | None:
    """What the time says against a signer: valid-before by the latest time that has certainly come, valid-after only by
    a clock that is to be believed.
    """
    if signer.valid_before and time.latest > signer.valid_before:
        text = (
            f"cannot count signatures by {signer.principals}: the key expired at {signer.valid_before:%F %TZ}"
        )
        return Refusal(text, code="trust.expired")
    if signer.valid_after and time.is_believed and time.latest < signer.valid_after:
        text = f"cannot count signatures by {signer.principals}: the key is valid from {signer.valid_after:%F %TZ}"
        return Refusal(text, code="trust.not_yet_valid")
    return None


def signer_problem(signer: Signer, time: TrustTime) -> Refusal | None:
    """Why a signature by this signer would not count now."""
    if signer.namespaces is not None and not matches(NAMESPACE, signer.namespaces):
        text = f"cannot count signatures by {signer.principals}: the key may sign {signer.namespaces} only"
        return Refusal(text, code="trust.wrong_namespace")
    return validity_problem(signer, time)


def _judge_all(content: bytes, signatures: bytes, store: TrustStore, time: TrustTime) -> tuple[_Judged, ...]:
    try:
        blobs = split_signatures(signatures)
    except Refusal as exc:
        return (_Judged(Signature("", "", "", exc), refuses=True),)
    return tuple(_judge(blob, content, store, time) for blob in blobs)


def _judge(blob: bytes, content: bytes, store: TrustStore, time: TrustTime) -> _Judged:
    try:
        signature = parse_signature(blob)
    except Refusal as exc:
        return _Judged(Signature("", "", "", exc), refuses=True)
    key = signature.key
    known = tuple(signer for signer in store.signers if signer.key == key)
    try:
        _check_signature(signature, content, store)
    except Refusal as exc:
        return _Judged(_shown(key, known, exc), refuses=True)
    except UnsupportedKey as exc:
        refusal = Refusal(f"cannot count a signature: {exc}", code="trust.unsupported_key")
        return _Judged(_shown(key, (), refusal))
    return _judge_signer(key, known, time)


def _check_signature(signature: SshSignature, content: bytes, store: TrustStore) -> None:
    """What refuses a package always."""
    if signature.key.blob in store.revoked:
        text = f"cannot trust the package: the key {signature.key.fingerprint} was revoked"
        raise Refusal(text, code="trust.revoked")
    if signature.namespace != NAMESPACE:
        text = (
            f"cannot trust the package: it is signed as {signature.namespace!r:.60}, expected {NAMESPACE!r}"
        )
        raise Refusal(text, code="trust.wrong_namespace")
    signature.check(content)


def _judge_signer(key: PublicKey, known: tuple[Signer, ...], time: TrustTime) -> _Judged:
    """A good signature: who made it, and whether they may."""
    problems = [signer_problem(signer, time) for signer in known]
    good = tuple(signer for signer, problem in zip(known, problems, strict=True) if problem is None)
    if good:
        principals = tuple(signer.principals for signer in good)
        return _Judged(_shown(key, good, None), key.blob, principals)
    text = f"cannot count a signature: nobody here knows the key {key.fingerprint}"
    unknown = Refusal(text, code="trust.unknown_signer")
    return _Judged(_shown(key, known, next(iter(problems), unknown)))


def _shown(key: PublicKey, known: tuple[Signer, ...], problem: Refusal | None) -> Signature:
    principals = ",".join(dict.fromkeys(signer.principals for signer in known))
    return Signature(principals, key.fingerprint, key.key_type, problem)


def _counting(judged: tuple[_Judged, ...], patterns: tuple[str, ...]) -> set[bytes]:
    """The keys that count for a service."""
    return {one.key for one in judged if _may_sign(one, patterns)}


def _may_sign(one: _Judged, patterns: tuple[str, ...]) -> bool:
    return any(not patterns or is_allowed(principals, patterns) for principals in one.principals)


def _distinct(judged: tuple[_Judged, ...]) -> tuple[_Judged, ...]:
    return tuple({one.key: one for one in judged}.values())


def _too_few(
    judged: tuple[_Judged, ...], service: str, patterns: tuple[str, ...], required: int, store: TrustStore
) -> Refusal:
    """The most telling reason why too few signatures count."""
    if not store.signers:
        return Refusal("cannot trust any package: no signer is known to this device", code="trust.no_signers")
    if not judged:
        return Refusal("cannot trust the package: it is not signed", code="trust.unsigned")
    reasons = [one.shown.problem or _not_for(one, service) for one in judged if not _may_sign(one, patterns)]
    if count := len(_counting(judged, patterns)):
        text = f"cannot trust the package: it has {count} of the {required} signatures by distinct keys that it needs"
        reasons.append(Refusal(text, code="trust.too_few_signatures"))
    return min(reasons, key=lambda reason: _MOST_TELLING.index(reason.code))


def _not_for(one: _Judged, service: str) -> Refusal:
    text = f"cannot count the signature by {one.shown.principals}: they may not sign for {service}"
    return Refusal(text, code="trust.not_for_service")
