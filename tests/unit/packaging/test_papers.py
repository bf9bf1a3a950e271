"""Changelog, checksums and licences of the package."""

import hashlib
import re
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from debbuild.licences import copyright_file
from debbuild.papers import changelog_for, date_of, installed_kib, md5sums, version_of
from debbuild.suites import SUITES
from debbuild.tree import lay_out

from caissond import __version__

REPOSITORY = Path(__file__).parents[3]
CHANGELOG = (REPOSITORY / "packaging/deb/changelog").read_text()


def test_newest_entry_of_the_changelog_is_this_version() -> None:
    assert version_of(CHANGELOG).rpartition("-")[0] == __version__


def test_package_for_an_older_debian_is_the_older_version() -> None:
    versions = [version_of(changelog_for(CHANGELOG, SUITES[name])) for name in ("bookworm", "trixie")]
    assert versions == sorted(versions)
    assert versions[0].endswith("~deb12u1")


def test_date_is_that_of_the_newest_entry() -> None:
    text = (
        "a (2) x; urgency=low\n\n * y\n\n -- B <b@c>  Sat, 21 Nov 2026 00:00:00 +0000\n\n"
        "a (1) x; urgency=low\n\n -- B <b@c>  Fri, 20 Nov 2026 00:00:00 +0000\n"
    )
    assert date_of(text) == datetime(2026, 11, 21, tzinfo=UTC)


@pytest.mark.parametrize("read", [version_of, date_of])
def test_changelog_without_entries_is_noticed(read: Callable[[str], object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        read("nothing\n")


def test_checksums_are_of_what_the_device_gets(tmp_path: Path) -> None:
    (tmp_path / "DEBIAN").mkdir()
    (tmp_path / "DEBIAN/control").touch()
    (tmp_path / "a").write_text("x")
    (tmp_path / "link").symlink_to("a")
    assert md5sums(tmp_path) == f"{hashlib.md5(b'x').hexdigest()}  a\n"


def test_installed_size_counts_in_whole_kibibytes(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/a").write_bytes(bytes(1025))
    assert installed_kib(tmp_path) == 3


@pytest.fixture
def root(tmp_path: Path) -> Path:
    lay_out(REPOSITORY, tmp_path, SUITES["bookworm"])
    return tmp_path


def test_every_unit_rule_and_program_is_installed(root: Path) -> None:
    installed = {path.name for path in root.rglob("*")}
    sources = [
        *REPOSITORY.glob("systemd/*.s*"),
        *REPOSITORY.glob("udev/*"),
        *REPOSITORY.glob("packaging/caisson-*"),
    ]
    wanted = {path.name for path in sources if not path.name.endswith(".conf")}
    scripts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"]
    assert wanted | scripts.keys() <= installed


def test_every_program_that_a_unit_starts_is_installed_and_executable(root: Path) -> None:
    text = "".join(path.read_text() for path in (root / "usr/lib/systemd/system").iterdir())
    programs = re.findall(r"^Exec\w+=(/usr/(?:bin|lib)/caisson\S+)", text, re.MULTILINE)
    assert len(programs) >= 4
    assert all((root / program[1:]).stat().st_mode & 0o111 for program in programs)


def test_file_that_nobody_knows_where_to_put_is_noticed(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    for name in ("systemd", "packaging/deb"):
        (repository / name).mkdir(parents=True)
    (repository / "pyproject.toml").write_text("[project.scripts]\n")
    (repository / "systemd/odd.weather").touch()
    with pytest.raises(ValueError, match=r"odd\.weather"):
        lay_out(repository, tmp_path / "root", SUITES["bookworm"])


def library(folder: Path, *, licence: str, text: str) -> None:
    place = folder / "thing-1.0.dist-info"
    (place / "licenses").mkdir(parents=True)
    (folder / "thing").mkdir()
    (place / "METADATA").write_text(f"Metadata-Version: 2.4\nName: Thing\nVersion: 1.0\n{licence}\n")
    (place / "licenses/LICENSE").write_text(text)
    (place / "RECORD").write_text(
        "thing/__init__.py,,\nthing-1.0.dist-info/licenses/LICENSE,,\n../../bin/thing,,\n"
    )


def test_licence_of_a_library_is_told_with_its_owner(tmp_path: Path) -> None:
    library(
        tmp_path,
        licence="License-Expression: MIT OR ISC",
        text="Copyright (c) 2020 Somebody\n\nDo as you like.\n",
    )
    stanza = copyright_file(tmp_path, "Copyright (c) 2026 Us\n").split("\n\n")[-1]
    assert "Files: usr/lib/caisson/lib/*/site-packages/thing-1.0.dist-info/*\n usr/" in stanza
    assert "Copyright: Copyright (c) 2020 Somebody\n" in stanza
    assert "License: thing-MIT-or-ISC\n Copyright (c) 2020 Somebody\n .\n Do as you like.\n" in stanza
    assert "bin/" not in stanza


def test_licence_that_debian_has_is_referred_to(tmp_path: Path) -> None:
    text = "Apache License\nVersion 2.0\n" + "and so on\n" * 100
    library(tmp_path, licence="License: Apache-2.0", text=text)
    said = copyright_file(tmp_path, "")
    assert "/usr/share/common-licenses/Apache-2.0" in said
    assert "Copyright: the authors of Thing" in said
    assert "and so on" not in said
