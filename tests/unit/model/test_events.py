"""One table for all that can happen: whole, unambiguous, and nothing of it ever renumbered."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import caissond
from caissond.model.events import EVENTS, Event, EventSpec, Severity, hint_for

SOURCE = Path(caissond.__file__).parent
CODE = re.compile(r"[a-z]+\.[a-z0-9_]+")

SAID_WITH_PARTS = {
    "image.missing_manifest",  # image.py: f"image.missing_{what}"
    "image.missing_config",
    "image.invalid_config",  # image_json.py: f"image.invalid_{what}"
}


def trees() -> Iterator[ast.AST]:
    for path in SOURCE.rglob("*.py"):
        if path.name != "events.py":
            yield ast.parse(path.read_text(), str(path))


def strings(node: ast.AST) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            yield inner.value


def raised_or_told() -> Iterator[str]:
    """Every text given as `code=`, and the first argument of every `tell`."""
    for tree in trees():
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            for keyword in call.keywords:
                if keyword.arg == "code" and isinstance(keyword.value, ast.Constant):
                    yield str(keyword.value.value)
            if isinstance(call.func, ast.Attribute) and call.func.attr == "tell" and call.args:
                yield from (text for text in strings(call.args[0]) if CODE.fullmatch(text))


def test_every_code_in_the_program_is_in_the_table() -> None:
    used = set(raised_or_told())
    assert len(used) > 50
    assert used - EVENTS.keys() == set()


def test_every_row_of_the_table_is_used() -> None:
    mentioned = {text for tree in trees() for text in strings(tree)}
    unused = EVENTS.keys() - mentioned
    assert unused <= SAID_WITH_PARTS


@pytest.mark.parametrize("code", sorted(SAID_WITH_PARTS))
def test_code_put_together_from_parts_is_really_made_somewhere(code: str) -> None:
    stem = code.rpartition("_")[0]
    assert any(text == f"{stem}_" for tree in trees() for text in strings(tree))


def test_numbers_are_unique_and_can_be_said_over_the_phone() -> None:
    numbers = [spec.number for spec in EVENTS.values()]
    assert len(set(numbers)) == len(numbers)
    assert all(100 <= number <= 999 for number in numbers)
    assert EVENTS["package.updater_too_old"].spoken == "E-214"


def test_codes_of_the_rust_tool_are_kept() -> None:
    kept = """archive.duplicate_entry archive.nested_entry archive.unsafe_entry_type archive.missing_manifest
        archive.missing_image archive.invalid_entry_path archive.invalid_entry_size archive.empty_entry_path
        archive.read_failed archive.entry_read_failed manifest.parse_failed manifest.too_large manifest.invalid_utf8
        manifest.unsupported_format_version manifest.invalid_created_at manifest.invalid_package_version
        manifest.invalid_min_updater_version manifest.empty_field package.unknown_service
        package.service_revision_mismatch package.platform_mismatch package.updater_too_old package.invalid_extension
        package.not_found package.not_a_file image.empty_archive"""
    assert set(kept.split()) <= EVENTS.keys()


def test_message_ids_never_change() -> None:
    assert EVENTS["update.committed"].message_id == "cb3a9b97df6550a6a46f13d36121f00e"
    assert EVENTS["archive.read_failed"].message_id == "53a439eaf3245d2686a48ca0505022c3"
    assert len({spec.message_id for spec in EVENTS.values()}) == len(EVENTS)


def test_refusals_are_errors_and_progress_is_not() -> None:
    assert EVENTS["trust.unsigned"].severity is Severity.ERROR
    assert EVENTS["update.rolled_back"].severity is Severity.ERROR
    assert EVENTS["update.committed"].severity is Severity.NOTICE
    assert EVENTS["release.already_installed"].severity is Severity.INFO
    assert [severity.value for severity in Severity] == [3, 4, 5, 6]


@pytest.mark.parametrize("spec", EVENTS.values(), ids=lambda spec: str(spec.code))
def test_row_is_a_sentence_with_a_plain_hint(spec: EventSpec) -> None:
    assert CODE.fullmatch(spec.code)
    assert re.fullmatch(r"[A-Za-z].*[^ ]\.", spec.sentence)
    assert not spec.hint.endswith(".")
    assert "\n" not in spec.sentence + spec.hint


@pytest.mark.parametrize(
    "code", sorted(code for code, spec in EVENTS.items() if spec.severity is Severity.ERROR)
)
def test_error_comes_with_something_to_do(code: str) -> None:
    assert hint_for(code) or code == "update.step_failed"  # whose line holds the engine's own words


def test_unknown_code_has_no_hint_and_no_event() -> None:
    assert hint_for("no.such_code") == ""
    with pytest.raises(KeyError):
        _ = Event("no.such_code", "text").spec
    assert Event("trust.unsigned", "text").spec is EVENTS["trust.unsigned"]
