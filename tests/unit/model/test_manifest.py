"""Format 1's manifest: what the Rust tool reads is read, and every fault has its code."""

import time
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caissond.errors import Refusal
from caissond.model.manifest import MAX_MANIFEST_BYTES, Manifest, Target, parse_manifest

GOOD = """\
format_version = 1
package_type = "service"
package_version = "1.2.3"
created_at = "2026-03-16T18:30:00Z"

[target]
service = "frontend"
service_revision = "frontend-v1"
platform = "linux/amd64"

[image]
reference = "example/frontend:1.2.3"

[compatibility]
min_updater_version = "0.1.0-alpha"
"""


def parse(text: str) -> Manifest:
    return parse_manifest(text.encode())


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


def code_of(content: bytes) -> str:
    with pytest.raises(Refusal) as refused:
        parse_manifest(content)
    assert "\n" not in refused.value.message
    assert refused.value.message.isprintable()
    return refused.value.code


def test_manifest_of_the_rust_tool_is_read_whole() -> None:
    target = Target(
        service="frontend",
        service_revision="frontend-v1",
        platform="linux/amd64",
        reference="example/frontend:1.2.3",
    )
    assert parse(GOOD) == Manifest(
        format_version=1,
        version="1.2.3",
        created_at=datetime(2026, 3, 16, 18, 30, tzinfo=UTC),
        targets=(target,),
        min_updater_version="0.1.0-alpha",
        allow_downgrade=False,
    )


@pytest.mark.parametrize("value", ["1", '"1"'])
def test_format_version_is_an_integer_or_a_string(value: str) -> None:
    assert parse(changed("format_version = 1", f"format_version = {value}")).version == "1.2.3"


def test_service_update_is_the_same_package_type() -> None:
    assert parse(changed('"service"', '"service-update"')).services == ("frontend",)


def test_unknown_keys_and_tables_are_ignored() -> None:
    text = 'more = [1, 2]\n"\u202eodd" = 1\n' + GOOD + "colour = 'red'\n[signature]\nby = 'me'\n"
    assert parse(text) == parse(GOOD)


def test_allow_downgrade_is_not_for_format_1() -> None:
    assert parse("allow_downgrade = true\n" + GOOD).allow_downgrade is False


def test_compatibility_may_be_left_out() -> None:
    text = changed('[compatibility]\nmin_updater_version = "0.1.0-alpha"\n', "")
    assert parse(text).min_updater_version is None


FAULTS = {
    "format_version three": (("= 1\n", "= 3\n"), "manifest.unsupported_format_version"),
    "format_version of words": (("= 1\n", '= "one"\n'), "manifest.unsupported_format_version"),
    "format_version padded": (("= 1\n", '= "01"\n'), "manifest.unsupported_format_version"),
    "format_version endless": (("= 1\n", f"= 0x{'f' * 5000}\n"), "manifest.unsupported_format_version"),
    "format_version float": (("= 1\n", "= 1.0\n"), "manifest.parse_failed"),
    "format_version boolean": (("= 1\n", "= true\n"), "manifest.parse_failed"),
    "format_version missing": (("format_version = 1\n", ""), "manifest.parse_failed"),
    "package_type unknown": (('"service"', '"firmware"'), "manifest.parse_failed"),
    "version a float": (('"1.2.3"', "1.10"), "manifest.parse_failed"),
    "version short": (('"1.2.3"', '"1.2"'), "manifest.invalid_package_version"),
    "version with a leading zero": (('"1.2.3"', '"1.02.3"'), "manifest.invalid_package_version"),
    "version with a newline": (('"1.2.3"', '"1.2.3\\n"'), "manifest.invalid_package_version"),
    "version in arabic digits": (('"1.2.3"', '"١.٢.٣"'), "manifest.invalid_package_version"),
    "version endless": (('"1.2.3"', f'"1.2.{"3" * 5000}"'), "manifest.invalid_package_version"),
    "version too long to be shown": (('"1.2.3"', f'"1.2.3-{"a" * 123}"'), "manifest.invalid_package_version"),
    "created_at a TOML datetime": (('"2026-03-16T18:30:00Z"', "2026-03-16T18:30:00Z"), "manifest.parse_failed"),
    "created_at endless": (('"2026-03-16T18:30:00Z"', f"0x{'f' * 5000}"), "manifest.parse_failed"),
    "created_at without zone": (("18:30:00Z", "18:30:00"), "manifest.invalid_created_at"),
    "created_at a date": (("2026-03-16T18:30:00Z", "2026-03-16"), "manifest.invalid_created_at"),
    "created_at on no day": (("2026-03-16", "2026-02-30"), "manifest.invalid_created_at"),
    "created_at with a newline": (("18:30:00Z", "18:30:00Z\\n"), "manifest.invalid_created_at"),
    "created_at as ISO week": (("2026-03-16", "2026-W12-1"), "manifest.invalid_created_at"),
    "minimum no version": (('"0.1.0-alpha"', '"new"'), "manifest.invalid_min_updater_version"),
    "minimum a number": (('"0.1.0-alpha"', "1"), "manifest.parse_failed"),
    "service empty": (('"frontend"', '""'), "manifest.empty_field"),
    "revision blank": (('"frontend-v1"', '" \\t"'), "manifest.empty_field"),
    "platform empty": (('"linux/amd64"', '""'), "manifest.empty_field"),
    "reference empty": (('"example/frontend:1.2.3"', '""'), "manifest.empty_field"),
    "target missing": (("[target]", "[goal]"), "manifest.parse_failed"),
    "reference a list": (('"example/frontend:1.2.3"', "['a:1']"), "manifest.parse_failed"),
    "service twice": (('service = "frontend"', 'service = "a"\nservice = "b"'), "manifest.parse_failed"),
    "not TOML": (("[image]", "<image>"), "manifest.parse_failed"),
    "NUL": (('"frontend"', '"front\x00end"'), "manifest.parse_failed"),
    "escaped NUL": (('"frontend"', '"front\\u0000end"'), "manifest.hidden_characters"),
    "bidi": (('"frontend"', '"front\u202eend"'), "manifest.hidden_characters"),
    "zero width": (('"frontend-v1"', '"frontend\u200b-v1"'), "manifest.hidden_characters"),
    "terminal escape": (('"linux/amd64"', '"linux/amd64\\u001b[2J"'), "manifest.hidden_characters"),
    "hidden in the reference": (('"example/', '"\u2066example/'), "manifest.hidden_characters"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_has_its_code(fault: str) -> None:
    (old, new), code = FAULTS[fault]
    assert code_of(changed(old, new).encode()) == code


def test_too_large_manifest_is_not_parsed() -> None:
    padding = b"#" * (MAX_MANIFEST_BYTES - len(GOOD))
    assert parse_manifest(GOOD.encode() + padding).services == ("frontend",)
    assert code_of(GOOD.encode() + padding + b"#") == "manifest.too_large"


def test_bytes_that_are_no_text_are_told_apart() -> None:
    assert code_of(GOOD.encode() + b"# \xff\n") == "manifest.invalid_utf8"
    assert code_of(GOOD.encode("utf-16")) == "manifest.invalid_utf8"


def test_missing_key_is_named_by_its_path() -> None:
    with pytest.raises(Refusal, match=r"cannot read manifest.toml: target.platform is missing"):
        parse(changed('platform = "linux/amd64"\n', ""))


@pytest.mark.parametrize(
    "reference",
    [
        "a",
        "example/frontend:1.2.3",
        "localhost:5000/a/b_c/d-e:Tag.1",
        "localhost/a:1",
        "Registry:5000/a:1",
        "a.b-c/d:1",
        "registry.example.com/a__b:v1",
        "a:" + "t" * 128,
    ],
)
def test_reference_of_the_distribution_grammar_is_taken(reference: str) -> None:
    expected = reference if ":" in reference.rsplit("/", 1)[-1] else f"{reference}:latest"
    assert parse(changed("example/frontend:1.2.3", reference)).targets[0].reference == expected


@pytest.mark.parametrize(
    "reference",
    [
        "a@sha256:" + "0" * 64,
        "Upper/case:1",
        "host..name/a:1",
        "host.-name/a:1",
        "localhost:/a:1",
        "sha256",
        "sha256:" + "0" * 64,
        "a b:1",
        "a:",
        ":1",
        "/a:1",
        "a//b:1",
        "a:1:2",
        "-a:1",
        "а:1",  # a Cyrillic letter
        "../a:1",
        "a:" + "t" * 129,
        "a" * 256,
        "caisson.invalid/keep:1",
        "caisson.invalid/ingest:ours",
    ],
)
def test_reference_outside_the_grammar_is_refused(reference: str) -> None:
    assert code_of(changed("example/frontend:1.2.3", reference).encode()) == "manifest.invalid_reference"


def test_endless_reference_is_refused_at_once() -> None:
    began = time.process_time()
    for reference in ("a" * 60_000, "a-" * 30_000 + "!", "a." * 30_000 + "!", "a/" * 30_000 + "!"):
        assert code_of(changed("example/frontend:1.2.3", reference).encode()) == "manifest.invalid_reference"
    assert time.process_time() - began < 1


@pytest.mark.parametrize("offset", ["z", "+23:59", "-00:00", ".123456789Z"])
def test_any_rfc_3339_time_is_read(offset: str) -> None:
    assert parse(changed("18:30:00Z", f"18:30:00{offset}")).created_at.tzinfo is not None


@given(st.text())
def test_arbitrary_text_is_only_ever_refused(text: str) -> None:
    with pytest.raises(Refusal):
        parse(text)


VALUES = st.one_of(
    st.text(max_size=20), st.sampled_from(["1", "1.2.3", "a:1", "2026-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59"])
)  # fmt: skip


@given(st.lists(VALUES, min_size=8, max_size=8))
def test_arbitrary_values_are_read_or_refused(values: list[str]) -> None:
    quoted = [
        '"' + "".join(f"\\U{ord(c):08x}" for c in v if not "\ud800" <= c <= "\udfff") + '"' for v in values
    ]
    template = (
        "format_version={}\npackage_type='service'\npackage_version={}\ncreated_at={}\n[target]\nservice={}\n"
        "service_revision={}\nplatform={}\n[image]\nreference={}\n[compatibility]\nmin_updater_version={}\n"
    )
    with suppress(Refusal):
        manifest = parse(template.format(*quoted))
        assert Manifest.model_validate_json(manifest.model_dump_json()) == manifest
