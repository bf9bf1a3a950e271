"""`python -m debbuild [SUITE [ARCH]]`: from a source tree to dist/caisson_VERSION_ARCH.deb, whose path it prints."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from debbuild.manual import write_manual
from debbuild.papers import PACKAGE, date_of, write_papers
from debbuild.suites import ARCHITECTURES, SUITES, Architecture, Suite
from debbuild.tree import lay_out, site_packages
from debbuild.wheels import fetch_wheels, install_wheels, make_own_wheel

SOURCES = Path(__file__).parents[1]
REPOSITORY = SOURCES.parents[1]
CACHE = REPOSITORY / ".cache/deb"


def build(suite: Suite, architecture: Architecture, output: Path, compression: str = "xz") -> Path:
    """Make one package; where it is.

    Raises:
        CalledProcessError: pip or dpkg-deb, which have said why.
        OSError: a file cannot be read or written.
    """
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        own, root = Path(scratch) / "own", Path(scratch) / "root"
        root.mkdir()
        wheels = fetch_wheels(REPOSITORY, CACHE, suite, architecture)
        make_own_wheel(REPOSITORY, own)
        install_wheels([wheels, own], site_packages(root, suite), suite, architecture)
        lay_out(REPOSITORY, root, suite)
        write_manual(REPOSITORY, root, _date())
        version = write_papers(REPOSITORY, root, suite, architecture)
        _even_out(root, int(_date().timestamp()))
        return _pack(root, output / f"{PACKAGE}_{version}_{architecture.debian}.deb", compression)


def _date() -> datetime:
    """When the newest entry of the changelog was made; all files get this time, so that the same sources give the same
    bytes (reproducible-builds.org/docs/timestamps).
    """
    return date_of((SOURCES / "changelog").read_text(encoding="utf-8"))


def _even_out(root: Path, epoch: int) -> None:
    """Modes and times that do not depend on who builds, when, and under which umask."""
    root.chmod(0o755)
    for path in root.rglob("*"):
        if not path.is_symlink():
            executable = path.is_dir() or (path.stat().st_mode & 0o100 and "site-packages" not in path.parts)
            path.chmod(0o755 if executable else 0o644)
        os.utime(path, (epoch, epoch), follow_symlinks=False)


def _pack(root: Path, package: Path, compression: str) -> Path:
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(int(_date().timestamp()))}
    command = [
        "dpkg-deb",
        "--root-owner-group",
        f"-Z{compression}",
        *(["-z1"] if compression == "gzip" else []),
        "--build",
        str(root),
        str(package),
    ]
    subprocess.run(command, check=True, stdout=sys.stderr, env=environment)
    return package


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="./dev deb", description="make the Debian package")
    parser.add_argument("suite", nargs="?", choices=sorted(SUITES), default="bookworm")
    parser.add_argument("architecture", nargs="?", choices=sorted(ARCHITECTURES), default="amd64")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "dist", help="the folder it goes to")
    parser.add_argument("--compress", choices=["xz", "gzip"], default="xz", help="gzip is quick, for tests")
    given = parser.parse_args(arguments)
    if shutil.which("dpkg-deb") is None:
        print("cannot make a package without dpkg-deb: install dpkg-dev", file=sys.stderr)
        return 1
    try:
        suite, architecture = SUITES[given.suite], ARCHITECTURES[given.architecture]
        print(build(suite, architecture, given.output, given.compress))
    except subprocess.CalledProcessError as exc:
        print(f"cannot make the package: {exc.cmd[0]} {exc.cmd[-1]} failed", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
