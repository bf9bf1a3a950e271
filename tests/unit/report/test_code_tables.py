"""The files made from the event table say what it says."""

import subprocess
import sys
from pathlib import Path

import pytest

from caissond.model.events import EVENTS
from caissond.report.tables import (
    BEGIN,
    CATALOG,
    END,
    README,
    journal_catalog,
    stale_files,
    troubleshooting_table,
    update_files,
    with_table,
)


def test_derived_files_of_this_tree_are_fresh() -> None:
    assert stale_files() == [], "run: python -m caissond.report.tables update"


def test_update_refreshes_catalog_and_readme_and_keeps_the_text_around(tmp_path: Path) -> None:
    (tmp_path / README).write_text(f"# Caisson\n{BEGIN}\nold\n{END}\nthe end\n")
    assert stale_files(tmp_path) == [tmp_path / CATALOG, tmp_path / README]
    update_files(tmp_path)
    assert stale_files(tmp_path) == []
    readme = (tmp_path / README).read_text()
    assert readme == f"# Caisson\n{BEGIN}\n{troubleshooting_table()}{END}\nthe end\n"


def test_readme_without_markers_is_said_so() -> None:
    with pytest.raises(ValueError, match="codes:begin"):
        with_table("# Caisson\n")


def test_every_refusal_and_failure_is_in_the_troubleshooting() -> None:
    table = troubleshooting_table()
    assert "| E-214 | `package.updater_too_old` | The package needs a newer Caisson. |" in table
    assert all(f"`{spec.code}`" in table for spec in EVENTS.values() if spec.hint)
    assert "`daemon.started`" not in table


def test_every_event_stands_once_in_the_catalog() -> None:
    catalog = journal_catalog()
    assert all(catalog.count(f"-- {spec.message_id}\n") == 1 for spec in EVENTS.values())


@pytest.mark.parametrize(
    ("what", "content"), [("catalog", journal_catalog()), ("troubleshooting", troubleshooting_table())]
)
def test_command_prints_what_is_asked_for(what: str, content: str) -> None:
    command = [sys.executable, "-m", "caissond.report.tables", what]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == content
