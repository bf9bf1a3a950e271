"""The man pages: groff reads them, and they leave nothing out."""

import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from debbuild.command_tree import caisson_command
from debbuild.manual import included, manual_page, readme_section
from debbuild.roff import escape, from_markdown, inline
from pydantic import BaseModel

from caissond.model.catalog import Service
from caissond.model.settings import Settings

REPOSITORY = Path(__file__).parents[3]
PAGES = sorted((REPOSITORY / "packaging/man").glob("*.md"))
README = (REPOSITORY / "README.md").read_text()


def page(name: str) -> str:
    source = REPOSITORY / f"packaging/man/{name}.md"
    return manual_page(source, README, "1.2.3", datetime(2026, 11, 21, tzinfo=UTC))


def shown(roff: str) -> str:
    """What groff makes of a page, on one line, without overstriking."""
    command = ["groff", "-man", "-ww", "-Tutf8", "-P-cbou", "-K", "utf8"]
    done = subprocess.run(command, check=True, input=roff, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    return " ".join(done.stdout.split())


@pytest.mark.parametrize("source", PAGES, ids=lambda path: path.name)
def test_page_can_be_read_and_found(source: Path) -> None:
    text = shown(page(source.name.removesuffix(".md")))
    assert re.search(r"NAME [a-z.]+ - [a-z]", text.replace("−", "-").replace("‐", "-"))
    assert "{{" not in text
    assert "packaging/" not in text


def test_every_command_and_option_stands_in_the_page() -> None:
    text = shown(page("caisson.1")).replace("−", "-")
    for command in caisson_command()[0].walk():
        assert command.commands or " ".join(command.path) in text
        for parameter in command.parameters:
            assert parameter.names[0] in text


def test_every_setting_stands_in_the_page() -> None:
    text = shown(page("caissond.toml.5"))
    for name, table in Settings():
        for key in type(table).model_fields:
            assert f"[{name}] {key}" in text


def keys_below(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield name
        for candidate in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                yield from keys_below(candidate)


def test_every_key_of_the_catalog_stands_in_the_page() -> None:
    text = shown(page("services.toml.5"))
    assert [key for key in keys_below(Service) if key not in text] == []


def test_text_is_shown_as_it_is_whatever_roff_makes_of_such_characters() -> None:
    hostile = r"""'a' \fB -o ~/x ^ "quoted" `tick` .SH"""
    assert hostile in shown(f".TH X 1\n.SH NAME\nx {escape(hostile)}\n")


def test_line_that_looks_like_a_request_is_text() -> None:
    assert ".hooks.d" in shown(".TH X 1\n.SH NAME\n" + inline(".hooks.d is a folder") + "\n")


def test_table_becomes_a_list_of_terms() -> None:
    table = (
        "| key | default | what |\n|---|---|---|\n| `a` | 1 | does \\| this |\n| `b` | required | that. |\n"
    )
    assert from_markdown(table) == (
        ".TP\n\\fBa\\fR\ndoes | this. (default: 1)\n.TP\n\\fBb\\fR\nthat. (required)\n"
    )


def test_code_keeps_its_lines() -> None:
    assert ".nf\n\\&.x\n\n# y\n.fi" in from_markdown("text\n\n```toml\n.x\n\n# y\n```\nmore\n")


def test_section_that_is_gone_from_the_readme_is_noticed() -> None:
    with pytest.raises(ValueError, match="expected one section"):
        readme_section("# A\n\n## B\ntext\n", "C")


def test_inclusion_that_nobody_knows_is_noticed() -> None:
    with pytest.raises(ValueError, match="cannot include 'weather'"):
        included("weather", README)
