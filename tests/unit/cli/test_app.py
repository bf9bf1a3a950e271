"""Options anywhere, exit codes, and what is said when a command was not understood."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caissond import __version__
from caissond.cli.app import hoist, run
from caissond.cli.session import ExitCode, exit_for
from caissond.model.ids import UpdateId
from caissond.model.records import Outcome, Verdict
from tests.unit.cli.command import BEGAN, CATALOG, Command


@pytest.mark.parametrize(
    ("given_", "hoisted"),
    [
        ("service list --json", "--json service list"),
        ("service --services a list", "--services a service list"),
        ("status --root=/x --json", "--root=/x --json status"),
        ("--config c status --state-dir s", "--config c --state-dir s status"),
        ("package load --yes x.edgepkg --services s", "--services s package load --yes x.edgepkg"),
        ("package load -- --json", "package load -- --json"),
        ("status --json -- --root /x", "--json status -- --root /x"),
        ("history list --service s", "history list --service s"),
        ("status --services", "--services status"),
        ("status --rooted", "status --rooted"),
    ],
)
def test_global_options_may_stand_anywhere(given_: str, hoisted: str) -> None:
    assert hoist(given_.split()) == hoisted.split()


@given(st.lists(st.sampled_from(["--json", "--root", "--root=r", "--", "status", "--yes", "x"])))
def test_hoisting_loses_nothing_and_leaves_what_is_behind_the_dashes(arguments: list[str]) -> None:
    hoisted = hoist(arguments)
    assert sorted(hoisted) == sorted(arguments)
    assert hoist(hoisted) == hoisted or "--root" in arguments


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_catalog_named_anywhere_is_the_one_that_is_read(
    caisson: Command, tmp_path: Path, place: int
) -> None:
    other = tmp_path / "other.toml"
    other.write_text(CATALOG.replace("frontend", "kiosk"))
    words = ["service", "list"]
    words[place:place] = ["--services", str(other)]
    assert "kiosk" in caisson(*words).out


def test_state_and_settings_are_those_that_are_named(caisson: Command, tmp_path: Path) -> None:
    settings = tmp_path / "my.toml"
    settings.write_text("[trust]\nallow_unsigned = true\n")
    state = tmp_path / "state"
    answer = caisson("package", "validate", caisson.package(), "--config", settings, f"--state-dir={state}")
    assert answer.code == 0
    assert (state / "state.db").exists()
    assert not caisson.paths.state_dir.exists()


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Outcome.SUCCEEDED, 0),
        (Outcome.NOTHING_TO_DO, 0),
        (Outcome.SKIPPED, 0),
        (Outcome.REFUSED, 2),
        (Outcome.FAILED, 4),
        (Outcome.ROLLED_BACK, 4),
        (Outcome.ROLLBACK_FAILED, 5),
        (Outcome.POSTPONED, 6),
    ],
)
def test_each_outcome_has_the_rust_tools_exit_code(outcome: Outcome, code: int) -> None:
    assert exit_for(_verdict(outcome)) == code


def test_no_outcome_is_without_an_exit_code() -> None:
    assert all(isinstance(exit_for(_verdict(outcome)), ExitCode) for outcome in Outcome)


@pytest.mark.parametrize("code", ["docker.unavailable", "lock.busy"])
def test_docker_down_is_an_error_and_not_a_wait(code: str) -> None:
    assert exit_for(_verdict(Outcome.POSTPONED, code)) == ExitCode.ERROR


def _verdict(outcome: Outcome, code: str = "") -> Verdict:
    return Verdict(
        update_id=UpdateId("1"), package="x", outcome=outcome, code=code, started_at=BEGAN, finished_at=BEGAN
    )


@pytest.mark.parametrize(
    "arguments",
    [
        "nonsense",
        "service",
        "service show",
        "service list surplus",
        "package load",
        "package load --nonsense x.edgepkg",
        "package validate a b",
        "history list --limit -1",
        "history list --limit many",
        "history list --limit 99999999999999999999",
        "status --services",
        "status --json=yes",
    ],
)
def test_wrong_usage_says_so_and_exits_64(caisson: Command, arguments: str) -> None:
    answer = caisson(*arguments.split())
    assert (answer.code, answer.out) == (64, "")
    assert answer.err.startswith("error: ")
    assert answer.err.endswith("\nhint:  see caisson --help\n")


def test_no_command_at_all_shows_the_help_and_exits_64(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 64
    assert "Usage: caisson" in capsys.readouterr().out


def test_wrong_usage_cannot_write_to_the_terminal(caisson: Command) -> None:
    answer = caisson("\x1b[2J\nevil")
    assert (answer.code, "\x1b" in answer.err, len(answer.err.splitlines())) == (64, False, 2)


@pytest.mark.parametrize("arguments", [["--help"], ["package", "load", "--help"], ["history", "-h"]])
def test_help_is_no_error(caisson: Command, arguments: list[str]) -> None:
    answer = caisson(*arguments)
    assert (answer.code, answer.err) == (0, "")
    assert "Usage: caisson" in answer.out


def test_version_needs_no_device(caisson: Command) -> None:
    caisson.paths.services.unlink()
    assert caisson("--version").out == f"caisson {__version__}\n"


def test_exit_code_reaches_the_shell(caisson: Command) -> None:
    assert caisson.as_process("nonsense").code == 64
    assert caisson.as_process("package", "validate", "/no/such.edgepkg").code == 2


def test_settings_that_somebody_named_have_to_be_there(caisson: Command) -> None:
    caisson.paths.config.unlink(missing_ok=True)
    assert caisson("service", "list").code == 0
    answer = caisson("--config", "/no/such.toml", "service", "list")
    assert (answer.code, "cannot find the settings /no/such.toml" in answer.err) == (1, True)


def test_colons_in_a_name_make_no_picture(caisson: Command) -> None:
    assert "n:x:.edgepkg" in caisson("package", "inspect", "/no/n:x:.edgepkg").err


def test_answer_that_cannot_be_written_is_said_in_one_line(caisson: Command) -> None:
    code = "from caissond.cli.entry import main; main()"
    program: list[str | Path] = [sys.executable, "-c", code, "--root", caisson.root]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*program, "history", "list"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert "cannot write the answer: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
