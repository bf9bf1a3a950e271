"""`trust list`, `check` and `reset-time`: whom the device trusts, every mistake with its line, and the time."""

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from caissond import BUILD_DATE
from caissond.store.database import Database
from caissond.store.lock import hold_lock
from caissond.store.releases import Releases
from fixtures.signatures import ecdsa, ed25519, rsa_key
from tests.unit.cli.command import CATALOG, Command

ALICE, BOB = ed25519("alice"), ecdsa("bob")
FAR = datetime(2099, 1, 1, tzinfo=UTC)


@pytest.fixture
def signers(caisson: Command) -> Path:
    """A device with two signers and one revoked key."""
    caisson.paths.allowed_signers.write_text(
        f'alice@example.com,!eve@example.com namespaces="caisson-*",valid-before="20990101Z" {ALICE.line} laptop\n'
        f'# and\nbob {BOB.line}\nalice valid-after="20250101Z",valid-before="20260101Z" {ALICE.line}\n'
    )
    caisson.paths.revoked_keys.write_text(f"{BOB.line}\n")
    return caisson.paths.allowed_signers


def write_floor(caisson: Command, floor: datetime) -> None:
    database = Database(caisson.paths.database)
    Releases(database).save_time_floor(floor)
    database.close()


def codes(answer_json: dict[str, list[dict[str, str]]], kind: str) -> list[str]:
    return [problem["code"] for problem in answer_json[kind]]


@pytest.mark.usefixtures("signers")
def test_signers_are_listed_with_what_they_are_worth(caisson: Command) -> None:
    answer = caisson("trust", "list")
    assert (answer.code, answer.err) == (0, "")
    head, *rows = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in answer.lines]
    assert head == ["PRINCIPALS", "TYPE", "FINGERPRINT", "VALID", "NAMESPACES", "SERVICES", "STATUS"]
    assert rows == [
        ["alice@example.com,!eve@example.com", "ssh-ed25519", ALICE.fingerprint, "until 2099-01-01T00:00:00Z",
         "caisson-*", "frontend, backend", "ok"],
        ["bob", "ecdsa-sha2-nistp256", BOB.fingerprint, "always", "any", "frontend, backend", "revoked"],
        ["alice", "ssh-ed25519", ALICE.fingerprint, "from 2025-01-01T00:00:00Z until 2026-01-01T00:00:00Z", "any",
         "frontend, backend", "expired"],
    ]  # fmt: skip


@pytest.mark.usefixtures("signers")
def test_signers_are_listed_for_scripts(caisson: Command) -> None:
    caisson.paths.services.write_text(
        CATALOG.replace('runtime_mode = "docker"', 'runtime_mode = "docker"\nsigners = ["*@example.com"]')
    )
    first, bob, _ = caisson("trust", "list", "--json").json
    assert first == {
        "line": 1, "principals": "alice@example.com,!eve@example.com", "key_type": "ssh-ed25519",
        "fingerprint": ALICE.fingerprint, "valid_after": None, "valid_before": "2099-01-01T00:00:00+00:00",
        "namespaces": "caisson-*", "services": ["frontend", "backend"], "status": "ok",
    }  # fmt: skip
    assert bob["services"] == ["backend"]


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ('namespaces="file"', "wrong_namespace"), ('valid-after="20990101Z"', "not_yet_valid"),
        ('valid-before="20200101Z"', "expired"), ("", "ok"),
    ],
)  # fmt: skip
def test_status_says_whether_a_signature_would_count_now(caisson: Command, options: str, status: str) -> None:
    caisson.paths.allowed_signers.write_text(f"alice {options} {ALICE.line}\n")
    (one,) = caisson("trust", "list", "--json").json
    assert one["status"] == status


def test_device_that_trusts_nobody_says_so(caisson: Command) -> None:
    assert caisson("trust", "list").out == "Nobody is trusted: there are no allowed signers.\n"
    answer = caisson("trust", "check", "--json")
    assert (answer.code, codes(answer.json, "warnings")) == (0, ["trust.no_signers"])


@pytest.mark.parametrize("words", ["trust list", "trust check", "trust check --json"])
@pytest.mark.usefixtures("signers")
def test_looking_makes_nothing(caisson: Command, words: str) -> None:
    before = sorted(caisson.root.rglob("*"))
    caisson(*words.split())
    assert sorted(caisson.root.rglob("*")) == before


def test_files_without_a_mistake_are_fine(caisson: Command) -> None:
    caisson.paths.allowed_signers.write_text(f"alice {ALICE.line}\n")
    caisson.paths.revoked_keys.write_text(f"{BOB.line}\n")
    answer = caisson("trust", "check")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == "No mistakes. Allowed signers: 1, revoked keys: 1.\n"


def test_every_mistake_is_told_with_its_line_and_what_to_do(caisson: Command) -> None:
    caisson.paths.allowed_signers.write_text(f"alice\nbob {BOB.line}\n* cert-authority {ALICE.line}\n")
    caisson.paths.revoked_keys.write_text("nonsense\n")
    answer = caisson("trust", "check")
    assert answer.code == 2
    assert answer.err.splitlines() == [
        "error: cannot trust anybody: allowed_signers, line 1: the key is missing [trust.invalid_signers, E-420]",
        "hint:  correct the line; caisson trust check shows all mistakes",
        "error: cannot trust anybody: allowed_signers, line 3: cert-authority is not supported: name the signers' own "
        "keys [trust.cert_authority, E-421]",
        "hint:  name the public keys of the signers themselves",
        "error: cannot trust anybody: revoked_keys, line 1: expected a public key, found 'nonsense': it ends too early "
        "[trust.invalid_revoked_keys, E-422]",
        "hint:  correct the line; caisson trust check shows all mistakes",
    ]
    assert answer.out == "Mistakes: 3. Every package is refused until they are corrected.\n"
    assert caisson("trust", "list").code == 2


def test_file_that_cannot_be_read_is_a_mistake(caisson: Command) -> None:
    caisson.paths.revoked_keys.mkdir()
    answer = caisson("trust", "check", "--json")
    assert (answer.code, codes(answer.json, "mistakes")) == (2, ["trust.unreadable"])


def test_what_is_passed_over_is_a_warning(caisson: Command) -> None:
    caisson.paths.allowed_signers.write_text(f"bob {BOB.line}\nalice {rsa_key(2048).line}\n")
    answer = caisson("trust", "check")
    assert (answer.code, answer.err.splitlines()) == (
        0,
        [
            "warning: passing over allowed_signers, line 2: an RSA key of 2048 bits is too short, at least 3072 are "
            "expected [trust.unsupported_key, E-406]",
            "hint:    sign with an ed25519, sk-ed25519, ECDSA P-256 or RSA key of 3072 bits or more",
        ],
    )


@pytest.mark.parametrize("what", ["allowed_signers", "etc/caisson", "services.toml"])
@pytest.mark.usefixtures("signers")
def test_file_that_others_may_write_is_a_warning(caisson: Command, what: str) -> None:
    folder = caisson.paths.allowed_signers.parent
    path = folder if "/" in what else folder / what
    path.chmod(path.stat().st_mode | 0o020)
    warnings = caisson("trust", "check", "--json").json["warnings"]
    assert {"code": "trust.writable_by_others", "message": f"others may write to {path}"} in warnings


def test_clock_behind_the_newest_release_is_a_warning(caisson: Command) -> None:
    caisson.paths.allowed_signers.write_text(f"alice {ALICE.line}\n")
    write_floor(caisson, FAR)
    answer = caisson("trust", "check", "--json")
    assert (answer.code, codes(answer.json, "warnings")) == (0, ["trust.clock_behind"])
    assert "it is 2099-01-01T00:00:00+00:00 or later" in answer.json["warnings"][0]["message"]


def test_service_that_nobody_can_sign_for_is_a_warning(caisson: Command) -> None:
    caisson.paths.services.write_text(
        CATALOG.replace('runtime_mode = "docker"', 'runtime_mode = "docker"\nsigners = ["carol"]')
    )
    caisson.paths.allowed_signers.write_text(f"alice {ALICE.line}\n")
    (warning,) = caisson("trust", "check", "--json").json["warnings"]
    assert warning["code"] == "trust.too_few_signatures"
    assert warning["message"] == "no package for frontend can be trusted: it needs 1 keys, 0 may sign"


# the time floor


def test_time_is_reset_and_that_is_written_down(caisson: Command) -> None:
    write_floor(caisson, FAR)
    answer = caisson("trust", "reset-time")
    built = BUILD_DATE.isoformat()
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == (
        f"No clock before {FAR.isoformat()} was believed; now none before {built}, the build date.\n"
    )
    assert caisson("trust", "reset-time", "--json").json == {"old": built, "new": built}
    assert caisson("history", "verify").code == 0
    with sqlite3.connect(caisson.paths.database) as connection:
        kinds = [row[0] for row in connection.execute("SELECT kind FROM audit")]
    connection.close()
    assert kinds == ["time_floor_reset"] * 2


def test_keys_that_a_future_release_expired_are_good_again(caisson: Command) -> None:
    soon = max(datetime.now(UTC), BUILD_DATE) + timedelta(days=100)
    caisson.paths.allowed_signers.write_text(f'alice valid-before="{soon:%Y%m%d}Z" {ALICE.line}\n')
    write_floor(caisson, FAR)
    assert caisson("trust", "list", "--json").json[0]["status"] == "expired"
    caisson("trust", "reset-time")
    assert caisson("trust", "list", "--json").json[0]["status"] == "ok"


def test_time_is_not_reset_while_somebody_updates(caisson: Command) -> None:
    write_floor(caisson, FAR)
    with hold_lock(caisson.paths.lock, who="caissond, process 1"):
        answer = caisson("trust", "reset-time")
    assert (answer.code, "lock.busy" in answer.err) == (1, True)
    database = Database.read_only(caisson.paths.database)
    assert Releases(database).time_floor() == FAR
    database.close()


def test_time_is_reset_although_the_catalog_has_a_mistake(caisson: Command) -> None:
    caisson.paths.services.write_text("nonsense")
    assert caisson("trust", "reset-time").code == 0
