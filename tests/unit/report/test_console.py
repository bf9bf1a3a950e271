"""The console: a line for each event on a terminal, and nobody ever waits for that terminal."""

import os
import pty
import time
import tty
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from caissond.model.events import Event
from caissond.model.settings import ConsoleSettings
from caissond.report.console import Console

COMMITTED = Event("update.committed", "web 1.2.3: the service runs the new release")
RECEIVED = Event("package.accepted", "web.edgepkg: right for web")
REFUSED = Event("package.downgrade", "web.edgepkg: refused: cannot go back")


@dataclass
class Screen:
    """A terminal, seen from where somebody sits."""

    master: int
    path: Path
    told: list[tuple[str, str]] = field(default_factory=list)

    def console(self, *, severity: str = "notice", path: Path | None = None) -> Console:
        console = Console(clock=lambda: 0.0)
        settings = ConsoleSettings.model_validate({"tty": str(path or self.path), "severity": severity})
        console.configure(settings, lambda code, text: self.told.append((code, text)))
        return console

    def shown(self) -> str:
        os.set_blocking(self.master, False)
        shown = b""
        with suppress(BlockingIOError):
            while chunk := os.read(self.master, 65_536):
                shown += chunk
        return shown.decode()


@pytest.fixture
def screen() -> Iterator[Screen]:
    master, slave = pty.openpty()
    tty.setraw(slave)
    yield Screen(master, Path(os.ttyname(slave)))
    os.close(slave)
    os.close(master)


def test_event_is_one_line_with_its_time(screen: Screen) -> None:
    console = screen.console()
    console(COMMITTED)
    at = time.strftime("%H:%M:%S", time.localtime(0))
    assert screen.shown() == f"{at}         {COMMITTED.text}\r\n"
    console.close()


def test_refusal_has_its_number_and_what_to_do(screen: Screen) -> None:
    console = screen.console()
    console(REFUSED)
    assert screen.shown().endswith(
        "  E-222  web.edgepkg: refused: cannot go back (ask for a newer package)\r\n"
    )
    console.close()


def test_only_what_is_bad_enough_is_shown(screen: Screen) -> None:
    console = screen.console(severity="warning")
    console(COMMITTED)
    console(REFUSED)
    console.close()
    everything = screen.console(severity="info")
    everything(RECEIVED)
    everything.close()
    lines = screen.shown().splitlines()
    assert ["E-222" in lines[0], "right for web" in lines[1], len(lines)] == [True, True, 2]


def test_words_of_a_package_do_not_move_the_cursor(screen: Screen) -> None:
    console = screen.console()
    console(Event("update.committed", "web\x1b[2J\r\u202e1.2.3"))
    assert screen.shown().endswith("web?[2J??1.2.3\r\n")
    console.close()


def test_without_a_terminal_in_the_settings_nothing_happens() -> None:
    console = Console()
    console.configure(ConsoleSettings(), lambda code, text: pytest.fail(f"{code}: {text}"))
    console(REFUSED)
    console.close()


def test_terminal_that_nobody_reads_holds_nobody_up(screen: Screen) -> None:
    console = screen.console()
    began = time.monotonic()
    for _ in range(2000):
        console(COMMITTED)
    assert time.monotonic() - began < 60
    assert screen.told == []
    assert COMMITTED.text in screen.shown()
    console.close()


def test_terminal_that_is_not_there_is_told_once_and_used_when_it_comes(
    screen: Screen, tmp_path: Path
) -> None:
    later = tmp_path / "tty"
    console = screen.console(path=later)
    console(COMMITTED)
    console(COMMITTED)
    assert screen.told == [
        ("console.failed", f"cannot write to the console {later}: No such file or directory")
    ]
    later.symlink_to(screen.path)
    console(REFUSED)
    assert "E-222" in screen.shown()
    console.close()


def test_terminal_that_was_hung_up_is_opened_anew(screen: Screen, tmp_path: Path) -> None:
    current = tmp_path / "tty"
    master, slave = pty.openpty()
    current.symlink_to(os.ttyname(slave))
    console = screen.console(path=current)
    console(COMMITTED)
    os.close(slave)
    os.close(master)  # as vhangup(2) does: from now on EIO
    current.unlink()
    current.symlink_to(screen.path)
    console(REFUSED)
    assert "E-222" in screen.shown()
    assert screen.told == []
    console.close()


def test_file_is_no_terminal_and_stays_as_it_is(screen: Screen, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    console = screen.console(path=file)
    console(COMMITTED)
    assert file.read_text() == "mine"
    assert screen.told == [("console.failed", f"cannot write to the console {file}: it is no terminal")]
    console.close()
