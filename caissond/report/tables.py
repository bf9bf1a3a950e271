"""What is made from tables in the code: systemd's journal catalog, and the README's troubleshooting and settings.

`python -m caissond.report.tables update` rewrites them in place; a test fails while one is stale.
"""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from caissond.model.events import EVENTS, EventSpec, Severity
from caissond.model.settings import Settings
from caissond.report.led_patterns import led_table

ROOT = Path(__file__).parents[2]
CATALOG = Path("packaging/caisson.catalog")
README = Path("README.md")

_CATALOG_HEADER = (
    "# What journalctl -x says about each event of caissond. Made by: python -m caissond.report.tables update"
)


def journal_catalog() -> str:
    """The catalog as systemd.io/CATALOG describes it, one entry for each event."""
    return "\n".join([_CATALOG_HEADER, "", *(_entry(spec) for spec in _in_order())])


def _entry(spec: EventSpec) -> str:
    lines = [
        f"-- {spec.message_id}",
        f"Subject: {spec.sentence.removesuffix('.')}",
        "Defined-By: Caisson",
        f"Support: Caisson's README, troubleshooting, {spec.spoken}",
        "",
        f"{spec.sentence} This is {spec.spoken}, {spec.code}.",
    ]
    if spec.hint:
        lines += ["", f"What to do: {spec.hint}."]
    return "\n".join([*lines, ""])


def troubleshooting_table() -> str:
    """A Markdown table of everything that warns, fails or asks for something."""
    rows = [
        f"| {spec.spoken} | `{spec.code}` | {_cell(spec.sentence)} | {_cell(spec.hint) or '–'} |"
        for spec in _in_order()
        if spec.hint or spec.severity <= Severity.WARNING
    ]
    return "\n".join(["| number | code | what it means | what to do |", "|---|---|---|---|", *rows]) + "\n"


def settings_table() -> str:
    """A Markdown table of every key of `caissond.toml`."""
    tables = Settings.model_fields
    rows = [
        f"| `[{table}] {key}` | {_default(field)} | {_allowed(field)} | {_cell(field.description or '')} |"
        for table, settings in tables.items()
        for key, field in type(settings.default).model_fields.items()
    ]
    return "\n".join(["| key | default | allowed | what it does |", "|---|---|---|---|", *rows]) + "\n"


def _default(field: FieldInfo) -> str:
    """The value as TOML writes it, which for booleans, numbers and lists is as JSON does."""
    value = field.get_default(call_default_factory=True, validated_data={})
    return "unset" if value is None else f"`{json.dumps(value)}`"


def _allowed(field: FieldInfo) -> str:
    if field.annotation is bool:
        return "`true`, `false`"
    if get_origin(field.annotation) is list:
        return "absolute paths"
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{json.dumps(value)}`" for value in get_args(field.annotation))
    bounds = [(getattr(rule, "ge", None), getattr(rule, "le", None)) for rule in field.metadata]
    return " to ".join(str(limit) for bound in bounds for limit in bound if limit is not None)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _in_order() -> Iterable[EventSpec]:
    return sorted(EVENTS.values(), key=lambda spec: spec.number)


def with_tables(document: str) -> str:
    """The document with fresh tables, each between its two markers.

    Raises:
        ValueError: some of the markers are not there.
    """
    tables = {"codes": troubleshooting_table(), "settings": settings_table(), "leds": led_table()}
    for name, table in tables.items():
        begin_mark, end_mark = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        before, begin, rest = document.partition(begin_mark)
        _, end, after = rest.partition(end_mark)
        if not (begin and end):
            raise ValueError(f"expected {begin_mark} and {end_mark} in the document")
        document = f"{before}{begin}\n{table}{end}{after}"
    return document


def derived_files(root: Path = ROOT) -> dict[Path, str]:
    """What each derived file of a source tree has to say; the README only where there is one."""
    files = {root / CATALOG: journal_catalog()}
    readme = root / README
    if readme.exists():
        files[readme] = with_tables(readme.read_text(encoding="utf-8"))
    return files


def stale_files(root: Path = ROOT) -> list[Path]:
    """The derived files that do not say what the tables say."""
    return [
        path
        for path, text in derived_files(root).items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def update_files(root: Path = ROOT) -> None:
    """Rewrite the derived files that are stale."""
    files = derived_files(root)
    for path in stale_files(root):
        path.parent.mkdir(exist_ok=True)
        path.write_text(files[path], encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="what is made from tables in the code")
    parser.add_argument("what", choices=["catalog", "troubleshooting", "settings", "update"])
    match parser.parse_args().what:
        case "catalog":
            print(journal_catalog(), end="")
        case "troubleshooting":
            print(troubleshooting_table(), end="")
        case "settings":
            print(settings_table(), end="")
        case _:
            update_files()


if __name__ == "__main__":
    main()
