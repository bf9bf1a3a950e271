"""Signatures for both to judge: every field, cut and flipped everywhere, armored strangely, encoded otherwise."""

import hashlib
import random
from collections.abc import Callable, Iterator

from caissond.package.ssh_keys import put_mpint, put_string
from fixtures.signatures import Key, armor, ecdsa, ed25519, rsa_key, sk_ed25519, sshsig_blob, typed
from tests.flow.case import ALICE, CONTENT, Case, line

ORDER = 2**252 + 27742317777372353535851937790883648493
"""Of ed25519's group: RFC 8032, 5.1."""
EVERY_KIND: dict[str, Callable[[], Key]] = {
    "ed25519": lambda: ALICE,
    "ecdsa": ecdsa,
    "rsa": rsa_key,
    "sk": sk_ed25519,
}


def forms() -> Iterator[Case]:
    """Every field of an SSHSIG, right and wrong, with every kind of key."""
    for kind, make in EVERY_KIND.items():
        key, other = make(), ed25519("mallory")
        me = line(key)
        fields: dict[str, dict[str, object]] = {
            "good": {}, "sha256": {"hash_name": "sha256"}, "sha384": {"hash_name": "sha384"},
            "sha1": {"hash_name": "sha1"}, "md5": {"hash_name": "md5"}, "other-digest": {"signed_hash": "sha256"},
            "namespace": {"namespace": "file"}, "namespace-empty": {"namespace": ""},
            "namespace-longer": {"namespace": "caisson-package2"}, "namespace-nul": {"namespace": "caisson-package\0"},
            "namespace-case": {"namespace": "Caisson-Package"}, "version-2": {"version": 2},
            "version-max": {"version": 2**32 - 1}, "magic": {"magic": b"SSHSIg"}, "trailing-zero": {"trailing": b"\0"},
            "trailing": {"trailing": b"more"}, "no-signature": {"signature": b""}, "no-key": {"key_blob": b""},
            "key-of-another": {"key_blob": other.blob}, "key-trailing": {"key_blob": key.blob + b"\0"},
            "signature-trailing": {"signature": key.sign(b"x") + b"\0"}, "other-message": {"signature": key.sign(b"x")},
            "type-only": {"signature": typed(key.key_type)}, "empty-inside": {"signature": typed(key.key_type, b"")},
            "type-of-another": {"signature": other.sign(b"x")},
        }  # fmt: skip
        for name, changed in fields.items():
            yield Case(f"{kind}-{name}", key.sshsig(CONTENT, **changed), me)
        yield Case(f"{kind}-version-0", key.sshsig(CONTENT, version=0), me, stricter="version")
        yield Case(f"{kind}-reserved", key.sshsig(CONTENT, reserved=b"x"), me, stricter="reserved")
        yield Case(f"{kind}-other-content", key.sshsig(CONTENT), me, content=CONTENT + b"\n")
        yield Case(f"{kind}-empty-content", key.sshsig(b""), me, content=b"")
        yield Case(f"{kind}-nobody", key.sshsig(CONTENT), line(other))
        yield Case(f"{kind}-no-file", key.sshsig(CONTENT), "")
        yield Case(f"{kind}-revoked", key.sshsig(CONTENT), me, revoked=key.line.encode() + b"\n")
        yield Case(f"{kind}-other-revoked", key.sshsig(CONTENT), me, revoked=other.line.encode() + b" gone\n")


def cuts() -> Iterator[Case]:
    """Cut at every byte of the armor, and at every byte of the blob inside it."""
    whole, me = ALICE.sshsig(CONTENT), line(ALICE)
    for size in range(len(whole)):
        stricter = "armor" if size == len(whole) - 1 else ""
        yield Case(f"armor-cut-{size}", whole[:size], me, stricter=stricter)
    for kind, make in EVERY_KIND.items():
        key = make()
        blob = sshsig_blob(key, CONTENT)
        for size in range(0, len(blob), 1 if kind == "ed25519" else 7):
            yield Case(f"{kind}-blob-cut-{size}", armor(blob[:size]), line(key))


def flips() -> Iterator[Case]:
    """One bit flipped, anywhere in the blob."""
    chance = random.Random(1)
    for kind, make in EVERY_KIND.items():
        key = make()
        blob = sshsig_blob(key, CONTENT)
        for position in range(0, len(blob), 1 if len(blob) < 300 else 5):
            flipped = bytearray(blob)
            flipped[position] ^= 1 << chance.randrange(8)
            stricter = "version" if position == 9 else ""
            yield Case(f"{kind}-flip-{position}", armor(bytes(flipped)), line(key), stricter=stricter)


def armors() -> Iterator[Case]:
    """The text around the blob."""
    blob, me = sshsig_blob(ALICE, CONTENT), line(ALICE)
    good = armor(blob)
    for width in (1, 20, 64, 69, 70, 71, 76, 77, 100, 1000):
        yield Case(f"width-{width}", armor(blob, width=width), me, stricter="armor" if width > 76 else "")
    text = {
        "two": (good + good, ""), "text-behind": (good + b"x\n", "armor"), "newline-behind": (good + b"\n", "armor"),
        "no-newline": (good[:-1], "armor"), "text-in-front": (b"x\n" + good, ""),
        "newline-in-front": (b"\n" + good, ""),
        "crlf": (armor(blob, newline="\r\n"), ""),
        "crlf-inside": (good.replace(b"\n", b"\r\n").replace(b"E-----\r\n", b"E-----\n", 1), "armor"),
        "space": (good.replace(b"\nU1NI", b"\n U1NI"), "armor"),
        "space-inside": (good.replace(b"U1NI", b"U1 NI"), "armor"),
        "tab-inside": (good.replace(b"U1NI", b"U1\tNI"), "armor"),
        "empty-line": (good.replace(b"\nU1NI", b"\n\nU1NI"), "armor"),
        "nul": (good.replace(b"U1NI", b"U1\0NI"), ""), "other-alphabet": (good.replace(b"U1NI", b"U1N_"), ""),
        "no-lines": (b"-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----\n", ""),
        "empty": (b"", ""), "only-newline": (b"\n", ""), "binary": (blob, ""), "lower-case": (good.lower(), ""),
        "pem": (good.replace(b"SSH SIGNATURE", b"SSH2 SIGNATURE"), ""),
        "comment": (good.replace(b"\nU1", b"\nComment: x\nU1"), ""),
        "padding-more": (good.replace(b"\n-----END", b"=\n-----END"), ""), "latin": (good + b"\xe9", "armor"),
        "dashes": (good.replace(b"-----END", b"----END"), ""), "bom": (b"\xef\xbb\xbf" + good, ""),
    }  # fmt: skip
    for name, (signature, stricter) in text.items():
        yield Case(f"armor-{name}", signature, me, stricter=stricter)
    body, end = good.decode().rstrip("\n").rsplit("\n", 1)
    for size in range(1, 4):
        changed = body[:-size] + chr(ord(body[-size]) + 1) + body[len(body) - size + 1 :]
        yield Case(f"armor-last-{size}", f"{changed}\n{end}\n".encode(), me)


def numbers() -> Iterator[Case]:
    """Other encodings of good signatures."""
    message = b"SSHSIG" + typed("caisson-package", b"", b"sha512", hashlib.sha512(CONTENT).digest())
    for turn in range(20):
        key = ed25519(f"order-{turn}")
        signature = key.sign(message)[-64:]
        for times in (1, 2):
            larger = int.from_bytes(signature[32:], "little") + times * ORDER
            if larger < 2**256:
                forged = typed("ssh-ed25519", signature[:32] + larger.to_bytes(32, "little"))
                yield Case(
                    f"order-{turn}-{times}",
                    key.sshsig(CONTENT, signature=forged),
                    line(key),
                    stricter="order",
                )
    for short in (63, 65, 32, 0):
        forged = typed("ssh-ed25519", (ALICE.sign(message)[-64:] + b"\0")[:short])
        yield Case(f"ed25519-{short}-bytes", ALICE.sshsig(CONTENT, signature=forged), line(ALICE))
    key = ecdsa()
    inner = key.sign(message)[len(typed(key.key_type)) + 4 :]
    size = int.from_bytes(inner[:4], "big")
    r, s = inner[4 : 4 + size], inner[8 + size :]
    n = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    s_number = int.from_bytes(s, "big")
    pairs = {
        "same": (put_string(r), put_string(s), ""), "high-s": (put_string(r), put_mpint(n - s_number), ""),
        "zeros-r": (put_string(b"\0\0" + r), put_string(s), "zeros"),
        "zeros-s": (put_string(r), put_string(b"\0\0" + s), "zeros"),
        "s-plus-n": (put_string(r), put_mpint(s_number + n), ""), "zero": (put_mpint(0), put_mpint(0), ""),
        "r-zero": (put_mpint(0), put_string(s), ""), "swapped": (put_string(s), put_string(r), ""),
        "negative": (put_string(b"\xff" + r), put_string(s), ""), "n": (put_mpint(n), put_mpint(n), ""),
        "huge": (put_mpint(2**4000), put_string(s), ""), "one": (put_string(r), b"", ""),
        "three": (put_string(r), put_string(s) + put_string(s), ""),
    }  # fmt: skip
    for name, (first, second, stricter) in pairs.items():
        forged = typed(key.key_type, first + second)
        yield Case(f"ecdsa-{name}", key.sshsig(CONTENT, signature=forged), line(key), stricter=stricter)
    yield from _rsa_numbers(message)
    for flags in (0, 1, 4, 5, 0xFF):
        for counter in (0, 1, 2**32 - 1):
            sk = sk_ed25519(flags=flags, counter=counter)
            yield Case(f"sk-{flags}-{counter}", sk.sshsig(CONTENT), line(sk))
    good, bad = sk_ed25519(), sk_ed25519(application=b"ssh:other")
    yield Case("sk-application", bad.sshsig(CONTENT), line(bad))
    yield Case("sk-other-application", bad.sshsig(CONTENT), line(good))
    yield Case("sk-application-swapped", bad.sshsig(CONTENT, key_blob=good.blob), line(good))
    for name, forged in {
        "no-counter": good.sign(message)[:-4], "no-flags": good.sign(message)[:-5],
        "flags-changed": good.sign(message)[:-5] + b"\x05" + good.sign(message)[-4:],
        "counter-changed": good.sign(message)[:-1] + b"\x08", "plain": ALICE.sign(message),
    }.items():  # fmt: skip
        yield Case(f"sk-{name}", good.sshsig(CONTENT, signature=forged), line(good))


def _rsa_numbers(message: bytes) -> Iterator[Case]:
    key = rsa_key()
    prefix, number = typed("rsa-sha2-512"), key.sign(message)[-384:]
    for name, forged, stricter in (
        ("zeros", put_string(b"\0" + number), ""),
        ("cut", put_string(number[:-1]), ""),
        ("cut-in-front", put_string(number[1:]), ""),
        ("empty", put_string(b""), ""),
        ("all-zero", put_string(bytes(384)), ""),
        ("all-ones", put_string(b"\xff" * 384), ""),
    ):
        signature = key.sshsig(CONTENT, signature=prefix + forged)
        yield Case(f"rsa-{name}", signature, line(key), stricter=stricter)
    for name in (
        "ssh-rsa",
        "rsa-sha2-256",
        "rsa-sha2-384",
        "RSA-SHA2-512",
        "rsa-sha2-512-cert-v01@openssh.com",
    ):
        renamed = typed(name) + put_string(number)
        yield Case(f"rsa-renamed-{name}", key.sshsig(CONTENT, signature=renamed), line(key))
    for attempt in range(5000):
        content = b"%d" % attempt
        number = key.sign(
            b"SSHSIG" + typed("caisson-package", b"", b"sha512", hashlib.sha512(content).digest())
        )[-384:]
        if number[0] == 0:
            signature = key.sshsig(content, signature=prefix + put_string(number.lstrip(b"\0")))
            yield Case("rsa-short", signature, line(key), content=content, stricter="short")
            yield Case("rsa-not-short", key.sshsig(content), line(key), content=content)
            break
    old = rsa_key(hash_name="sha2-256")
    yield Case("rsa-sha2-256", old.sshsig(CONTENT), line(old), stricter="rsa-sha2-256")
    for bits in (1024, 2048, 3071, 4096):
        other = rsa_key(bits)
        yield Case(
            f"rsa-{bits}", other.sshsig(CONTENT), line(other), stricter="key kind" if bits < 3072 else ""
        )
    wide = key.blob[:11] + b"\0\0\0\4\0\1\0\1" + key.blob[18:]
    yield Case("rsa-key-zeros", key.sshsig(CONTENT, key_blob=wide), line(key), stricter="zeros")
    larger = ecdsa(curve="nistp384")
    yield Case("ecdsa-384", larger.sshsig(CONTENT), line(larger), stricter="key kind")
