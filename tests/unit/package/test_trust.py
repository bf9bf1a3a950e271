"""Whom a package is trusted from: what counts, what counts for nothing, and what refuses whatever stands beside it."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caissond.errors import Refusal
from caissond.package.trust import (
    Signature,
    TrustStore,
    TrustTime,
    check_signatures,
    parse_trust_store,
    read_signatures,
)
from fixtures.signatures import Key, armor, ecdsa, ed25519, rsa_key, sk_ed25519, sshsig_blob, typed

CONTENT = b"format_version = 2\n"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
FLOOR = datetime(2026, 1, 1, tzinfo=UTC)
TIME = TrustTime(NOW, FLOOR)
ALICE, BOB, MALLORY = ed25519("alice"), ecdsa("bob"), ed25519("mallory")
STORE = parse_trust_store(f"alice@x {ALICE.line}\nbob@x {BOB.line}\n", b"")
SIGNED = ALICE.sshsig(CONTENT)


def check(
    signatures: bytes = SIGNED,
    store: TrustStore = STORE,
    *,
    content: bytes = CONTENT,
    time: TrustTime = TIME,
    services: Mapping[str, tuple[str, ...]] | None = None,
    required: int = 1,
    allow_unsigned: bool = False,
) -> tuple[Signature, ...]:
    return check_signatures(
        content, signatures, store, time=time, services={"frontend": ()} if services is None else services,
        required=required, allow_unsigned=allow_unsigned,
    )  # fmt: skip


def code(
    signatures: bytes = SIGNED,
    store: TrustStore = STORE,
    *,
    content: bytes = CONTENT,
    time: TrustTime = TIME,
    services: Mapping[str, tuple[str, ...]] | None = None,
    required: int = 1,
    allow_unsigned: bool = False,
) -> str:
    """Of the refusal."""
    with pytest.raises(Refusal) as caught:
        check(
            signatures, store, content=content, time=time, services=services, required=required,
            allow_unsigned=allow_unsigned,
        )  # fmt: skip
    return caught.value.code


def store_of(key: Key, options: str = "", principals: str = "alice@x", revoked: str = "") -> TrustStore:
    return parse_trust_store(f"{principals} {options} {key.line}\n", revoked.encode())


@pytest.mark.parametrize(
    "key", [ALICE, BOB, rsa_key(), rsa_key(4096), sk_ed25519()], ids=["ed25519", "p256", "rsa", "4096", "sk"]
)
def test_signature_of_somebody_trusted_counts(key: Key) -> None:
    (counting,) = check(key.sshsig(CONTENT), store_of(key))
    assert counting == Signature("alice@x", key.fingerprint, key.key_type, None)


def test_unsigned_package_is_refused() -> None:
    assert code(b"") == "trust.unsigned"


@pytest.mark.parametrize("signatures", [b"", SIGNED])
def test_device_that_trusts_nobody_says_so(signatures: bytes) -> None:
    assert code(signatures, TrustStore()) == "trust.no_signers"


@pytest.mark.parametrize("signatures", [b"", MALLORY.sshsig(CONTENT)], ids=["unsigned", "stranger"])
@pytest.mark.parametrize("store", [STORE, TrustStore()], ids=["signers", "nobody"])
def test_unsigned_package_comes_in_where_that_is_allowed(signatures: bytes, store: TrustStore) -> None:
    assert check(signatures, store, allow_unsigned=True, required=2) == ()


def test_stranger_counts_for_nothing() -> None:
    assert code(MALLORY.sshsig(CONTENT)) == "trust.unknown_signer"
    assert len(check(MALLORY.sshsig(CONTENT) + SIGNED)) == 1


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (b"garbage", "trust.malformed_signature"),
        (ALICE.sshsig(CONTENT, trailing=b"x"), "trust.malformed_signature"),
        (MALLORY.sshsig(CONTENT, hash_name="sha1"), "trust.malformed_signature"),
        (ALICE.sshsig(CONTENT, namespace="file"), "trust.wrong_namespace"),
        (MALLORY.sshsig(CONTENT, namespace="git"), "trust.wrong_namespace"),
        (ALICE.sshsig(b"other"), "trust.bad_signature"),
        (MALLORY.sshsig(b"other"), "trust.bad_signature"),
        (BOB.sshsig(CONTENT, key_blob=ecdsa("carol").blob), "trust.bad_signature"),
        (rsa_key(2048).sshsig(b"other"), "trust.bad_signature"),
    ],
)
@pytest.mark.parametrize("allow_unsigned", [False, True])
def test_bad_signature_refuses_whatever_stands_beside_it(
    bad: bytes, expected: str, allow_unsigned: bool
) -> None:
    for signatures in (bad, SIGNED + bad):
        assert code(signatures, allow_unsigned=allow_unsigned) == expected


@pytest.mark.parametrize("allow_unsigned", [False, True])
def test_revoked_key_refuses_whatever_stands_beside_it(allow_unsigned: bool) -> None:
    for revoked, signatures in (
        (ALICE, SIGNED + BOB.sshsig(CONTENT)),
        (MALLORY, SIGNED + MALLORY.sshsig(CONTENT)),
    ):
        store = TrustStore(STORE.signers, frozenset({revoked.blob}))
        assert code(signatures, store, allow_unsigned=allow_unsigned) == "trust.revoked"
    assert len(check(SIGNED, TrustStore(STORE.signers, frozenset({BOB.blob})))) == 1


@pytest.mark.parametrize("key", [ecdsa(curve="nistp384"), rsa_key(2048)], ids=["p384", "rsa2048"])
def test_key_of_a_kind_that_is_not_used_counts_for_nothing(key: Key) -> None:
    assert code(key.sshsig(CONTENT)) == "trust.unsupported_key"
    assert len(check(key.sshsig(CONTENT) + SIGNED)) == 1


# several keys


def test_threshold_counts_distinct_keys() -> None:
    assert code(SIGNED + SIGNED, required=2) == "trust.too_few_signatures"
    assert code(SIGNED + MALLORY.sshsig(CONTENT), required=2) == "trust.too_few_signatures"
    both = check(SIGNED + BOB.sshsig(CONTENT) + SIGNED, required=2)
    assert [one.principals for one in both] == ["alice@x", "bob@x"]


@pytest.mark.parametrize("required", [0, -1])
def test_no_threshold_lets_an_unsigned_package_in(required: int) -> None:
    assert code(b"", required=required) == "trust.unsigned"


def test_key_that_stands_twice_counts_by_the_line_that_lets_it() -> None:
    lines = f'old valid-before="20200101Z" {ALICE.line}\nalice {ALICE.line}\n'
    (counting,) = check(SIGNED, parse_trust_store(lines, b""), services={"a": ("alice",)})
    assert counting.principals == "alice"
    assert code(SIGNED, parse_trust_store(lines, b""), services={"a": ("old",)}) == "trust.not_for_service"


# services


def test_signer_has_to_be_allowed_for_every_service() -> None:
    assert len(check(services={"a": ("alice@*",), "b": ()})) == 1
    assert code(services={"a": ("alice@*",), "b": ("bob@x",)}) == "trust.not_for_service"


def test_services_may_have_signers_of_their_own() -> None:
    services = {"a": ("alice@x",), "b": ("bob@x",)}
    both = SIGNED + BOB.sshsig(CONTENT)
    assert len(check(both, services=services)) == 2
    assert code(both, services=services, required=2) == "trust.not_for_service"


def test_package_that_changes_no_service_needs_a_signature_too() -> None:
    assert len(check(services={})) == 1
    assert code(MALLORY.sshsig(CONTENT), services={}) == "trust.unknown_signer"
    assert code(b"", services={}) == "trust.unsigned"


@pytest.mark.parametrize(
    ("namespaces", "counts"), [("caisson-*", True), ("file", False), ("*,!caisson-package", False)]
)
def test_signer_for_other_things_does_not_count(namespaces: str, counts: bool) -> None:
    store = store_of(ALICE, f'namespaces="{namespaces}"')
    if counts:
        assert len(check(store=store)) == 1
    else:
        assert code(store=store) == "trust.wrong_namespace"


# time

LIMIT = datetime(2026, 3, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def test_key_is_good_up_to_its_last_second() -> None:
    store = store_of(ALICE, 'valid-before="20260301Z"')
    assert len(check(store=store, time=TrustTime(LIMIT + 0.9 * SECOND, FLOOR))) == 1
    assert code(store=store, time=TrustTime(LIMIT + SECOND, FLOOR)) == "trust.expired"


def test_key_is_good_from_its_first_second() -> None:
    store = store_of(ALICE, 'valid-after="20260301Z"')
    assert len(check(store=store, time=TrustTime(LIMIT, FLOOR))) == 1
    assert code(store=store, time=TrustTime(LIMIT - SECOND, FLOOR)) == "trust.not_yet_valid"


def test_clock_at_1970_blocks_nothing() -> None:
    time = TrustTime(datetime(1970, 1, 1, tzinfo=UTC), FLOOR)
    assert len(check(store=store_of(ALICE, 'valid-after="20260301Z"'), time=time)) == 1
    assert len(check(store=store_of(ALICE, 'valid-before="20260301Z"'), time=time)) == 1


def test_clock_at_1970_revives_no_expired_key() -> None:
    time = TrustTime(datetime(1970, 1, 1, tzinfo=UTC), LIMIT + SECOND)
    assert code(store=store_of(ALICE, 'valid-before="20260301Z"'), time=time) == "trust.expired"


def test_expired_key_does_not_spoil_what_others_signed() -> None:
    store = parse_trust_store(f'alice valid-before="20200101Z" {ALICE.line}\nbob {BOB.line}\n', b"")
    assert [one.principals for one in check(SIGNED + BOB.sshsig(CONTENT), store)] == ["bob"]
    assert check(SIGNED, store, allow_unsigned=True) == ()


# what is told


def test_most_telling_reason_is_told() -> None:
    store = parse_trust_store(f'alice valid-before="20200101Z" {ALICE.line}\nbob {BOB.line}\n', b"")
    stranger, weak = MALLORY.sshsig(CONTENT), rsa_key(2048).sshsig(CONTENT)
    assert code(stranger + SIGNED, store) == "trust.expired"
    assert code(BOB.sshsig(CONTENT) + SIGNED, store, required=2) == "trust.expired"
    assert code(BOB.sshsig(CONTENT) + stranger, store, required=2) == "trust.too_few_signatures"
    assert code(stranger + weak, store) == "trust.unsupported_key"


def test_each_signature_is_shown_with_what_is_wrong_with_it() -> None:
    shown = read_signatures(CONTENT, SIGNED + MALLORY.sshsig(CONTENT) + BOB.sshsig(b"x"), STORE, TIME)
    assert [(one.principals, one.fingerprint) for one in shown] == [
        ("alice@x", ALICE.fingerprint), ("", MALLORY.fingerprint), ("bob@x", BOB.fingerprint),
    ]  # fmt: skip
    codes = [one.problem.code if one.problem else "" for one in shown]
    assert codes == ["", "trust.unknown_signer", "trust.bad_signature"]


def test_what_is_no_signature_is_shown_as_one_with_a_problem() -> None:
    (shown,) = read_signatures(CONTENT, b"garbage", STORE, TIME)
    assert (shown.fingerprint, shown.problem is not None) == ("", True)
    assert read_signatures(CONTENT, b"", STORE, TIME) == ()


KINDS = [ALICE, BOB, rsa_key(), sk_ed25519()]
ALL = parse_trust_store("".join(f"all {key.line}\n" for key in KINDS), b"")


@given(st.sampled_from(KINDS), st.integers(0, 2000), st.binary(max_size=6), st.integers(0, 6))
def test_no_changed_signature_counts(key: Key, position: int, inserted: bytes, removed: int) -> None:
    blob = sshsig_blob(key, CONTENT)
    position %= len(blob)
    changed = blob[:position] + inserted + blob[position + removed :]
    (shown,) = read_signatures(CONTENT, armor(changed), ALL, TIME)
    assert (shown.problem is None) == (changed == blob)


@given(st.binary(max_size=300), st.sampled_from([b"", SIGNED]))
def test_no_bytes_at_all_count_or_raise_anything_but_a_refusal(content: bytes, beside: bytes) -> None:
    for signatures in (content, armor(content), armor(b"SSHSIG\0\0\0\1" + typed(ALICE.key_type) + content)):
        if signatures:
            assert code(beside + signatures).startswith("trust.")
