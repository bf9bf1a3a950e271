"""The log's lines, and the datagrams that journald would get."""

import io
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import TextIO

import pytest

from caissond.model.events import EVENTS, Event
from caissond.report.journal import JournalSink, StderrSink, choose_log_sink, encode_fields

COMMITTED = Event(
    "update.committed", "frontend 1.2.3: the service runs the new release", {"service": "frontend"}
)
TOO_OLD = Event("package.updater_too_old", "x.edgepkg: cannot accept it", {"package": "x.edgepkg"})


@contextmanager
def journald(path: Path) -> Iterator[socket.socket]:
    """A datagram socket where journald's would be."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(path))
        server.settimeout(5)
        yield server
    path.unlink()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "socket"


@pytest.fixture
def sink(path: Path) -> Iterator[JournalSink]:
    sink = JournalSink(path)
    yield sink
    sink.close()


def lines(server: socket.socket) -> list[str]:
    return server.recv(1_000_000).decode().splitlines()


def test_journal_gets_message_priority_and_fields(sink: JournalSink, path: Path) -> None:
    with journald(path) as server:
        sink(TOO_OLD)
        received = lines(server)
    assert received == [
        "MESSAGE=E-214 x.edgepkg: cannot accept it (update Caisson on the device first)",
        "PRIORITY=3",
        f"MESSAGE_ID={EVENTS['package.updater_too_old'].message_id}",
        "SYSLOG_IDENTIFIER=caissond",
        "CAISSON_CODE=package.updater_too_old",
        "CAISSON_NUMBER=E-214",
        "CAISSON_HINT=update Caisson on the device first",
        "CAISSON_PACKAGE=x.edgepkg",
    ]


def test_good_news_carries_neither_number_nor_hint(sink: JournalSink, path: Path) -> None:
    with journald(path) as server:
        sink(COMMITTED)
        assert lines(server)[0] == f"MESSAGE={COMMITTED.text}"


def test_field_that_journald_would_not_take_is_left_out(sink: JournalSink, path: Path) -> None:
    with journald(path) as server:
        sink(Event("daemon.started", "ready", {"größe": "1", "x" * 64: "2", "update": "0a1b"}))
        names = [line.partition("=")[0] for line in lines(server)]
    assert names[-2:] == ["CAISSON_NUMBER", "CAISSON_UPDATE"]


def test_value_with_a_line_break_takes_the_binary_form() -> None:
    encoded = encode_fields([("A", "b\nc"), ("D", "e")], limit_bytes=100)
    assert encoded == b"A\n\x03\0\0\0\0\0\0\0b\nc\nD=e\n"


def test_long_value_is_cut_between_characters() -> None:
    assert encode_fields([("A", "ä" * 10)], limit_bytes=5).decode() == "A=ää…\n"


def test_event_beyond_the_socket_limit_arrives_shortened(sink: JournalSink, path: Path) -> None:
    with journald(path) as server:
        sink(Event("daemon.failed", "z" * 900_000, {f"f{n}": "y" * 16_000 for n in range(40)}))
        message, *_, last = lines(server)
    assert message.startswith("MESSAGE=E-905 zzz")
    assert last.startswith("CAISSON_F39=yyy")


def test_event_that_can_never_be_sent_does_not_hold_up_the_next(sink: JournalSink, path: Path) -> None:
    with journald(path) as server:
        sink(Event("daemon.failed", "", {f"f{n}": "y" * 600 for n in range(2_000)}))
        sink(COMMITTED)
        assert lines(server)[0] == f"MESSAGE={COMMITTED.text}"


def test_lines_told_while_journald_is_away_arrive_when_it_is_back(sink: JournalSink, path: Path) -> None:
    with journald(path) as server:
        sink(COMMITTED)
        assert lines(server)
    sink(TOO_OLD)
    with journald(path) as server:
        sink(COMMITTED)
        assert [lines(server)[0][:13] for _ in range(2)] == ["MESSAGE=E-214", "MESSAGE=front"]


def test_journald_that_died_and_left_its_socket_raises_nothing(sink: JournalSink, path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(path))
    sink(COMMITTED)
    assert path.is_socket()


def test_journald_that_hangs_costs_one_second_not_one_for_each_line(sink: JournalSink, path: Path) -> None:
    started = time.monotonic()
    with journald(path):
        for _ in range(600):  # more than net.unix.max_dgram_qlen, and nobody reads
            sink(COMMITTED)
    assert time.monotonic() - started < 40  # 88 or more where each line costs one


def stderr_lines(*events: Event, for_journal: bool = False) -> list[str]:
    stream = io.StringIO()
    sink = StderrSink(stream, for_journal=for_journal, clock=lambda: 0.0)
    for event in events:
        sink(event)
    return [line[8:] if not for_journal else line for line in stream.getvalue().splitlines()]


def test_terminal_line_has_number_and_hint_where_somebody_must_act() -> None:
    assert stderr_lines(COMMITTED, TOO_OLD) == [
        "         frontend 1.2.3: the service runs the new release",
        "  E-214  x.edgepkg: cannot accept it (update Caisson on the device first)",
    ]


def test_line_for_the_journal_stream_has_its_priority_in_front() -> None:
    assert stderr_lines(COMMITTED, TOO_OLD, for_journal=True) == [
        "<5>frontend 1.2.3: the service runs the new release",
        "<3>E-214 x.edgepkg: cannot accept it (update Caisson on the device first)",
    ]


@pytest.fixture
def stderr(tmp_path: Path) -> Iterator[TextIO]:
    """What standard error leads to."""
    with (tmp_path / "stderr").open("w+") as stream:
        yield stream


def journal_stream(stream: TextIO) -> str:
    """What systemd puts into `$JOURNAL_STREAM` when it connects this stream to journald."""
    status = os.fstat(stream.fileno())
    return f"{status.st_dev}:{status.st_ino}"


def test_journal_is_chosen_where_it_reads_our_standard_error(
    stderr: TextIO, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", journal_stream(stderr))
    with journald(path), redirect_stderr(stderr):
        sink = choose_log_sink(path)
    assert isinstance(sink, JournalSink)
    sink.close()


@pytest.mark.parametrize("elsewhere", ["", "1:2", "nonsense", ":"])
def test_redirected_standard_error_gets_plain_lines(
    stderr: TextIO, elsewhere: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", elsewhere)
    with journald(path), redirect_stderr(stderr):
        choose_log_sink(path)(COMMITTED)
    stderr.seek(0)
    assert re.fullmatch(rf"\d\d:\d\d:\d\d {{9}}{COMMITTED.text}\n", stderr.read())


def test_journal_without_its_socket_is_told_by_prefixed_lines(
    stderr: TextIO, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", journal_stream(stderr))
    with redirect_stderr(stderr):
        choose_log_sink(path)(COMMITTED)
    stderr.seek(0)
    assert stderr.read() == f"<5>{COMMITTED.text}\n"
