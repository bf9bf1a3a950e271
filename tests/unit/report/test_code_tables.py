"""The files made from tables in the code say what those say."""

import subprocess
import sys
from pathlib import Path

import pytest

from caissond.model.events import EVENTS
from caissond.model.settings import Settings
from caissond.report.led_patterns import led_table
from caissond.report.tables import (
    CATALOG,
    README,
    journal_catalog,
    settings_table,
    stale_files,
    troubleshooting_table,
    update_files,
    with_tables,
)


def test_derived_files_of_this_tree_are_fresh() -> None:
    assert stale_files() == [], "run: python -m caissond.report.tables update"


def readme(codes: str, settings: str, leds: str) -> str:
    return (
        f"# Caisson\n<!-- settings:begin -->\n{settings}<!-- settings:end -->\nbetween\n"
        f"<!-- leds:begin -->\n{leds}<!-- leds:end -->\n"
        f"<!-- codes:begin -->\n{codes}<!-- codes:end -->\nthe end\n"
    )


def test_update_refreshes_catalog_and_readme_and_keeps_the_text_around(tmp_path: Path) -> None:
    (tmp_path / README).write_text(readme("old\n", "old\n", "old\n"))
    assert stale_files(tmp_path) == [tmp_path / CATALOG, tmp_path / README]
    update_files(tmp_path)
    assert stale_files(tmp_path) == []
    assert (tmp_path / README).read_text() == readme(troubleshooting_table(), settings_table(), led_table())


@pytest.mark.parametrize("name", ["codes", "settings", "leds"])
def test_readme_without_markers_is_said_so(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}:begin"):
        with_tables(readme("", "", "").replace(name, "others"))


def test_every_setting_is_in_the_settings_table_with_default_and_bounds() -> None:
    lines = settings_table().splitlines()
    assert len(lines) == 2 + sum(len(type(table).model_fields) for _, table in Settings())
    assert any(line.startswith("| `[inbox] rescan_secs` | `60` | 1 to 3600 |") for line in lines)
    assert any(line.startswith("| `[trust] allow_unsigned` | `false` | `true`, `false` |") for line in lines)
    assert any(line.startswith("| `[docker] stop_timeout_secs` | unset | 0 to 3600 |") for line in lines)
    assert any(line.startswith("| `[media] roots` | `[]` | absolute paths |") for line in lines)


def test_every_refusal_and_failure_is_in_the_troubleshooting() -> None:
    table = troubleshooting_table()
    assert "| E-214 | `package.updater_too_old` | The package needs a newer Caisson. |" in table
    assert all(f"`{spec.code}`" in table for spec in EVENTS.values() if spec.hint)
    assert "`daemon.started`" not in table


def test_every_event_stands_once_in_the_catalog() -> None:
    catalog = journal_catalog()
    assert all(catalog.count(f"-- {spec.message_id}\n") == 1 for spec in EVENTS.values())


@pytest.mark.parametrize(
    ("what", "content"),
    [
        ("catalog", journal_catalog()),
        ("troubleshooting", troubleshooting_table()),
        ("settings", settings_table()),
    ],
)
def test_command_prints_what_is_asked_for(what: str, content: str) -> None:
    command = [sys.executable, "-m", "caissond.report.tables", what]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == content
