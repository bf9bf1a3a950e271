"""allowed_signers and revoked_keys: what a line means, and that one mistake makes the file useless and is named."""

import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caissond.errors import Refusal
from caissond.package.signers import MAX_LINES, Signer, parse_allowed_signers, parse_revoked_keys
from caissond.package.trust import parse_trust_store
from fixtures.signatures import ecdsa, ed25519, rsa_key, sk_ed25519, typed

KEY = ed25519().line


def only(text: str) -> Signer:
    parsed = parse_allowed_signers(text)
    assert (parsed.mistakes, len(parsed.signers)) == ((), 1)
    return parsed.signers[0]


def mistake(text: str) -> tuple[int, str, str]:
    (found,) = parse_allowed_signers(text).mistakes
    return found.line, found.code, found.text


def test_a_line_with_everything() -> None:
    text = (
        f'"alice@example.com,*@lab.example.com" namespaces="file,caisson-*",valid-after="20250102Z",'
        f'VALID-BEFORE="202601020304Z"\t{KEY} alice\'s laptop'
    )
    signer = only(text)
    assert signer.principals == "alice@example.com,*@lab.example.com"
    assert signer.key.fingerprint == ed25519().fingerprint
    assert signer.namespaces == "file,caisson-*"
    assert signer.valid_after == datetime(2025, 1, 2, tzinfo=UTC)
    assert signer.valid_before == datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def test_comments_and_blank_lines_say_nothing_and_count_as_lines() -> None:
    signer = only(f"# alice\r\n\n \t\n  # x\n \talice {KEY}\r\n")
    assert (signer.line, signer.principals) == (5, "alice")


@pytest.mark.parametrize("key", [ed25519(), ecdsa(), rsa_key(), sk_ed25519()], ids=lambda key: key.key_type)
def test_every_kind_of_key_is_read(key: object) -> None:
    assert only(f"alice {key.line}\n").key.blob == key.blob  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("alice", "the key is missing"),
        ("alice ", "the key is missing"),
        (KEY, "the principals are missing in front of the key"),
        (f'"alice {KEY}', "the quote around the principals is not closed"),
        (f'al"ice" {KEY}', "a quote stands in the middle"),
        (f'"alice"x {KEY}', "the quote around the principals is not closed"),
        (f"alice,,bob {KEY}", "the principals are empty or hold an empty name"),
        (f'"" {KEY}', "the principals are empty"),
        (f"!alice {KEY}", "the principals are empty"),
        (f"alice, {KEY}", "hold an empty name"),
        (f"ali\u202ece {KEY}", "characters that cannot be seen"),
        (f"ali\0ce {KEY}", "characters that cannot be seen"),
        (f"ali\ufffdce {KEY}", "not UTF-8"),
        ("alice ssh-ed25519", "expected options or a public key, found 'ssh-ed25519'"),
        ("alice ssh-ed25519 !!!!", "expected options or a public key"),
        (f"alice {KEY[:-4]}", "expected options or a public key"),
        (f"alice ssh-rsa {KEY.split()[1]}", "says that it is ssh-ed25519, the line says 'ssh-rsa'"),
        ("alice ssh-future AAAACnNzaC1mdXR1cmU=", "'ssh-future' is no type of key"),
        (f"alice unknown {KEY}", "there is no option 'unknown'"),
        (f'alice unknown="x" {KEY}', "there is no option 'unknown'"),
        (f"alice namespaces {KEY}", 'namespaces needs a value: namespaces="…"'),
        (f"alice namespaces=x {KEY}", "expected a key or options, found 'namespaces=x'"),
        (f'alice namespaces="x {KEY}', "expected a key or options"),
        (f'alice namespaces="" {KEY}', "namespaces names none"),
        (f'alice namespaces="!x" {KEY}', "namespaces names none"),
        (f'alice namespaces="x",namespaces="x" {KEY}', "namespaces stands there twice"),
        (f'alice namespaces="x", {KEY}', "expected a key or options"),
        (f'alice ,namespaces="x" {KEY}', "expected a key or options"),
        ('alice namespaces="x"', "the key is missing"),
        (f'alice namespaces="x" namespaces="x" {KEY}', "expected a public key"),
        (f'alice valid-after="2025" {KEY}', "expected YYYYMMDD or YYYYMMDDHHMM[SS], and Z for UTC"),
        (f'alice valid-after="20250231Z" {KEY}', "there is no such time"),
        (f'alice valid-after="19700101Z" {KEY}', "it must be after 1970"),
        (f'alice valid-after="٢٠٢٥٠١٠١" {KEY}', "expected YYYYMMDD"),
        (f'alice valid-after="20250101Z",valid-before="20250101Z" {KEY}', "valid-before is not later"),
    ],
)  # fmt: skip
def test_mistake_is_named_with_its_line(line: str, why: str) -> None:
    number, code, text = mistake(f"# first\nbob {ecdsa().line}\n{line}\ncarol {ecdsa().line}\n")
    assert (number, code) == (3, "trust.invalid_signers")
    assert why in text


def test_certificate_authority_is_refused_clearly() -> None:
    assert mistake(f"*@example.com cert-authority {KEY}")[1:] == (
        "trust.cert_authority",
        "cert-authority is not supported: name the signers' own keys",
    )


def test_one_mistake_makes_nobody_trusted() -> None:
    with pytest.raises(
        Refusal, match="cannot trust anybody: allowed_signers, line 2: the key is missing"
    ) as caught:
        parse_trust_store(f"alice {KEY}\nbob\n", b"")
    assert caught.value.code == "trust.invalid_signers"


@pytest.mark.parametrize("key", [ecdsa(curve="nistp384"), rsa_key(2048)], ids=["p384", "rsa2048"])
def test_key_of_another_kind_is_passed_over_and_told(key: object) -> None:
    parsed = parse_allowed_signers(f"bob {key.line}\nalice {KEY}\n")  # type: ignore[attr-defined]
    assert [signer.principals for signer in parsed.signers] == ["alice"]
    assert [(one.line, one.code) for one in parsed.passed_over] == [(1, "trust.unsupported_key")]
    assert parsed.mistakes == ()


def test_endless_file_is_a_mistake() -> None:
    assert mistake("\n" * (MAX_LINES + 1))[1:] == ("trust.invalid_signers", "there are more than 10000 lines")
    assert parse_allowed_signers("#\n" * MAX_LINES).mistakes == ()
    assert len(parse_revoked_keys(b"\n" * (MAX_LINES + 1)).mistakes) == 1


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("20250101", datetime(2024, 12, 31, 23, tzinfo=UTC)),
        ("20250701", datetime(2025, 6, 30, 23, tzinfo=UTC)),  # in standard time, as OpenSSH has it
        ("20250701Z", datetime(2025, 7, 1, tzinfo=UTC)),
        ("202507010203z", datetime(2025, 7, 1, 2, 3, tzinfo=UTC)),
        ("20250701020304UTC", datetime(2025, 7, 1, 2, 3, 4, tzinfo=UTC)),
    ],
)
def test_date_is_in_the_devices_zone_unless_it_ends_in_z(written: str, moment: datetime) -> None:
    assert only(f'alice valid-before="{written}" {KEY}').valid_before == moment


def test_revoked_keys_are_public_keys_one_a_line() -> None:
    content = f"# stolen\n\n{KEY} alice\r\n  {ecdsa(curve='nistp384').line}\n".encode()
    parsed = parse_revoked_keys(content)
    assert parsed.revoked == {ed25519().blob, ecdsa(curve="nistp384").blob}
    assert parsed.mistakes == ()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"SSHKRL\n\0" + bytes(40), "trust.binary_krl"),
        (b"nonsense\n", "trust.invalid_revoked_keys"),
        (b"\xff\xfe\n", "trust.invalid_revoked_keys"),
        (b"\0\n", "trust.invalid_revoked_keys"),
        (b"SHA256:abc\n", "trust.invalid_revoked_keys"),
        (KEY[:-4].encode(), "trust.invalid_revoked_keys"),
        (b"alice " + KEY.encode(), "trust.invalid_revoked_keys"),
    ],
)
def test_revoked_keys_that_cannot_be_read_trust_nobody(content: bytes, code: str) -> None:
    with pytest.raises(Refusal, match="cannot trust anybody: revoked_keys, line 1") as caught:
        parse_trust_store(f"alice {KEY}", content)
    assert caught.value.code == code


@given(st.text(), st.binary())
def test_no_files_at_all_raise_anything_but_a_refusal(signers: str, revoked: bytes) -> None:
    for text in (
        signers,
        f"alice {signers}",
        f"alice {signers} {KEY}",
        f'alice namespaces="{signers}" {KEY}',
    ):
        with suppress(Refusal):
            parse_trust_store(text, revoked)


def test_unreadable_blob_types_do_not_raise() -> None:
    assert parse_revoked_keys(b"ssh-dss " + b"AAAAB3NzaC1kc3M=").revoked == {typed("ssh-dss")}
