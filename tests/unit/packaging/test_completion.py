"""What Tab offers behind `caisson`, asked of bash itself."""

import os
import pty
import select
import subprocess
import time
from pathlib import Path

import pytest
from debbuild.command_tree import Command, caisson_command
from debbuild.completion import completion

REPOSITORY = Path(__file__).parents[3]
TEMPLATE = (REPOSITORY / "packaging/caisson.bash-completion").read_text()

ASK = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_caisson
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "completion"
    path.write_text(completion(TEMPLATE, caisson_command()[0]))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a package, another file, a folder and a catalog."""
    place = tmp_path / "here"
    (place / "sub").mkdir(parents=True)
    for name in ("good.edgepkg", "with blank.edgepkg", "notes.txt"):
        (place / name).touch()
    (place / "services.toml").write_text(
        '[[services]]\nname = "frontend"  # one\n[[services]]\n  name="logger"\n'
    )
    return place


def offered(script: Path, folder: Path, *words: str) -> set[str]:
    """What is offered where the last of the words is being typed."""
    command = ["bash", "--norc", "-c", ASK, "bash", str(script), "caisson", *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder, timeout=60)
    assert done.stderr == ""
    return set(done.stdout.split("\n")) - {""}


def test_commands_are_offered_by_their_beginning(script: Path, folder: Path) -> None:
    assert offered(script, folder, "s") == {"service", "status"}
    assert offered(script, folder, "package", "c") == {"cleanup", "convert"}


def test_options_of_the_command_and_those_that_may_stand_anywhere_are_offered(
    script: Path, folder: Path
) -> None:
    assert offered(script, folder, "package", "load", "--a") == {"--allow-unsigned", "--allow-downgrade"}
    assert offered(script, folder, "package", "load", "--j") == {"--json"}


def test_packages_and_folders_are_offered_and_no_other_files(script: Path, folder: Path) -> None:
    found = offered(script, folder, "package", "load", "--yes", "")
    assert found == {"good.edgepkg", "with blank.edgepkg", "sub"}


def test_second_file_of_convert_may_be_any(script: Path, folder: Path) -> None:
    assert "notes.txt" in offered(script, folder, "package", "convert", "good.edgepkg", "n")


def test_services_come_from_the_catalog_that_is_named(script: Path, folder: Path) -> None:
    named = ("--services", "services.toml")
    assert offered(script, folder, *named, "service", "show", "") == {"frontend", "logger"}
    as_bash_splits_it = ("--services", "=", "services.toml")
    assert offered(script, folder, *as_bash_splits_it, "rollback", "f") == {"frontend"}


def test_services_come_from_below_another_root(script: Path, folder: Path) -> None:
    catalog = folder / "sub/etc/caisson/services.toml"
    catalog.parent.mkdir(parents=True)
    catalog.write_text('name = "below"\n')
    assert offered(script, folder, "rollback", "--root", "sub", "") == {"below"}


def test_hostile_service_name_runs_nothing_and_is_not_offered(script: Path, folder: Path) -> None:
    """Offered, it would run with Enter."""
    names = ("$(touch ran)y", "`touch ran`", "${z:=$(touch ran)}", "x; touch ran", "a b", "front-end_2.0")
    (folder / "services.toml").write_text("".join(f'[[services]]\nname = "{name}"\n' for name in names))
    found = offered(script, folder, "--services", "services.toml", "rollback", "")
    assert not (folder / "ran").exists()
    assert found == {"front-end_2.0"}


@pytest.mark.parametrize(
    "word", ["$(touch ran)", "$(touch ran)/y", "`touch ran`", "--$(touch ran)", "a[$(touch ran)]"]
)
@pytest.mark.parametrize(
    "before",
    [
        (),
        ("package",),
        ("package", "load"),
        ("package", "convert", "good.edgepkg"),
        ("rollback",),
        ("--services",),
        ("--state-dir",),
    ],
)
def test_hostile_word_on_the_line_runs_nothing(
    script: Path, folder: Path, before: tuple[str, ...], word: str
) -> None:
    offered(script, folder, *before, word)
    offered(script, folder, *before, word, "")
    assert not (folder / "ran").exists()


def test_value_of_an_option_is_offered_what_it_takes(script: Path, folder: Path) -> None:
    assert offered(script, folder, "package", "verify", "--allowed-signers", "n") == {"notes.txt"}
    assert offered(script, folder, "--state-dir", "s") == {"sub"}
    assert offered(script, folder, "package", "build", "--version", "") == set()


def test_option_of_the_same_name_may_take_a_value_in_one_place_only(script: Path, folder: Path) -> None:
    assert offered(script, folder, "--version", "sta") == {"status"}


def test_code_without_a_place_for_the_tables_is_noticed() -> None:
    with pytest.raises(ValueError, match="expected the line"):
        completion("complete -F _caisson caisson\n", caisson_command()[0])


@pytest.mark.parametrize("name", ["$(touch ran)", "`touch ran`", 'a"b', "a\\b"])
def test_word_that_bash_would_expand_is_noticed(name: str) -> None:
    below = Command(path=("caisson", name), text="", parameters=(), commands=())
    with pytest.raises(ValueError, match="bash would expand"):
        completion(TEMPLATE, Command(path=("caisson",), text="", parameters=(), commands=(below,)))


def test_tab_completes_in_a_terminal(script: Path, folder: Path) -> None:
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(folder)
        os.execv("/bin/bash", ["bash", "--norc", "--noprofile", "-i"])
    try:
        os.write(terminal, f"PS1='> '; source {script}; caisson() {{ printf '[%s]' \"$@\"; }}\n".encode())
        os.write(terminal, b"caisson pack\tload --y\tgoo\t\n")
        assert "[package][load][--yes][good.edgepkg]" in _read_until(terminal, "edgepkg]")
    finally:
        os.write(terminal, b"exit\n")
        os.close(terminal)
        os.waitpid(process, 0)


def _read_until(terminal: int, end: str) -> str:
    seen, until = "", time.monotonic() + 60
    while end not in seen and time.monotonic() < until:
        if select.select([terminal], [], [], 1)[0]:
            seen += os.read(terminal, 4096).decode(errors="replace")
    return seen
