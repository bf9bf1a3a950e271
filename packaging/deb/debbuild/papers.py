"""The papers of a Debian package: control, changelog, checksums, scripts (deb-control(5), Debian policy 5 to 7)."""

import hashlib
import re
import shutil
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from debbuild.licences import copyright_file
from debbuild.suites import Architecture, Suite
from debbuild.tree import DOCUMENTS, put_gzip, site_packages

PACKAGE = "caisson"
SCRIPTS = ("postinst", "prerm", "postrm")
_TOP = re.compile(r"^(?P<name>\S+) \((?P<version>[^)]+)\) (?P<suite>\S+);", re.MULTILINE)
_DATED = re.compile(r"^ -- .*>  (?P<date>.*)$", re.MULTILINE)


def changelog_for(text: str, suite: Suite) -> str:
    """The changelog as this suite gets it: its newest entry says for which Debian the package was made."""
    return _TOP.sub(
        lambda top: f"{top['name']} ({top['version']}~deb{suite.number}u1) {suite.name};", text, count=1
    )


def version_of(changelog: str) -> str:
    """
    Raises:
        ValueError: it does not begin as deb-changelog(5) wants.
    """
    if not (top := _TOP.match(changelog)):
        raise ValueError("expected a changelog to begin with NAME (VERSION) SUITE;")
    return top["version"]


def date_of(changelog: str) -> datetime:
    """
    Raises:
        ValueError: no entry is dated as deb-changelog(5) wants.
    """
    if not (dated := _DATED.search(changelog)):
        raise ValueError("expected a dated entry in the changelog")
    return parsedate_to_datetime(dated["date"])


def write_papers(repository: Path, root: Path, suite: Suite, architecture: Architecture) -> str:
    """Copyright, changelog and everything below DEBIAN/; the version of the package."""
    sources = repository / "packaging/deb"
    changelog = changelog_for((sources / "changelog").read_text(encoding="utf-8"), suite)
    put_gzip(changelog.encode(), root / DOCUMENTS / "changelog.Debian.gz")
    own_licence = (repository / "LICENSE").read_text(encoding="utf-8")
    licences = copyright_file(site_packages(root, suite), own_licence)
    (root / DOCUMENTS / "copyright").write_text(licences, encoding="utf-8")
    overrides = root / "usr/share/lintian/overrides" / PACKAGE
    overrides.parent.mkdir(parents=True)
    shutil.copyfile(sources / "lintian-overrides", overrides)
    papers = root / "DEBIAN"
    papers.mkdir()
    template = (sources / "control").read_text(encoding="utf-8")
    control = template.format(
        version=version_of(changelog),
        architecture=architecture.debian,
        interpreter=suite.interpreter,
        systemd=suite.systemd,
        installed_kib=installed_kib(root),
    )
    (papers / "control").write_text(control, encoding="utf-8")
    (papers / "md5sums").write_text(md5sums(root), encoding="utf-8")
    for name in SCRIPTS:
        shutil.copyfile(sources / name, papers / name)
        (papers / name).chmod(0o755)
    return version_of(changelog)


def _files(root: Path) -> list[Path]:
    """The files that the device gets, without links and papers."""
    found = (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    return sorted(path for path in found if path.relative_to(root).parts[0] != "DEBIAN")


def md5sums(root: Path) -> str:
    """deb-md5sums(5)."""
    lines = [
        f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(root)}" for path in _files(root)
    ]
    return "".join(line + "\n" for line in lines)


def installed_kib(root: Path) -> int:
    """What policy 5.6.20 calls the installed size: files in whole KiB, and one for each folder and link."""
    files = sum(-(-path.stat().st_size // 1024) for path in _files(root))
    return files + sum(1 for path in root.rglob("*") if path.is_dir() or path.is_symlink())
