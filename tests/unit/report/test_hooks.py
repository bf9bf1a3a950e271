"""Hooks: told everything, in order, each with an end to its time; asked before an update; never in anybody's way."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from caissond.errors import HostUnavailable, Refusal
from caissond.model.events import Event
from caissond.model.settings import HookSettings
from caissond.report.bus import Bus
from caissond.report.hook_files import find_hooks
from caissond.report.hook_run import environment_of
from caissond.report.hook_unit import MESSAGE_LIMIT_BYTES, parse_request, receive, serve
from caissond.report.hooks import BACKLOG, Hooks, document_of

UPDATED = Event("update.committed", "web 1.2.3: the service runs the new release", {"service": "web"})
FIELDS = {"service": "web", "version": "1.2.3", "package": "web.edgepkg"}


class Rig:
    """A folder of hooks, and what came of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "hooks.d"
        self.folder.mkdir(mode=0o755)
        self.socket = folder / "hooks.sock"
        self.log = folder / "log"
        self.log.touch()
        self.told: list[tuple[str, str]] = []
        self.said: list[tuple[str, str]] = []
        self.hooks = Hooks(self.folder, self.socket, say=lambda hook, line: self.said.append((hook, line)))
        self.set_timeout(60)

    def set_timeout(self, timeout_s: int) -> None:
        self.hooks.configure(
            HookSettings(timeout_secs=timeout_s), lambda code, text: self.told.append((code, text))
        )

    def add(self, name: str, script: str, *, mode: int = 0o755) -> Path:
        path = self.folder / name
        path.write_text(f"#!/bin/sh\nlog={self.log}\n{script}\n")
        path.chmod(mode)
        return path

    def tell(self, *events: Event) -> list[str]:
        """Tell the hooks; what they logged."""
        for event in events:
            self.hooks(event)
        self.hooks.close()
        return self.log.read_text().splitlines()

    def codes(self) -> list[str]:
        return [code for code, _ in self.told]

    @contextmanager
    def unit(self) -> Iterator[None]:
        """The unit of the hooks, but for systemd: a program that answers each connection."""
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self.socket))
            listener.listen()
            thread = threading.Thread(target=self._serve, args=(listener,))
            thread.start()
            try:
                yield
            finally:
                listener.shutdown(socket.SHUT_RDWR)
                thread.join()

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                serve(connection, self.folder)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.hooks.close()


def test_every_hook_is_told_every_event_in_the_order_of_names(rig: Rig) -> None:
    for name in ("20-b", "10-a", "Z"):
        rig.add(name, f'echo "{name} $CAISSON_CODE" >>$log')
    started = Event("daemon.started", "ready")
    expected = [f"{name} {code}" for code in (UPDATED.code, started.code) for name in ("10-a", "20-b", "Z")]
    assert rig.tell(UPDATED, started) == expected


def test_hook_gets_the_event_as_json_and_in_variables(rig: Rig) -> None:
    rig.add(
        "hook", 'cat >>$log; echo "$CAISSON_NUMBER $CAISSON_SEVERITY $CAISSON_SERVICE $CAISSON_TEXT" >>$log'
    )
    document, variables = rig.tell(UPDATED)
    shown = json.loads(document)
    assert shown["schema"] == 1
    assert (shown["code"], shown["severity"], shown["fields"]) == (
        "update.committed",
        "notice",
        {"service": "web"},
    )
    assert variables == f"E-626 notice web {UPDATED.text}"


def test_hook_does_not_get_the_environment_of_the_daemon(rig: Rig) -> None:
    rig.add("hook", "env | cut -d= -f1 | sort | tr '\\n' ' ' >>$log")
    (names,) = rig.tell(UPDATED)
    foreign = [name for name in names.split() if not name.startswith("CAISSON_")]
    assert foreign == ["LANG", "PATH", "PWD"]


def test_field_cannot_take_the_place_of_another_variable() -> None:
    fields = {"code": "forged", "path": "/tmp", "a b": "x", "nul": "a\0b"}
    environment = environment_of(document_of(Event("daemon.started", "ready", fields)))
    assert environment["CAISSON_CODE"] == "daemon.started"
    assert environment["PATH"] != "/tmp"
    assert environment["CAISSON_PATH"] == "/tmp"
    assert not {"CAISSON_A B", "CAISSON_NUL"} & environment.keys()


def test_output_of_a_hook_is_said_line_by_line_without_control_characters(rig: Rig) -> None:
    rig.add("hook", "printf 'one\\n\\ntwo \\033[2K\\n'; echo three >&2")
    rig.tell(UPDATED)
    assert rig.said == [("hook", "one"), ("hook", "two ?[2K"), ("hook", "three")]


def test_endless_output_is_cut_and_the_hook_goes_on(rig: Rig) -> None:
    rig.add("hook", "head -c 1000000 /dev/zero | tr '\\0' 'x'; echo done >>$log")
    assert rig.tell(UPDATED) == ["done"]
    assert len("".join(line for _, line in rig.said)) <= 500


@pytest.mark.parametrize(
    "name",
    [".hidden", "a~", "#a#", "a.bak", "a.dpkg-old", "a.dpkg-dist", "a.rpmsave", "a.swp", "a b", "-x"],
)
def test_hidden_and_backup_files_are_no_hooks(rig: Rig, name: str) -> None:
    rig.add(name, "echo ran >>$log")
    assert rig.tell(UPDATED) == []
    assert rig.told == []


def test_file_that_is_not_executable_is_no_hook(rig: Rig) -> None:
    rig.add("hook", "echo ran >>$log", mode=0o644)
    assert rig.tell(UPDATED) == []
    assert rig.told == []


def test_hook_that_others_may_write_to_is_not_run_and_told_once(rig: Rig) -> None:
    path = rig.add("hook", "echo ran >>$log", mode=0o775)
    assert rig.tell(UPDATED, UPDATED) == []
    assert rig.told == [("hook.ignored", f"{path} is not run: others than root may write to it")]


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files away needs root")
def test_hook_of_somebody_else_is_not_run(rig: Rig) -> None:
    os.chown(rig.add("hook", "echo ran >>$log"), 65534, 65534)
    assert rig.tell(UPDATED) == []
    assert "does not belong to root" in rig.told[0][1]


def test_link_is_not_run(rig: Rig, tmp_path: Path) -> None:
    rig.add("hook", "echo ran >>$log").rename(tmp_path / "elsewhere")
    (rig.folder / "hook").symlink_to(tmp_path / "elsewhere")
    assert rig.tell(UPDATED) == []
    assert "link" in rig.told[0][1]


def test_folder_that_others_may_write_to_runs_nothing(rig: Rig) -> None:
    rig.add("hook", "echo ran >>$log")
    rig.folder.chmod(0o777)
    assert find_hooks(rig.folder).hooks == ()
    assert rig.tell(UPDATED) == []
    assert rig.codes() == ["hook.ignored"]


def test_folder_below_the_hooks_is_passed_over(rig: Rig) -> None:
    (rig.folder / "more").mkdir()
    assert find_hooks(rig.folder) == find_hooks(rig.folder / "nowhere")


def test_failing_hook_is_told_once_until_it_works_and_fails_again(rig: Rig) -> None:
    rig.add("hook", 'n=$(wc -l <$log); echo >>$log; echo broken; [ "$n" = 2 ] || exit 3')
    rig.tell(*[UPDATED] * 4)
    assert rig.told == [("hook.failed", "the hook hook failed: exit 3: broken")] * 2


def test_hook_that_cannot_be_started_does_not_keep_the_others_from_being_told(rig: Rig) -> None:
    rig.add("10-broken", "").write_text("#!/no/such/shell\n")
    rig.add("20-well", "echo ran >>$log")
    assert rig.tell(UPDATED) == ["ran"]
    assert rig.told == [
        ("hook.failed", "the hook 10-broken failed: exit 126: cannot be started: No such file or directory")
    ]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def comes_true(condition: Callable[[], object]) -> bool:
    """Whether it is so soon."""
    until = time.monotonic() + 60
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    return bool(condition())


def dies(pid: int) -> bool:
    """Whether it is gone soon: a signal takes its time."""
    return comes_true(lambda: not alive(pid))


def test_hook_that_hangs_is_killed_with_its_children_and_the_next_is_told(rig: Rig) -> None:
    rig.add("10-hangs", 'sleep 60 & echo "$$ $!" >>$log; wait')
    rig.add("20-well", "echo ran >>$log")
    rig.set_timeout(3)  # long enough for one that does not hang
    rig.hooks(UPDATED)
    assert comes_true(lambda: "ran" in rig.log.read_text())
    pids, ran = rig.log.read_text().splitlines()
    assert ran == "ran"
    assert all(dies(int(pid)) for pid in pids.split())
    assert comes_true(lambda: rig.told)
    assert rig.told[0] == ("hook.timed_out", "the hook 10-hangs took more than 3 s")


def test_hook_that_leaves_a_child_with_its_output_is_not_waited_for(rig: Rig) -> None:
    rig.add("hook", "sleep 60 & echo $! >>$log")
    began = time.monotonic()
    (pid,) = rig.tell(UPDATED)
    assert time.monotonic() - began < 40
    assert dies(int(pid))


def test_telling_waits_for_nobody_and_its_backlog_has_an_end(rig: Rig) -> None:
    rig.add("hook", "echo $$ >>$log; exec sleep 60")
    began = time.monotonic()
    for _ in range(BACKLOG + 5):
        rig.hooks(UPDATED)
    assert time.monotonic() - began < 40
    assert rig.codes() == ["hook.dropped"]
    rig.set_timeout(1)
    rig.hooks.close()
    assert time.monotonic() - began < 40
    assert comes_true(rig.log.read_text)
    os.kill(int(rig.log.read_text()), signal.SIGKILL)  # or it and its thread would outlive the test


def test_event_about_a_hook_is_not_told_to_hooks(rig: Rig) -> None:
    rig.add("hook", "echo $CAISSON_CODE >>$log; exit 1")
    bus = Bus([rig.hooks])
    rig.hooks.configure(HookSettings(), bus.tell)
    bus.tell("daemon.started", "ready")
    time.sleep(0.5)
    rig.hooks.close()
    assert rig.log.read_text() == "daemon.started\n"


def test_end_gives_signs_of_life_while_a_hook_takes_its_time(rig: Rig) -> None:
    rig.add("hook", "sleep 2.5; echo ran >>$log")
    signs: list[float] = []
    rig.hooks(UPDATED)
    rig.hooks.close(lambda: signs.append(time.monotonic()))
    assert len(signs) >= 3
    assert rig.log.read_text() == "ran\n"


@pytest.mark.parametrize("code", ["hook.refused", "hook.later", "hook.timed_out", "hook.unavailable"])
def test_hook_is_told_what_became_of_a_package_because_of_hooks(rig: Rig, code: str) -> None:
    rig.add("hook", 'echo "$CAISSON_CODE $CAISSON_OUTCOME" >>$log; exit 1')
    bus = Bus([rig.hooks])
    rig.hooks.configure(HookSettings(), bus.tell)
    bus.tell(code, "held up", outcome="postponed")
    time.sleep(0.5)
    rig.hooks.close()
    assert rig.log.read_text() == f"{code} postponed\n"


# asking


def test_hooks_that_say_yes_let_the_update_begin(rig: Rig) -> None:
    rig.add("10-a", 'echo "$CAISSON_CODE $CAISSON_SERVICE $CAISSON_VERSION" >>$log')
    rig.add("20-b", "exit 0")
    rig.hooks.ask(FIELDS)
    assert rig.log.read_text() == "update.before web 1.2.3\n"


def test_without_hooks_or_their_folder_nobody_is_asked(rig: Rig) -> None:
    rig.hooks.ask(FIELDS)
    rig.folder.rmdir()
    rig.hooks.ask(FIELDS)
    assert rig.told == []


def test_no_of_a_hook_refuses_with_its_reason_and_the_rest_is_not_asked(rig: Rig) -> None:
    rig.add("10-no", "echo the line is running; echo more; exit 1")
    rig.add("20-b", "echo asked >>$log")
    with pytest.raises(Refusal, match=r"says the hook 10-no: the line is running$") as caught:
        rig.hooks.ask(FIELDS)
    assert caught.value.code == "hook.refused"
    assert rig.log.read_text() == ""


@pytest.mark.parametrize(("script", "how"), [("exit 3", "exit 3"), ("kill -SEGV $$", "killed by signal 11")])
def test_hook_that_fails_without_a_word_refuses(rig: Rig, script: str, how: str) -> None:
    rig.add("hook", script)
    with pytest.raises(Refusal, match=how):
        rig.hooks.ask(FIELDS)


def test_75_is_later(rig: Rig) -> None:
    rig.add("hook", "echo the door is open; exit 75")
    with pytest.raises(HostUnavailable, match="the door is open") as caught:
        rig.hooks.ask(FIELDS)
    assert caught.value.code == "hook.later"


def test_hooks_that_hang_are_later_and_take_no_longer_than_the_timeout_in_all(rig: Rig) -> None:
    rig.add("10-slow", "sleep 3")
    rig.add("20-hangs", "sleep 60")
    rig.set_timeout(5)
    began = time.monotonic()
    with pytest.raises(HostUnavailable, match="20-hangs took more than 5 s") as caught:
        rig.hooks.ask(FIELDS)
    assert caught.value.code == "hook.timed_out"
    assert time.monotonic() - began < 7.5  # 8 where the second had 5 s of its own


# their unit


def test_hooks_run_in_their_unit_where_it_is(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.add("hook", "echo $CAISSON_CODE >>$log; echo hello; exit 4")
    with rig.unit():
        assert rig.tell(UPDATED) == ["update.committed"]
    assert rig.said == []
    assert capsys.readouterr().err == "hook hook: hello\n"
    assert rig.told == [("hook.failed", "the hook hook failed: exit 4: hello")]


def test_no_from_the_unit_refuses(rig: Rig) -> None:
    rig.add("hook", "echo no; exit 1")
    with rig.unit(), pytest.raises(Refusal, match="says the hook hook: no"):
        rig.hooks.ask(FIELDS)


def test_unit_that_does_not_answer_puts_the_update_off_and_runs_nothing_in_the_sandbox(rig: Rig) -> None:
    rig.add("hook", "echo ran >>$log")
    with socket.socket(socket.AF_UNIX) as nobody:
        nobody.bind(str(rig.socket))
    with pytest.raises(HostUnavailable, match="Connection refused") as caught:
        rig.hooks.ask(FIELDS)
    assert caught.value.code == "hook.unavailable"
    assert rig.tell(UPDATED, UPDATED) == []
    assert rig.codes() == ["hook.unavailable"]


@pytest.mark.parametrize("answer", [b"", b"{}", b"[1]", b'[["hook", "0", ""]]'])
def test_odd_answer_of_the_unit_puts_the_update_off(rig: Rig, answer: bytes) -> None:
    rig.add("hook", "true")

    def reply(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            while connection.recv(65_536):
                pass
            connection.sendall(answer)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(rig.socket))
        listener.listen()
        thread = threading.Thread(target=reply, args=(listener,))
        thread.start()
        with pytest.raises(HostUnavailable):
            rig.hooks.ask(FIELDS)
        thread.join()


@pytest.mark.parametrize("request_", [b"", b"[]", b'{"event": {}, "timeout_s": "1", "is_question": true}'])
def test_request_that_is_none_runs_nothing(request_: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (json's own, or ours)
        parse_request(request_)


def test_program_of_the_unit_answers_on_its_standard_input(rig: Rig) -> None:
    rig.add("hook", "echo $CAISSON_CODE; exit 7")
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "caissond.report.hook_unit", str(rig.folder)]
    with subprocess.Popen(command, stdin=theirs.fileno(), stderr=subprocess.PIPE) as program, ours:
        theirs.close()
        ours.sendall(b'{"event": {"code": "daemon.started"}, "timeout_s": 20, "is_question": false}')
        ours.shutdown(socket.SHUT_WR)
        ours.settimeout(60)
        assert json.loads(ours.recv(65_536)) == [["hook", 7, "daemon.started"]]
        assert program.stderr is not None
        assert program.stderr.read() == b"hook hook: daemon.started\n"


def test_program_whose_asker_is_gone_ends_without_a_word(rig: Rig) -> None:
    rig.add("hook", "echo ran >>$log")
    ours, theirs = socket.socketpair()
    ours.sendall(b'{"event": {}, "timeout_s": 20, "is_question": false}')
    ours.close()
    with theirs:
        serve(theirs, rig.folder)
    assert rig.log.read_text() == "ran\n"


def test_answer_that_never_ends_is_given_up() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(TimeoutError):
        receive(ours, time.monotonic() + 0.1)


def test_request_too_large_to_be_one_is_given_up() -> None:
    ours, theirs = socket.socketpair()
    sender = threading.Thread(target=lambda: theirs.sendall(bytes(MESSAGE_LIMIT_BYTES + 1)))
    sender.start()
    with ours, theirs:
        with pytest.raises(ValueError, match="at most"):
            receive(ours, time.monotonic() + 60)
        sender.join()
