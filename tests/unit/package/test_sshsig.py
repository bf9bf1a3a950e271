"""SSHSIG: what is read, what is refused and why, and that no bytes at all end in anything but a refusal."""

import subprocess
import sys
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caissond.errors import Refusal
from caissond.package.ssh_keys import (
    OTHER_KEY_TYPES,
    Malformed,
    Reader,
    UnsupportedKey,
    parse_public_key,
    put_mpint,
    put_string,
)
from caissond.package.sshsig import (
    MAX_SIGNATURES,
    MAX_SIGNATURES_BYTES,
    armored,
    parse_signature,
    signed_message,
    split_signatures,
)
from fixtures.signatures import Key, armor, ecdsa, ed25519, rsa_key, sk_ed25519, sshsig_blob, typed

CONTENT = b"format_version = 2\n"
KINDS = [ed25519(), ecdsa(), rsa_key(), sk_ed25519()]
by_kind = pytest.mark.parametrize("key", KINDS, ids=lambda key: key.key_type)


def check(signatures: bytes, content: bytes = CONTENT) -> None:
    for blob in split_signatures(signatures):
        parse_signature(blob).check(content)


@by_kind
@pytest.mark.parametrize("hash_name", ["sha256", "sha512"])
def test_good_signature_is_good(key: Key, hash_name: str) -> None:
    signature = parse_signature(sshsig_blob(key, CONTENT, hash_name=hash_name))
    signature.check(CONTENT)
    assert (signature.key.key_type, signature.key.fingerprint) == (key.key_type, key.fingerprint)


@by_kind
def test_signature_of_other_content_is_bad(key: Key) -> None:
    with pytest.raises(Refusal) as caught:
        check(key.sshsig(CONTENT), CONTENT + b" ")
    assert caught.value.code == "trust.bad_signature"
    assert key.fingerprint in caught.value.message


@by_kind
def test_written_as_ssh_keygen_writes_it(key: Key) -> None:
    message = signed_message(CONTENT, "caisson-package", "sha512")
    signature = key.sign(message)
    assert armored(key.blob, signature) == armor(sshsig_blob(key, CONTENT, signature=signature))


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"magic": b"SSHSIg"}, "does not begin with SSHSIG"),
        ({"version": 0}, "of version 0, expected 1"),
        ({"version": 2}, "of version 2, expected 1"),
        ({"reserved": b"x"}, "reserved field is not empty"),
        ({"hash_name": "sha1"}, "hash is 'sha1', expected sha256 or sha512"),
        ({"hash_name": "sha384"}, "hash is 'sha384'"),
        ({"namespace": "a\nb"}, "characters that cannot be seen"),
        ({"namespace": "a" * 256}, "a field of 256 bytes is too long"),
        ({"trailing": b"xyz"}, "3 bytes stand behind its end"),
        ({"key_blob": b""}, "ends too early"),
        ({"key_blob": typed("ssh-rot13", b"x")}, "'ssh-rot13' is no type of key"),
        ({"key_blob": typed("ssh-ed25519", bytes(31))}, "an ed25519 key has 31 bytes, expected 32"),
        ({"key_blob": ed25519().blob + b"x"}, "1 bytes stand behind its end"),
        ({"key_blob": typed("ecdsa-sha2-nistp256", b"nistp384", bytes(65))}, "expected 'nistp256'"),
        ({"key_blob": typed("ecdsa-sha2-nistp256", b"nistp256", b"\2" + bytes(32))}, "an uncompressed point has 33"),
        ({"key_blob": typed("ecdsa-sha2-nistp256", b"nistp256", b"\4" + bytes(64))}, "not on the curve"),
        ({"key_blob": typed("ssh-rsa", b"\1", b"\0" + b"\xff" * 2049)}, "is too long"),
        ({"key_blob": typed("ssh-rsa", b"\3", b"\1" + bytes(60))}, "an RSA key of 481 bits"),
        ({"key_blob": typed("ssh-rsa", b"\1" * 9, b"\1" + bytes(400))}, "an exponent of 65"),
        ({"key_blob": typed("ssh-rsa", b"\2", b"\1" + bytes(400))}, "RSA numbers are impossible"),
        ({"key_blob": typed("ssh-rsa", b"\0\3", b"\1" + bytes(400))}, "zeros in front"),
        ({"key_blob": typed("ssh-rsa", b"\3", b"\xff" * 400)}, "is negative"),
        ({"signature": b""}, "ends too early"),
        ({"signature": typed("ssh-rsa", bytes(64))}, "type 'ssh-rsa', expected 'ssh-ed25519'"),
        ({"signature": typed("ssh-ed25519", bytes(63))}, "an ed25519 signature has 63 bytes, expected 64"),
        ({"signature": typed("ssh-ed25519", bytes(64)) + b"x"}, "1 bytes stand behind its end"),
    ],
)  # fmt: skip
def test_malformed_signature_says_what_is_wrong(fields: dict[str, object], why: str) -> None:
    with pytest.raises(Refusal) as caught:
        check(ed25519().sshsig(CONTENT, **fields))
    assert caught.value.code == "trust.malformed_signature"
    assert why in caught.value.message


@pytest.mark.parametrize("key_type", sorted(OTHER_KEY_TYPES))
def test_key_that_only_openssh_knows_is_not_called_malformed(key_type: str) -> None:
    signature = parse_signature(sshsig_blob(ed25519(), CONTENT, key_blob=typed(key_type, b"whatever")))
    with pytest.raises(UnsupportedKey, match=key_type):
        signature.check(CONTENT)


def test_rsa_key_below_3072_bits_is_checked_and_then_not_used() -> None:
    weak = rsa_key(2048)
    with pytest.raises(UnsupportedKey, match="2048 bits is too short, at least 3072"):
        check(weak.sshsig(CONTENT))
    with pytest.raises(Refusal, match="not of this manifest"):
        check(weak.sshsig(CONTENT), b"other")


def test_rsa_sha2_256_is_refused_although_ssh_keygen_takes_it() -> None:
    with pytest.raises(Refusal, match="'rsa-sha2-256', expected 'rsa-sha2-512'"):
        check(rsa_key(hash_name="sha2-256").sshsig(CONTENT))


def test_security_key_needs_the_flags_and_counter_that_it_signed() -> None:
    key = sk_ed25519(flags=5, counter=99)
    message = signed_message(CONTENT, "caisson-package", "sha512")
    signature = key.sign(message)
    check(key.sshsig(CONTENT))
    for changed in (signature[:-1] + b"\0", signature[:-5] + b"\1" + signature[-4:]):
        with pytest.raises(Refusal, match="not of this manifest"):
            check(key.sshsig(CONTENT, signature=changed))


def test_several_signatures_stand_one_behind_the_other() -> None:
    both = ed25519().sshsig(CONTENT) + ecdsa().sshsig(CONTENT)
    assert [parse_signature(blob).key.key_type for blob in split_signatures(both)] == [
        "ssh-ed25519",
        "ecdsa-sha2-nistp256",
    ]
    assert split_signatures(b"") == ()


GOOD = ed25519().sshsig(CONTENT)


@pytest.mark.parametrize(
    "signatures",
    [
        b"\n", b"x", GOOD + b"x", b"\n" + GOOD, GOOD + b"\n" + GOOD, GOOD[:-1], GOOD[:-1] + GOOD, GOOD.lower(),
        GOOD.replace(b"\n", b"\r\n"), GOOD.replace(b"U1NI", b"U1 NI"), GOOD.replace(b"U1NI", b"U1N\n"),
        GOOD.replace(b"=\n", b"==\n"), GOOD.replace(b"U1NI", b"=1NI"), GOOD.replace(b"U1NI", b"U1N\xe9"),
        armor(sshsig_blob(ed25519(), CONTENT), width=77), armor(b""),
    ],
)  # fmt: skip
def test_armor_has_one_form_only(signatures: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        split_signatures(signatures)
    assert caught.value.code == "trust.malformed_signature"


def test_stray_bits_behind_the_base64_are_refused() -> None:
    assert b"8A==" in armor(b"\xf0")
    with pytest.raises(Refusal, match="stray bits"):
        split_signatures(armor(b"\xf0").replace(b"8A==", b"8B=="))


def test_more_signatures_than_anybody_needs_are_refused() -> None:
    assert len(split_signatures(GOOD * MAX_SIGNATURES)) == MAX_SIGNATURES
    with pytest.raises(Refusal, match="more than 16 signatures"):
        split_signatures(GOOD * (MAX_SIGNATURES + 1))
    with pytest.raises(Refusal, match="at most 65536 are allowed"):
        split_signatures(GOOD[:-1] + b"x" * MAX_SIGNATURES_BYTES)


@pytest.mark.parametrize("number", [0, 1, 127, 128, 255, 256, 2**255, 2**256 - 1])
def test_number_comes_back_as_it_was_written(number: int) -> None:
    reader = Reader(put_mpint(number))
    assert reader.mpint() == number
    reader.end()


@pytest.mark.parametrize("written", [b"\0", b"\0\1", b"\0\0\xff", b"\x80", b"\xff"])
def test_number_has_one_form_only(written: bytes) -> None:
    with pytest.raises(Malformed):
        Reader(put_string(written)).mpint()


@given(st.binary(max_size=400))
def test_no_bytes_at_all_raise_anything_but_a_refusal(content: bytes) -> None:
    for attempt in (content, armor(content), armor(b"SSHSIG\0\0\0\1" + content), GOOD + content):
        with suppress(Refusal, UnsupportedKey):
            check(attempt)


@given(st.binary(max_size=200))
def test_no_bytes_at_all_are_a_key_or_raise_anything_but_malformed(content: bytes) -> None:
    for key_type in ("ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa", "sk-ssh-ed25519@openssh.com"):
        for blob in (content, typed(key_type) + content):
            try:
                assert parse_public_key(blob).blob == blob
            except Malformed:
                continue


def test_who_waits_for_a_package_has_not_imported_the_arithmetic() -> None:
    line = f"ada {ed25519().line}"
    program = (
        "import sys, caissond.daemon; from caissond.package.signers import parse_allowed_signers; "
        f"print(len(parse_allowed_signers({line!r}).signers), 'cryptography' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["1", "False"]
