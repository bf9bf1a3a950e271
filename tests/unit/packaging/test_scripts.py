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
    **dict.fromkeys(("deb-systemd-helper", "systemd-sysusers", "systemd-tmpfiles", "dpkg"), "exit 0"),
    "udevadm": "exit 1",
}
FULL_DISK = '#!/bin/sh\necho x >"$3/__pycache__/a.new"\nexit 1\n'

Script = Callable[[str, str], str]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A device with the package on it, and a compiler that has room."""
    for folder in ("usr/lib/caisson/bin", "usr/lib/caisson/lib/__pycache__", "run/systemd/system", "stubs"):
        (tmp_path / folder).mkdir(parents=True)
    log = 'echo "${0##*/} $*" >>"$ROOT/log"'
    stubs = {f"stubs/{name}": f"#!/bin/sh\n{log}\n{body}\n" for name, body in STUBS.items()}
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


def calls(root: Path, *beginnings: str) -> list[str]:
    """What was asked of which program, in turn: those that begin so."""
    return [line for line in (root / "log").read_text().splitlines() if line.startswith(beginnings)]


@pytest.fixture
def udevd(root: Path) -> None:
    """By this it is known to run."""
    (root / "run/udev").mkdir()
    (root / "run/udev/control").touch()


@pytest.mark.usefixtures("udevd")
def test_stick_that_is_in_already_is_told_of_between_its_unit_and_the_daemon(root: Path, run: Script) -> None:
    """udevd has to know the rule and PID 1 the unit; the daemon gives a mount 30 s. No failure of udevadm matters."""
    run("postinst", "configure")
    made = calls(root, "udevadm", "systemctl --system daemon-reload", "deb-systemd-invoke start")
    assert [" ".join(call.split()[:2]) for call in made] == [
        "udevadm control",
        "systemctl --system",
        "udevadm trigger",
        "deb-systemd-invoke start",
    ]


@pytest.mark.usefixtures("udevd")
def test_stick_is_told_of_though_the_daemon_stays_stopped(root: Path, run: Script) -> None:
    (root / "state").write_text("inactive")
    run("prerm", "upgrade")
    assert asked(run("postinst", "configure")) == []
    assert calls(root, "udevadm trigger")


def test_nobody_is_told_of_sticks_without_udevd(root: Path, run: Script) -> None:
    run("postinst", "configure")
    assert not calls(root, "udevadm")


@pytest.mark.usefixtures("udevd")
def test_nobody_is_told_of_sticks_where_pid_1_would_not_mount_them(root: Path, run: Script) -> None:
    (root / "run/systemd/system").rmdir()
    run("postinst", "configure")
    assert not calls(root, "udevadm trigger")
