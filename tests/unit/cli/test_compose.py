"""`caisson compose` hands everything to Compose's own command, and lets nobody update while that changes something."""

import fcntl
import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from caissond.store.database import Database
from caissond.store.journal import Journal
from caissond.store.lock import hold_lock
from tests.unit.cli.command import CATALOG, Command
from tests.unit.host.fake_compose import FakePrograms
from tests.unit.samples import record, release

PULLS = "[ \"$2\" = --help ] && echo ' --pull string'; exit 0"
"""It answers for its commands that they have this option."""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePrograms:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return FakePrograms(tmp_path / "bin")


@pytest.fixture
def site(caisson: Command) -> Path:
    """The project's folder, named by the catalog beside it."""
    folder = caisson.paths.services.parent / "site"
    folder.mkdir()
    (folder / "compose.yaml").write_text("services: {}\n")
    caisson.paths.services.write_text(
        CATALOG.replace("/opt/site/compose.yaml", "site/compose.yaml") + 'profiles = ["field"]\n'
    )
    return folder


def given(site: Path, *arguments: str) -> list[str]:
    return ["-p", "site", "-f", str(site / "compose.yaml"), "--profile", "field", *arguments]


def test_command_gets_the_project_and_the_rest_as_it_was_typed(
    caisson: Command, programs: FakePrograms, site: Path
) -> None:
    programs.docker("2.26.1")
    assert caisson("compose", "backend", "--", "logs", "--json", "-n", "5", "a b", "--", "c").code == 0
    assert programs.seen("arguments") == given(site, "logs", "--json", "-n", "5", "a b", "--", "c")
    assert programs.seen("folder") == [str(site)]


@pytest.mark.parametrize("code", [0, 1, 3, 7, 130])
def test_exit_code_is_given_back(caisson: Command, programs: FakePrograms, site: Path, code: int) -> None:
    programs.docker("2.26.1", f"exit {code}")
    assert site.exists()
    answer = caisson("compose", "backend", "ps")
    assert (answer.code, answer.err) == (code, "")


def test_death_by_a_signal_is_told_as_shells_do(caisson: Command, programs: FakePrograms, site: Path) -> None:
    programs.docker("2.26.1", "kill -KILL $$")
    assert site.exists()
    assert caisson("compose", "backend", "ps").code == 137


def test_streams_are_those_of_the_user(caisson: Command, programs: FakePrograms, site: Path) -> None:
    programs.docker("2.26.1", 'read -r line; echo "out $line"; echo "err $line" >&2')
    assert site.exists()
    answer = caisson.as_process("compose", "backend", "--", "exec", "backend", "cat", stdin=b"typed\n")
    assert (answer.out, answer.err) == ("out typed\n", "err typed\n")


def test_nothing_is_fetched_unless_it_is_asked_for(
    caisson: Command, programs: FakePrograms, site: Path
) -> None:
    programs.docker("2.26.1", PULLS)
    caisson("compose", "backend", "--", "up", "-d", "--pull", "always")
    assert programs.seen("arguments") == given(site, "up", "--pull", "never", "-d", "--pull", "always")
    caisson("compose", "backend", "--", "stop")
    assert programs.seen("arguments") == given(site, "stop")


@pytest.mark.parametrize("version", ["1.29.2", "2.14.2"])
def test_version_that_cannot_be_told_not_to_fetch_needs_the_images(
    caisson: Command, programs: FakePrograms, site: Path, version: str
) -> None:
    """Before anything else, the engine is asked for them; here there is none."""
    answer = (
        "services: {web: {image: web:1}}" if version < "2" else '{"services": {"web": {"image": "web:1"}}}'
    )
    programs.docker_compose(version, f"[ $2 = --help ] && echo ' --pull x'; echo '{answer}'")
    said = caisson.as_process("compose", "backend", "--", "up", "-d")
    assert (said.code, "[docker.unavailable, E-501]" in said.err) == (1, True)
    assert programs.seen("arguments")[6] == "config"
    assert site.exists()


def test_looking_is_possible_while_somebody_updates(
    caisson: Command, programs: FakePrograms, site: Path
) -> None:
    programs.docker("2.26.1", PULLS)
    with hold_lock(caisson.paths.lock, who="caissond, process 812"):
        assert caisson("compose", "backend", "--", "ps", "-a").code == 0
        answer = caisson("compose", "backend", "--", "up", "-d")
    assert answer.code == 1
    assert "held by caissond, process 812 [lock.busy, E-721]" in answer.err
    assert programs.seen("arguments") == given(site, "ps", "-a")


def test_nobody_can_update_while_it_changes_something(
    caisson: Command, programs: FakePrograms, site: Path
) -> None:
    programs.docker("2.26.1", "read -r line; exit 0")
    assert site.exists()
    with start(caisson, "down") as process:
        wait_for(programs.bin / "folder")
        assert "held by caisson compose, process" in caisson("compose", "backend", "--", "up").err
        process.communicate(b"\n", timeout=60)
    assert process.returncode == 0


def test_unsettled_update_of_the_project_is_in_the_way(
    caisson: Command, programs: FakePrograms, site: Path
) -> None:
    programs.docker("2.26.1", PULLS)
    begin(caisson, "frontend")
    assert caisson("compose", "backend", "--", "down").code == 0
    begin(caisson, "backend")
    answer = caisson("compose", "backend", "--", "up")
    assert (answer.code, "service.unsettled" in answer.err) == (1, True)
    assert caisson("compose", "backend", "--", "ps").code == 0
    assert programs.seen("arguments") == given(site, "ps")


def begin(caisson: Command, service: str) -> None:
    """Write down that an update of it was cut off."""
    one = record("load")
    part = one.parts[0].model_copy(update={"release": release(service=service)})
    with closing(Database(caisson.paths.database)) as database:
        Journal(database).begin(one.model_copy(update={"parts": (part,), "update_id": f"id-{service}"}))


def test_without_arguments_it_says_what_it_would_run(
    caisson: Command, programs: FakePrograms, site: Path
) -> None:
    programs.docker("2.26.1")
    command = " ".join((str(programs.bin / "docker"), "compose", *given(site)))
    assert caisson("compose", "backend").lines == [f"In {site}: {command} ...", "Version: 2.26.1"]
    assert caisson("compose", "backend", "--json").json == {
        "command": command.split(),
        "folder": str(site),
        "version": "2.26.1",
    }


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (
            ("frontend", "ps"),
            64,
            "cannot run Compose for frontend: it is a plain container [usage.wrong, E-964]",
        ),
        (("nobody", "ps"), 1, "cannot find the service 'nobody' in the catalog [service.unknown, E-528]"),
        (("backend", "--", "-p", "x", "ps"), 64, "with -p in front, expected a command such as ps"),
        (("backend", "ps"), 2, "/site: No such file or directory [compose.invalid, E-532]"),
    ],
)
def test_what_cannot_be_run_is_refused(
    caisson: Command, programs: FakePrograms, site: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    programs.docker("2.26.1")
    site.rename(site.parent / "elsewhere")
    answer = caisson("compose", *arguments)
    assert (answer.code, words in answer.err) == (code, True), answer.err


def test_absence_of_compose_is_a_refusal(caisson: Command, programs: FakePrograms, site: Path) -> None:
    assert not any(programs.bin.iterdir())
    assert site.exists()
    answer = caisson("compose", "backend", "--", "ps")
    assert (answer.code, "[compose.unavailable, E-531]" in answer.err) == (2, True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signal_reaches_compose_which_has_the_last_word(
    caisson: Command, programs: FakePrograms, site: Path, number: signal.Signals
) -> None:
    programs.docker("2.26.1", "trap 'exit 42' TERM HUP INT; echo ready; while :; do /bin/sleep 0.1; done")
    assert site.exists()
    with start(caisson, "logs", "-f") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        assert process.wait(60) == 42


def test_ctrl_c_reaches_compose_once(caisson: Command, programs: FakePrograms, site: Path) -> None:
    """A second one makes it kill the containers that it waits for. Tried often, as two at once look like one."""
    programs.docker(
        "2.26.1", "trap 'echo told' INT; echo ready; until [ \"$a\" = end ]; do read -r a; done; exit 42"
    )
    assert site.exists()
    ours, theirs = os.openpty()
    with start(caisson, "logs", "-f", terminal=theirs) as process:
        os.close(theirs)
        assert b"ready" in os.read(ours, 100)
        for _ in range(5):
            os.write(ours, b"\x03")
            time.sleep(0.2)
        os.write(ours, b"end\n")
        assert process.wait(60) == 42
        assert 1 <= os.read(ours, 1000).count(b"told") <= 5
    os.close(ours)


@contextmanager
def start(
    caisson: Command, *arguments: str, terminal: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """In a session of its own, without a terminal or with this one; ended with all that it started."""
    program = [sys.executable, "-c", "from caissond.cli.entry import main; main()"]
    with subprocess.Popen(
        [*program, "--root", str(caisson.root), "compose", "backend", "--", *arguments],
        stdin=terminal or subprocess.PIPE, stdout=terminal or subprocess.PIPE, start_new_session=True,
        preexec_fn=None if terminal is None else lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
