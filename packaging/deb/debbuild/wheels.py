"""Fetching what the lock names, for another Python than the one that runs, and putting it into a folder."""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from debbuild.lock import PROJECT, needed_names, parse_lock
from debbuild.suites import Architecture, Suite, wheel_platforms

WITHOUT_WHEEL = frozenset({"sdnotify"})
"""Those that are published as source only; pure Python, so a wheel made here fits everywhere."""
_SOURCES = ("caissond", "pyproject.toml", "README.md", "LICENSE")


def pip(*arguments: str | Path) -> None:
    """
    Raises:
        CalledProcessError: pip has said why.
    """
    quiet = ("--quiet", "--disable-pip-version-check", "--no-input")
    subprocess.run([sys.executable, "-m", "pip", *quiet, *map(str, arguments)], check=True)


def target_options(suite: Suite, architecture: Architecture) -> list[str]:
    """What makes pip think of the device instead of this machine."""
    platforms = [f"--platform={tag}" for tag in wheel_platforms(suite, architecture)]
    return ["--only-binary=:all:", "--implementation=cp", f"--python-version={suite.python}", *platforms]


def fetch_wheels(repository: Path, cache: Path, suite: Suite, architecture: Architecture) -> Path:
    """Have the wheels of all that the project needs in a folder, and which one. What is there already is not fetched
    again; every byte from outside is checked against the lock.
    """
    pins = parse_lock((repository / "requirements.lock").read_text(encoding="utf-8"))
    needed = {name: pins[name] for name in sorted(needed_names(suite))}
    stamp = hashlib.sha256("".join(needed.values()).encode()).hexdigest()[:12]
    wheels = cache / f"{suite.name}-{architecture.debian}-{stamp}"
    if wheels.exists():
        return wheels
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        fresh = Path(scratch) / "wheels"
        fresh.mkdir()
        published = [pin for name, pin in needed.items() if name not in WITHOUT_WHEEL]
        lock = _lock_of(published, Path(scratch) / "wheels.lock")
        options = target_options(suite, architecture)
        pip("download", "--no-deps", "--require-hashes", "--requirement", lock, "--dest", fresh, *options)
        sources = [needed[name] for name in sorted(WITHOUT_WHEEL)]
        _make_wheels(
            fresh, "--require-hashes", "--requirement", _lock_of(sources, Path(scratch) / "sources.lock")
        )
        fresh.replace(wheels)
    return wheels


def _lock_of(pins: Sequence[str], path: Path) -> Path:
    path.write_text("".join(pins), encoding="utf-8")
    return path


def make_own_wheel(repository: Path, wheels: Path) -> None:
    """The project as it stands in this tree."""
    with tempfile.TemporaryDirectory() as scratch:
        _make_wheels(wheels, _copy_of_sources(repository, Path(scratch) / PROJECT))


def _make_wheels(wheels: Path, *what: str | Path) -> None:
    pip("wheel", "--no-deps", "--no-build-isolation", "--use-pep517", "--wheel-dir", wheels, *what)


def _copy_of_sources(repository: Path, copy: Path) -> Path:
    """setuptools leaves things where it builds."""
    copy.mkdir()
    for name in _SOURCES:
        source = repository / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / name)
    return copy


def install_wheels(folders: Sequence[Path], target: Path, suite: Suite, architecture: Architecture) -> None:
    """Unpack what the project needs, and the project, into a site-packages folder. Nothing is fetched."""
    offline = ["--no-index", "--no-deps", "--no-compile", *(f"--find-links={folder}" for folder in folders)]
    names = [PROJECT, *sorted(needed_names(suite))]
    pip("install", *offline, "--target", target, *target_options(suite, architecture), *names)
    shutil.rmtree(target / "bin", ignore_errors=True)
    _forget_scripts(target)


def _forget_scripts(target: Path) -> None:
    """The lists of installed files name those of `bin` too, with digests that depend on where the package is made."""
    for record in target.glob("*.dist-info/RECORD"):
        lines = record.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith("../../bin/")]
        record.write_text("".join(kept), encoding="utf-8")
