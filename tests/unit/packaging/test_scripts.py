"""The package's scripts themselves, in a folder instead of /, with systemd and Debian's programs played by stubs."""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[3] / "packaging/deb"
STUBS = {
    "systemctl": 'case "$*" in *ActiveState*) cat "$ROOT/state" ;; esac',
    "deb-systemd-invoke": 'case "$*" in *caissond.service*) echo "$1" ;; esac',
    **dict.fromkeys(
        ("deb-systemd-helper", "systemd-sysusers", "systemd-tmpfiles", "dpkg", "udevadm"), "exit 0"
    ),
}
FULL_DISK = '#!/bin/sh\necho x >"$3/__pycache__/a.new"\nexit 1\n'

Script = Callable[[str, str], str]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A device with the package on it, and a compiler that has room."""
    for folder in ("usr/lib/caisson/bin", "usr/lib/caisson/lib/__pycache__", "run/systemd/system", "stubs"):
        (tmp_path / folder).mkdir(parents=True)
    stubs = {f"stubs/{name}": f"#!/bin/sh\n{body}\n" for name, body in STUBS.items()}
    for name, text in {**stubs, "usr/lib/caisson/bin/python3": "#!/bin/sh\n"}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    return tmp_path


@pytest.fixture
def run(root: Path) -> Script:
    """Runs one of the scripts as dpkg would; what it says and asks systemd."""

    def run(name: str, action: str) -> str:
        text = re.sub(r"(?<![\w.])/(usr/lib|run|var)/", rf"{root}/\1/", (SCRIPTS / name).read_text())
        environment = {"PATH": f"{root}/stubs:{os.environ['PATH']}", "ROOT": str(root)}
        command = ["sh", "-c", text, name, action]
        done = subprocess.run(
            command, check=True, env=environment, capture_output=True, text=True, timeout=60
        )
        return done.stdout + done.stderr

    return run


def asked(said: str) -> list[str]:
    return [line for line in said.splitlines() if line in ("start", "stop")]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        *((state, ["start"]) for state in ("active", "activating", "reloading", "deactivating")),
        *((state, []) for state in ("inactive", "failed")),
    ],
)
def test_daemon_runs_after_an_upgrade_unless_it_was_down(
    root: Path, run: Script, before: str, after: list[str]
) -> None:
    (root / "state").write_text(before)
    assert asked(run("prerm", "upgrade")) == ["stop"]
    assert asked(run("postinst", "configure")) == after


@pytest.mark.parametrize(
    ("first", "then", "after"),
    [
        ("active", "inactive", ["start"]),
        ("inactive", "inactive", []),
        ("inactive", "active", ["start"]),
    ],
)
def test_repaired_upgrade_leaves_the_daemon_as_somebody_wanted_it(
    root: Path, run: Script, first: str, then: str, after: list[str]
) -> None:
    for state in (first, then):
        (root / "state").write_text(state)
        run("prerm", "upgrade")
    assert asked(run("postinst", "configure")) == after


def test_next_upgrade_knows_nothing_of_the_last(root: Path, run: Script) -> None:
    for state in ("active", "inactive"):
        (root / "state").write_text(state)
        run("prerm", "upgrade")
        said = run("postinst", "configure")
    assert asked(said) == []


def test_full_disk_keeps_no_daemon_from_being_started(root: Path, run: Script) -> None:
    (root / "usr/lib/caisson/bin/python3").write_text(FULL_DISK)
    said = run("postinst", "configure")
    assert "Modules are not compiled" in said
    assert asked(said) == ["start"]
    assert not list(root.rglob("*.new"))
