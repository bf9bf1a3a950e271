"""Files of signers and of revoked keys for both to read: patterns, options, dates in the zones of the earth."""

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from fixtures.signatures import ecdsa, ed25519, rsa_key
from tests.flow.case import ALICE, CONTENT, ME, Case, line
from tests.flow.sshsig_cases import EVERY_KIND

PRINCIPALS = (
    ME, "*", "*@example.com", "alice@*", "?lice@example.com", "a*e@*.com", "alice", "bob@example.com",
    "ALICE@example.com",
    "bob@example.com,alice@example.com", "!alice@example.com,*", "*,!alice@example.com",
    "!bob@example.com,*@example.com",
    "!*@example.org,*@example.com", "!bob@example.com", "!*", '"alice@example.com"',
    '"alice@example.com,bob@example.com"',
    "alice@example.com ", "**", "*a*l*i*c*e*", "?" * 17, "?" * 16, "alice@example.com*", "*alice@example.com",
    "a" * 1100 + ",*",
    "*," + "a" * 1100, "alice@example.co?", "alice@example.com?",
)  # fmt: skip
NAMES = (ME, "bob@example.com", "alice", "carol@example.org")


def principals() -> Iterator[Case]:
    """Who may sign: pattern-lists, as ssh_config(5) has them."""
    good = ALICE.sshsig(CONTENT)
    for index, patterns in enumerate(PRINCIPALS):
        for name in NAMES:
            yield Case(f"principals-{index}-{name}", good, line(ALICE, patterns), principal=name)
    for name, text, stricter in (
        ("middle-quote", f'alice"@example.com" {ALICE.line}\n', "quotes"),
        ("open-quote", f'"alice@example.com {ALICE.line}\n', ""),
        ("nothing", f"{ALICE.line}\n", ""),
        ("only-name", "alice@example.com\n", ""),
        ("empty-part", f"alice@example.com,,bob {ALICE.line}\n", "whole file"),
        ("indented", f" \t{ME}\t{ALICE.line}\n", ""),
        ("comments", f"# {ME}\n\n  # x\n{ME} {ALICE.line} a comment # here\n", ""),
        ("commented", f"# {ME} {ALICE.line}\n", ""),
        ("no-newline", f"{ME} {ALICE.line}", ""),
        ("crlf", f"{ME} {ALICE.line}\r\n", ""),
        ("crlf-comment", f"#\r\n\r\n{ME} {ALICE.line} x\r\n", ""),
        ("vertical-tab", f"{ME}\v{ALICE.line}\n", ""),
        ("two-keys", line(ed25519("bob")) + line(ALICE), ""),
        ("twice", line(ALICE) + line(ALICE), ""),
        ("other-first", line(ALICE, "bob@example.com") + line(ALICE), ""),
        ("mistake-behind", line(ALICE) + "nonsense\n", "whole file"),
        ("mistake-of-another", "bob@example.com nonsense nonsense\n" + line(ALICE), "whole file"),
        ("mistake-of-mine", f"{ME} nonsense nonsense\n" + line(ALICE), "whole file"),
        ("authority", line(ed25519("bob"), "*", "cert-authority") + line(ALICE), "cert-authority"),
        ("short-key", f"{ME} {ALICE.line[:-8]}\n", ""),
        ("no-key", f"{ME} ssh-ed25519\n", ""),
        ("key-of-other-type", f"{ME} ssh-rsa {ALICE.line.split()[1]}\n", ""),
        ("key-trailing", f"{ME} ssh-ed25519 {base64.b64encode(ALICE.blob + b'x').decode()}\n", ""),
        ("dsa-before", f"{ME} {ecdsa(curve='nistp384').line}\n{line(ALICE)}", ""),
        ("unknown-type", f"{ME} ssh-future AAAA\n{line(ALICE)}", "whole file"),
    ):
        yield Case(f"signers-{name}", good, text, stricter=stricter)


OPTIONS: tuple[tuple[str, str], ...] = (
    ('namespaces="caisson-package"', ""), ('namespaces="file"', ""), ('namespaces="file,caisson-package"', ""),
    ('namespaces="caisson-*"', ""), ('namespaces="*,!caisson-package"', ""), ('namespaces="!file,*"', ""),
    ('NAMESPACES="caisson-package"', ""), ('namespaces=""', ""), ("namespaces=caisson-package", ""), ("namespaces", ""),
    ('namespaces="caisson-package" ', ""), ('namespaces="caisson-package",', ""),
    (',namespaces="caisson-package"', "commas"),
    ('namespaces="caisson-package"x', ""), ('namespaces="caisson-package', ""), ('namespaces=caisson-package"', ""),
    ('namespaces="file",namespaces="caisson-package"', ""),
    ('namespaces="caisson-package",valid-before="20300101"', ""),
    ('namespaces="a b,caisson-package"', ""), ('namespaces="\\"x,caisson-package"', ""),
    ('namespaces="x\\",caisson-package"', ""),
    ('namespaces="x\\\\,caisson-package"', ""), ('namespaces="x\\\\",caisson-package"', ""),
    ('namespaces="\\caisson-package"', ""),
    ('unknown="x"', ""), ("unknown", ""), ("no-touch-required", ""), ('valid-before="20300101",unknown', ""),
    ('valid-after="20250101",valid-before="20300101"', ""), ('valid-before="20250101",valid-after="20300101"', ""),
    ('valid-before="20250101",valid-after="20250101"', ""), ('valid-before="20300101",valid-before="20310101"', ""),
    ("valid-before", ""), ("valid-before=20300101", ""), ('Valid-Before="20300101Z"', ""), ("cert-authority", ""),
    ('cert-authority,namespaces="caisson-package"', ""), ("no-cert-authority", ""), ("CERT-AUTHORITY", ""),
    ('namespaces="caisson-package" namespaces="file"', ""), ('restrict,namespaces="caisson-package"', ""),
    ('valid-before="20300101",,namespaces="caisson-package"', "commas"),
)  # fmt: skip


def options() -> Iterator[Case]:
    """What stands between the principals and the key."""
    good = ALICE.sshsig(CONTENT)
    for index, (text, stricter) in enumerate(OPTIONS):
        yield Case(f"option-{index} {text}", good, line(ALICE, ME, text), stricter=stricter)


DATES = (
    "20260601", "20260601Z", "20260601z", "20260601UTC", "20260601utc", "202606011200", "202606011200Z",
    "20260601120000",
    "20260601120000Z", "20260601120001Z", "20260601115959Z", "20250101", "20300101", "20260531", "20260602",
    "2026060112000",
    "2026", "", "x", "20261301", "20260001", "20260100", "202606012400Z", "202606011260Z", "19700101",
    "19700101Z", "19700102Z",
    "19600101Z", "99991231Z", "20380120Z", "2026-06-01", "20260601 Z", "20260601ZZ", "0x260601", "+2026060",
    "99999999Z",
)  # fmt: skip
IMPOSSIBLE = (
    "20260231Z", "20260631", "20250229Z", "20260601120060Z", "20260601120061Z", "2026 6 1Z", "202606 1Z", "0026 101Z",
)  # fmt: skip
ZONES = ("UTC0", "CET-1CEST,M3.5.0,M10.5.0/3", "EST5EDT,M3.2.0,M11.1.0", "NZST-12NZDT,M9.5.0,M4.1.0/3")


def times() -> Iterator[Case]:
    """Validity, to the second, in the zones of the earth."""
    good = ALICE.sshsig(CONTENT)
    for option in ("valid-after", "valid-before"):
        for date in (*DATES, *IMPOSSIBLE):
            stricter = "dates" if date in IMPOSSIBLE else ""
            yield Case(f"{option}-{date}", good, line(ALICE, ME, f'{option}="{date}"'), stricter=stricter)
        for zone in ZONES:
            for date in ("202606011200", "20260601120000Z", "202601011200", "202603290230", "202610250230"):
                for shift_s in (-7201, -7200, -3601, -3600, -1, 0, 1, 3600, 3601):
                    moment = datetime.strptime(date[:12], "%Y%m%d%H%M").replace(tzinfo=UTC)
                    yield Case(
                        f"{option}-{date}-{zone}-{shift_s}", good, line(ALICE, ME, f'{option}="{date}"'),
                        when=moment + timedelta(seconds=shift_s), zone=zone,
                    )  # fmt: skip


def revocations() -> Iterator[Case]:
    """What stands in revoked_keys."""
    for kind, make in EVERY_KIND.items():
        key = make()
        other = ed25519("mallory")
        good, me, own = key.sshsig(CONTENT), line(key), key.line.encode()
        for name, revoked, stricter in (
            ("alone", own, ""),
            ("comment", own + b" was stolen\n", ""),
            ("second", other.line.encode() + b"\n" + own + b"\n", ""),
            ("behind-comments", b"# stolen\n\n\t" + own + b"\n", ""),
            ("commented-out", b"#" + own + b"\n", ""),
            ("crlf", own + b" x\r\n", ""),
            ("others", other.line.encode() + b"\n", ""),
            ("nonsense", b"nonsense\n", ""),
            ("nonsense-before", b"nonsense\n" + own + b"\n", ""),
            ("nonsense-behind", own + b"\nnonsense\n", ""),
            ("nonsense-behind-another", other.line.encode() + b"\nnonsense\n", ""),
            ("blank", b"\n \n", ""),
            ("binary", b"\0\1\2\xff\n", "nul"),
            ("krl-magic", b"SSHKRL\n\0", ""),
            ("krl-cut", b"SSHKRL\n\0\0\0\0\1", ""),
            ("krl-text", b"key: " + own + b"\n", ""),
            ("fingerprint", key.fingerprint.encode() + b"\n", ""),
            ("short", own[:-6] + b"\n", ""),
            ("weak-rsa", rsa_key(1024).line.encode() + b"\n", ""),
            ("other-kind", ecdsa(curve="nistp384").line.encode() + b"\n", ""),
            ("options", b'namespaces="x" ' + own + b"\n", ""),
        ):
            yield Case(f"{kind}-revoked-{name}", good, me, revoked=revoked, stricter=stricter)
