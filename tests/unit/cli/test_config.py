"""Mistakes of the admin: the file, the line, what was expected, exit 1, never a traceback."""

from pathlib import Path

import pytest

from tests.unit.cli.command import CATALOG, Command

READERS = [("service", "list"), ("service", "show", "frontend"), ("status",)]
EVERYBODY = [*READERS, ("package", "validate", "x.edgepkg"), ("package", "load", "--yes", "x.edgepkg")]

BAD_CATALOGS = {
    "not toml": ("catalog_version = 1\n[[services]\n", 2, "Expected"),
    "missing key": (CATALOG.replace('container_name = "frontend"\n', ""), 8, "container_name is missing"),
    "wrong type": (CATALOG.replace("= 1", '= "one"', 1), 1, "catalog_version"),
    "unknown runtime": (CATALOG.replace('"docker"', '"podman"'), 7, "runtime_mode"),
    "rollback off": (CATALOG + "[services.rollback]\nautomatic = false\n", 22, "automatic"),
    "deep nesting": ("a = " + "[" * 5000 + "]" * 5000, 1, "nested"),
}
BAD_SETTINGS = {
    "not toml": ("[trust]\nallow_unsigned = maybe\n", 2, "Invalid value"),
    "unknown key": ("[trust]\nallow_unsinged = true\n", 2, "allow_unsinged is not a known key"),
    "wrong type": ('[inbox]\n\nrescan_secs = "often"\n', 3, "valid integer, but it is 'often'"),
    "relative root": ("[media]\nroots = ['media']\n", 2, "must be an absolute path"),
}


def check_complaint(caisson: Command, arguments: tuple[str, ...], path: Path, line: int, reason: str) -> None:
    answer = caisson(*arguments)
    assert answer.code == 1
    assert "Traceback" not in answer.err
    first, hint = answer.err.splitlines()
    assert first.startswith("error: cannot use the ")
    assert str(path) in first
    assert f"line {line}" in first
    assert reason in first
    assert hint.startswith("hint:  correct the file")


@pytest.mark.parametrize("arguments", EVERYBODY, ids=" ".join)
@pytest.mark.parametrize("fault", BAD_CATALOGS)
def test_bad_catalog_is_told_with_file_and_line(
    caisson: Command, fault: str, arguments: tuple[str, ...]
) -> None:
    text, line, reason = BAD_CATALOGS[fault]
    caisson.paths.services.write_text(text)
    check_complaint(caisson, arguments, caisson.paths.services, line, reason)


@pytest.mark.parametrize("arguments", EVERYBODY, ids=" ".join)
@pytest.mark.parametrize("fault", BAD_SETTINGS)
def test_bad_settings_are_told_with_file_and_line(
    caisson: Command, fault: str, arguments: tuple[str, ...]
) -> None:
    text, line, reason = BAD_SETTINGS[fault]
    caisson.paths.config.write_text(text)
    check_complaint(caisson, arguments, caisson.paths.config, line, reason)


@pytest.mark.parametrize("arguments", EVERYBODY, ids=" ".join)
def test_missing_catalog_is_told(caisson: Command, arguments: tuple[str, ...]) -> None:
    caisson.paths.services.unlink()
    answer = caisson(*arguments)
    assert answer.code == 1
    assert f"cannot find the catalog {caisson.paths.services} [catalog.missing, E-703]" in answer.err
    assert "write services.toml" in answer.err


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"\xff\xfe", "codec can't decode"), (b"#" * (1 << 20) + b"#", "larger than 1048576 bytes")],
)
def test_unreadable_catalog_is_told(caisson: Command, content: bytes, reason: str) -> None:
    caisson.paths.services.write_bytes(content)
    answer = caisson("service", "list")
    assert (answer.code, "settings.unreadable" in answer.err, reason in answer.err) == (1, True, True)


def test_catalog_that_is_a_folder_is_told(caisson: Command) -> None:
    caisson.paths.services.unlink()
    caisson.paths.services.mkdir()
    answer = caisson("service", "list")
    assert (answer.code, answer.out) == (1, "")
    assert "Is a directory" in answer.err


def test_history_can_be_read_whatever_the_settings_say(caisson: Command) -> None:
    caisson.remember()
    caisson.paths.config.write_text("nonsense")
    caisson.paths.services.unlink()
    assert "frontend-0.edgepkg" in caisson("history", "list").out


def test_key_that_nobody_reads_does_not_stand_in_the_way(caisson: Command) -> None:
    caisson.paths.services.write_text(CATALOG.replace("platform =", 'colour = "red"\nplatform ='))
    assert caisson("service", "list").code == 0
