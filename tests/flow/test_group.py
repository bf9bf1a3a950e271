"""Members of the group `caisson`: they drop packages and read how it went, with the rights that the system gives."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from caissond.model.paths import Paths
from caissond.model.status import DaemonState
from caissond.report.status import StatusFile
from caissond.store.database import Database
from tests.flow.test_units import UNITS, WORK_IN_INBOX, said, settings_of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="taking another user's part needs root")

MEMBER, OTHER_MEMBER, STRANGER = 54321, 54322, 54323

# The program itself may lie where only root comes: everything of it is there before the user changes
STATUS_AS = """
import os, sys
from caissond.cli.app import app
user, group, root = sys.argv[1:]
os.setgroups([int(group)])
os.setgid(int(user))
os.setuid(int(user))
app(["--root", root, "status"])
"""


class Machine:
    """A root that systemd-sysusers and systemd-tmpfiles have set up."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths = Paths.below(root)
        for name in ("sysusers", "tmpfiles"):
            folder = root / f"usr/lib/{name}.d"
            folder.mkdir(parents=True)
            shutil.copy(UNITS / f"caisson.{name}.conf", folder / "caisson.conf")
        (root / "etc").mkdir()
        said("systemd-sysusers", f"--root={root}", "caisson.conf")
        said("systemd-tmpfiles", "--create", f"--root={root}", "caisson.conf")
        lines = (root / "etc/group").read_text().splitlines()
        self.group = next(line.split(":")[2] for line in lines if line.startswith("caisson:"))

    def run(self, user: int, *command: str | Path) -> tuple[int, str]:
        """What a user gets to see, and the exit code."""
        groups = ["--clear-groups"] if user == STRANGER else [f"--groups={self.group}"]
        done = subprocess.run(
            ["setpriv", f"--reuid={user}", f"--regid={user}", *groups, *command],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stdout + done.stderr

    def drop(self, user: int, name: str = "a.edgepkg") -> bool:
        """A copy that nobody else may read, as scp -p makes it of a file of mode 0600."""
        script = 'umask 077; echo package >"$0"'
        return self.run(user, "sh", "-c", script, self.paths.inbox / name)[0] == 0


@pytest.fixture
def machine() -> Iterator[Machine]:
    """Not in pytest's folder: that is closed to other users."""
    root = Path(tempfile.mkdtemp(prefix="caisson-group-"))
    root.chmod(0o755)
    yield Machine(root)
    shutil.rmtree(root)


def test_package_that_a_member_dropped_is_read_and_removed_by_the_daemon(machine: Machine) -> None:
    assert machine.drop(MEMBER)
    package = machine.paths.inbox / "a.edgepkg"
    assert (package.stat().st_uid, package.stat().st_mode & 0o777) == (MEMBER, 0o600)
    wanted = dict(settings_of("caissond.service"))["CapabilityBoundingSet"].lower().split()
    kept = ",".join(("-all", *(name.replace("cap_", "+") for name in wanted)))
    as_the_unit = ("setpriv", f"--bounding-set={kept}", "--inh-caps=-all", f"--groups={machine.group}")
    said(*as_the_unit, sys.executable, "-c", WORK_IN_INBOX, package)
    assert not package.exists()


def test_stranger_may_not_drop_packages_nor_see_what_is_there(machine: Machine) -> None:
    assert not machine.drop(STRANGER)
    assert machine.run(STRANGER, "ls", machine.paths.inbox)[0] != 0


def test_member_may_not_remove_what_another_one_dropped(machine: Machine) -> None:
    assert machine.drop(MEMBER)
    assert machine.run(OTHER_MEMBER, "rm", "-f", machine.paths.inbox / "a.edgepkg")[0] != 0
    assert not machine.drop(OTHER_MEMBER)


def test_member_reads_the_status_that_the_daemon_writes_and_not_its_secrets(machine: Machine) -> None:
    before = os.umask(0o027)  # the unit's
    try:
        Database(machine.paths.database).close()
        StatusFile(machine.paths.status).state(DaemonState.IDLE)
    finally:
        os.umask(before)
    text = said(sys.executable, "-c", STATUS_AS, str(MEMBER), machine.group, machine.root)
    assert text.splitlines()[0] == f"Daemon: caissond, process {os.getpid()}"
    assert "Services: only root may see them." in text
    assert machine.run(MEMBER, "cat", machine.paths.database)[0] != 0
