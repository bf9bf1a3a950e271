"""Format 2's manifest: every key in its one meaning, and nothing that this version cannot honour."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caissond.errors import Refusal
from caissond.model.manifest import MAX_DEVICE_TYPES, MAX_TARGETS, Manifest, Target, format_of, parse_manifest

DIGEST = f"sha256:{'0' * 64}"
GOOD = f"""\
format_version = 2
package_type = "service"
package_version = "2.0.0"
created_at = "2026-03-16T18:30:00Z"
allow_downgrade = true

[compatibility]
min_updater_version = "1.0.0"
device_types = ["gateway-3", "panel"]

[[targets]]
service = "frontend"
service_revision = "r1"
platform = "linux/amd64"
optional = true
[targets.image]
reference = "example/frontend:2.0.0"
manifest_digest = "{DIGEST}"
config_digest = "{DIGEST}"
size_bytes = 1234
unpacked_bytes = 5678
"""
FRONT, TARGET = GOOD.split("\n[[targets]]")
TARGET = "[[targets]]" + TARGET


def parse(text: str) -> Manifest:
    return parse_manifest(text.encode())


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) == 1, old
    return GOOD.replace(old, new)


def code_of(text: str | bytes) -> str:
    """The code that the manifest is refused with, in one printable line of decent length."""
    with pytest.raises(Refusal) as refused:
        parse_manifest(text.encode() if isinstance(text, str) else text)
    assert refused.value.message.isprintable()
    assert len(refused.value.message) < 400
    return refused.value.code


def test_manifest_of_format_2_is_read_whole() -> None:
    assert parse(GOOD) == Manifest(
        format_version=2,
        version="2.0.0",
        created_at=datetime(2026, 3, 16, 18, 30, tzinfo=UTC),
        targets=(
            Target(
                service="frontend",
                service_revision="r1",
                platform="linux/amd64",
                reference="example/frontend:2.0.0",
                optional=True,
                manifest_digest=DIGEST,
                config_digest=DIGEST,
                size_bytes=1234,
                unpacked_bytes=5678,
            ),
        ),
        min_updater_version="1.0.0",
        device_types=("gateway-3", "panel"),
        allow_downgrade=True,
    )


def test_what_may_be_left_out_has_its_default() -> None:
    short = GOOD.replace("allow_downgrade = true\n", "").replace("optional = true\n", "")
    manifest = parse(short[: short.index("[compatibility]")] + TARGET.replace("optional = true\n", ""))
    assert (manifest.allow_downgrade, manifest.min_updater_version, manifest.device_types) == (
        False,
        None,
        (),
    )
    assert not manifest.targets[0].optional


def test_services_are_named_once_each_in_their_order() -> None:
    other = TARGET.replace('"frontend"', '"backend"')
    arm = TARGET.replace("amd64", "arm64")
    assert parse(FRONT + "\n".join(["", TARGET, other, arm])).services == ("frontend", "backend")


@pytest.mark.parametrize("name", [line.split(" =")[0] for line in GOOD.splitlines() if " = " in line])
def test_required_key_is_missed_and_an_optional_one_is_not(name: str) -> None:
    text = "\n".join(line for line in GOOD.splitlines() if not line.startswith(f"{name} ="))
    if name in {"allow_downgrade", "min_updater_version", "device_types", "optional"}:
        parse(text)
    else:
        assert code_of(text) == "manifest.parse_failed"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("allow_downgrade = true", "allow_downgrades = true"),
        ("allow_downgrade = true", "Allow_downgrade = true"),
        ("[compatibility]", "['compatibilitу']"),  # the last letter is Cyrillic
        ("device_types", "device_type"),
        ("[compatibility]", "[rollback]\n[compatibility]"),
        ("optional = true", "required = true"),
        ("size_bytes = 1234", "size_bytes = 1234\nsha512 = 'x'"),
        ("[targets.image]", "[targets.IMAGE]\n[targets.image]"),
        ("allow_downgrade = true", '"" = 1'),
        ("allow_downgrade = true", '"\\u001b[2J\\r\\n" = 1'),
        ("allow_downgrade = true", f"{'a' * 5000} = 1"),
        ("allow_downgrade = true", '"allow_downgrade\\u0000" = true'),
        ("[compatibility]", "[target]\nservice = 'frontend'\n[compatibility]"),
        ("[compatibility]", "[image]\nreference = 'example/frontend:2.0.0'\n[compatibility]"),
    ],
)
def test_unknown_key_is_refused_at_every_level(old: str, new: str) -> None:
    assert code_of(changed(old, new)) == "manifest.unknown_key"


WRONG = {
    "package_type": ["1", "true", '"image"', '"Service"', '"service-update"', "['service']"],
    "package_version": ["2.0", "2", "true", "['2.0.0']", "{ major = 2 }", "2026-03-16"],
    "created_at": ["2026-03-16T18:30:00Z", "2026-03-16", "1773685800", "{}"],
    "allow_downgrade": ["1", "0", '"true"', "[true]", "1.0", "{}"],
    "min_updater_version": ["1.0", "1", "true", "[]"],
    "device_types": ['"panel"', "[1]", "[true]", "{}", "[['panel']]", "[" + "'x'," * (MAX_DEVICE_TYPES + 1) + "]"],
    "service": ["1", "true", "['frontend']", "{}", "2026-03-16"],
    "service_revision": ["1", "1.0", "true"],
    "platform": ["1", "['linux/amd64']"],
    "optional": ["1", '"yes"', "2026-03-16"],
    "reference": ["1", "['example/frontend:2.0.0']"],
    "manifest_digest": [
        "1", '""', f'"{DIGEST[7:]}"', f'"{DIGEST[:-1]}"', f'"{DIGEST}0"', f'"{DIGEST[:-1]}A"', f'"{DIGEST}\\n"',
        f'"SHA256:{DIGEST[7:]}"', f'"sha512:{"0" * 128}"', f'" {DIGEST}"', f'"{DIGEST[:-1]}٣"', f'"{DIGEST}@x"',
    ],
    "config_digest": ['"sha256:"', "[]", f"{{ sha256 = '{DIGEST}' }}"],
    "size_bytes": [
        "0", "-1", "1234.0", '"1234"', "true", "1e9", "inf", "nan", str((1 << 50) + 1), str(1 << 63), str(1 << 64),
        "9" * 4000, "9" * 5000, "0x" + "f" * 20000, "[1234]",
    ],
    "unpacked_bytes": ["0", "-5678", "5678.5", "-9223372036854775808"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in WRONG.items() for value in values]
)
def test_value_of_the_wrong_type_or_size_is_refused(key: str, value: str) -> None:
    (line,) = [line for line in GOOD.splitlines() if line.startswith(f"{key} =")]
    assert code_of(changed(f"{line}\n", f"{key} = {value}\n")) == "manifest.parse_failed"


@pytest.mark.parametrize("kind", ["trust", "updater"])
def test_reserved_package_types_are_refused(kind: str) -> None:
    assert code_of(changed('package_type = "service"', f'package_type = "{kind}"')) == "manifest.parse_failed"


@pytest.mark.parametrize("table", ["[encryption]", "encryption = {}", "encryption = 1", "[[encryption]]"])
def test_encrypted_package_is_told_as_such(table: str) -> None:
    assert code_of(changed("[compatibility]", f"{table}\n[compatibility]")) == "package.encrypted"


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ('"2.0.0"', '"2.0"', "manifest.invalid_package_version"),
        ('"2.0.0"', '"v2.0.0"', "manifest.invalid_package_version"),
        ('"2.0.0"', '"2.0.0\\n"', "manifest.invalid_package_version"),
        ('"2.0.0"', '"2.0.٣"', "manifest.invalid_package_version"),
        ('"2.0.0"', '"2.0.0-\\u202e"', "manifest.invalid_package_version"),
        ('"2.0.0"', f'"2.0.0-{"a" * 200}"', "manifest.invalid_package_version"),
        ('"1.0.0"', '"1"', "manifest.invalid_min_updater_version"),
        ('"2026-03-16T18:30:00Z"', '"yesterday"', "manifest.invalid_created_at"),
        ('"2026-03-16T18:30:00Z"', '"2026-03-16T18:30:00"', "manifest.invalid_created_at"),
        ('"2026-03-16T18:30:00Z"', '"2026-02-30T18:30:00Z"', "manifest.invalid_created_at"),
        ('"2026-03-16T18:30:00Z"', '"2026-03-16T18:30:00Z\\n"', "manifest.invalid_created_at"),
        ('"2026-03-16T18:30:00Z"', '"٢٠٢٦-03-16T18:30:00Z"', "manifest.invalid_created_at"),
        ('"2026-03-16T18:30:00Z"', '"0001-01-01T00:00:00+23:59"', "manifest.invalid_created_at"),
        ('"2026-03-16T18:30:00Z"', '"9999-12-31T23:59:59-23:59"', "manifest.invalid_created_at"),
        ('"frontend"', '" "', "manifest.empty_field"),
        ('"r1"', '""', "manifest.empty_field"),
        ('"linux/amd64"', '"\\t"', "manifest.empty_field"),
        ('"panel"', '""', "manifest.empty_field"),
        ('"frontend"', '"front\\u0000end"', "manifest.hidden_characters"),
        ('"frontend"', '"frontend\\u202e"', "manifest.hidden_characters"),
        ('"frontend"', '"front\\u200bend"', "manifest.hidden_characters"),
        ('"frontend"', '"\\u001b[31mfrontend"', "manifest.hidden_characters"),
        ('"r1"', '"r1\\n"', "manifest.hidden_characters"),
        ('"gateway-3"', '"gateway\\u00ad3"', "manifest.hidden_characters"),
        ('"linux/amd64"', '"linux/amd64\\u2028"', "manifest.hidden_characters"),
        ("example/frontend:2.0.0", "Example/frontend:2.0.0", "manifest.invalid_reference"),
        ("example/frontend:2.0.0", "caisson.invalid/keep:1", "manifest.invalid_reference"),
        ("example/frontend:2.0.0", f"example/frontend@{DIGEST}", "manifest.invalid_reference"),
        ("example/frontend:2.0.0", "../frontend:2.0.0", "manifest.invalid_reference"),
        ("example/frontend:2.0.0", "exаmple/frontend:2.0.0", "manifest.invalid_reference"),
        ("example/frontend:2.0.0", "a" * 256, "manifest.invalid_reference"),
    ],
)
def test_field_that_is_no_such_thing_has_its_own_code(old: str, new: str, code: str) -> None:
    assert code_of(GOOD.replace(old, new)) == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "manifest.parse_failed"),
        ("format_version = 2\n" + GOOD, "manifest.parse_failed"),
        (changed("allow_downgrade = true", "package_version = '2.0.0'"), "manifest.parse_failed"),
        (changed("[[targets]]", "[targets]"), "manifest.parse_failed"),
        (FRONT.replace("[compat", "targets = []\n[compat"), "manifest.parse_failed"),
        (FRONT, "manifest.parse_failed"),
        (FRONT.replace("[compat", "targets = [1]\n[compat"), "manifest.parse_failed"),
        ("\ufeff" + GOOD, "manifest.parse_failed"),
        (GOOD.replace("\n", "\r"), "manifest.parse_failed"),
        (changed('"2.0.0"', '"2.0.0'), "manifest.parse_failed"),
        (changed('"2.0.0"', '"2.0.0\0"'), "manifest.parse_failed"),
        (GOOD + "# \0", "manifest.parse_failed"),
        (GOOD.encode("utf-16"), "manifest.invalid_utf8"),
        (GOOD.encode() + b"# \xff", "manifest.invalid_utf8"),
        (GOOD.encode() + b"# \xed\xa0\x80", "manifest.invalid_utf8"),
        (GOOD.encode() + b"# \xc0\x80", "manifest.invalid_utf8"),
        (GOOD + "#" * (64 << 10), "manifest.too_large"),
        (FRONT + "\n" + TARGET + "\n" + TARGET, "manifest.duplicate_target"),
        ("x = " + "[" * 60_000, "manifest.parse_failed"),
        ("x = " + "{a=" * 20_000, "manifest.parse_failed"),
        ("x = " + "[" * 30_000 + "]" * 30_000, "manifest.parse_failed"),
        (".".join("a" * 30_000) + " = 1", "manifest.parse_failed"),
        ("[" + ".".join("a" * 30_000) + "]", "manifest.parse_failed"),
        ("a.b = 1\n" * 8_000, "manifest.parse_failed"),
        ("x = " + "9" * 60_000, "manifest.parse_failed"),
        (f'"{"k" * 30_000}" = 1\n["{"k" * 30_000}"]', "manifest.parse_failed"),
        ('["\\u001b' + "k" * 20_000 + '"]\n["\\u001b' + "k" * 20_000 + '"]', "manifest.parse_failed"),
        ("x = 1979-05-27T07:32:00-25:00", "manifest.parse_failed"),
    ],
)
def test_text_that_is_no_such_manifest_is_refused(text: str | bytes, code: str) -> None:
    assert code_of(text) == code


def test_carriage_returns_at_the_ends_of_lines_are_lines() -> None:
    assert parse(GOOD.replace("\n", "\r\n")) == parse(GOOD)


def many(count: int) -> str:
    return "\n".join([FRONT, *(TARGET.replace('"frontend"', f'"s{number}"') for number in range(count))])


def test_package_has_64_targets_at_most() -> None:
    assert len(parse(many(MAX_TARGETS)).targets) == 64
    assert code_of(many(MAX_TARGETS + 1)) == "manifest.parse_failed"


@pytest.mark.parametrize(
    ("text", "format_version"),
    [
        (GOOD, 2),
        ("format_version = 1", 1),
        ("format_version = '1'", 1),
        ("format_version = '2'", None),
        ("format_version = 2.0", None),
        ("format_version = true", None),
        ("format_version = 1.0", None),
        ("format_version = 3", None),
        ("format_version = [", None),
        ("", None),
    ],
)
def test_format_is_told_from_the_version_alone(text: str, format_version: int | None) -> None:
    assert format_of(text.encode()) == format_version


@given(st.binary())
def test_any_bytes_raise_nothing_but_refusals(content: bytes) -> None:
    assert code_of(content).startswith("manifest.")


@given(st.data())
def test_changed_manifest_is_read_or_refused_in_one_printable_line(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(GOOD)))
    end = data.draw(st.integers(start, min(start + 20, len(GOOD))))
    text = GOOD[:start] + data.draw(st.text(max_size=20)) + GOOD[end:]
    try:
        parse_manifest(text.encode(errors="surrogatepass"))
    except Refusal:
        code_of(text.encode(errors="surrogatepass"))
