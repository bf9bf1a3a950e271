"""The files made from the event table: systemd's journal catalog, and the README's troubleshooting.

`python -m caissond.report.tables update` rewrites both in place; a test fails while one is stale.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

from caissond.model.events import EVENTS, EventSpec, Severity

ROOT = Path(__file__).parents[2]
CATALOG = Path("packaging/caisson.catalog")
README = Path("README.md")
BEGIN, END = "<!-- codes:begin -->", "<!-- codes:end -->"

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


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _in_order() -> Iterable[EventSpec]:
    return sorted(EVENTS.values(), key=lambda spec: spec.number)


def with_table(document: str) -> str:
    """The document with a fresh table between its two markers.

    Raises:
        ValueError: the markers are not both there.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"expected {BEGIN} and {END} in the document")
    return f"{before}{BEGIN}\n{troubleshooting_table()}{END}{after}"


def derived_files(root: Path = ROOT) -> dict[Path, str]:
    """What each derived file of a source tree has to say; the README only where there is one."""
    files = {root / CATALOG: journal_catalog()}
    readme = root / README
    if readme.exists():
        files[readme] = with_table(readme.read_text(encoding="utf-8"))
    return files


def stale_files(root: Path = ROOT) -> list[Path]:
    """The derived files that do not say what the table says."""
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
    parser = argparse.ArgumentParser(description="the files made from the event table")
    parser.add_argument("what", choices=["catalog", "troubleshooting", "update"])
    match parser.parse_args().what:
        case "catalog":
            print(journal_catalog(), end="")
        case "troubleshooting":
            print(troubleshooting_table(), end="")
        case _:
            update_files()


if __name__ == "__main__":
    main()
