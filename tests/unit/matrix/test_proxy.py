"""The chaos proxy does what it says, before anybody draws conclusions from it."""

import http.client
import json
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.matrix.points import STRUCK, Moment, Point
from tests.matrix.proxy import Plan, Proxy
from tests.matrix.seam import EventLog
from tests.matrix.strikes import Strike

ANSWER = json.dumps({"text": "x" * 1000, "Name": "/web-caisson-new-0123abcd"}).encode()
START = "docker POST containers/new/start"
PATH = "/v1.41/containers/web-caisson-new-0123abcd/start"


class StubEngine(BaseHTTPRequestHandler):
    """Answers everything, and remembers what it was asked and sent."""

    heard: list[tuple[str, bytes]]

    def do_POST(self) -> None:
        body = b"".join(self._chunks()) if self.headers.get("Transfer-Encoding") else b""
        body += self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.heard.append((self.path, body))
        self.send_response(200)
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    do_GET = do_POST

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def address_string(self) -> str:
        return "unix"


class Client(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("d", timeout=60)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self._path)


class Bench:
    """An engine that is none, a proxy before it, and who asks."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self.heard: list[tuple[str, bytes]] = []
        handler = type("Handler", (StubEngine,), {"heard": self.heard})
        self._serve(socketserver.ThreadingUnixStreamServer(str(folder / "engine"), handler))
        self.proxied = folder / "proxied"

    def strike(self, strike: Strike, moment: Moment, *, number: int = 1) -> None:
        listening = self._stack.enter_context(socket.socket(socket.AF_UNIX))
        listening.bind(str(self.proxied))
        listening.listen()
        plan = Plan(self._folder / "engine", Point(moment, START, number), strike)
        self._serve(Proxy(listening, plan, EventLog(self._folder / "events")))

    def ask(self, body: object = None, *, path: str = PATH) -> tuple[int, bytes]:
        client = Client(self.proxied)
        client.request("POST", path, body=body, encode_chunked=True)  # type: ignore[arg-type]
        answer = client.getresponse()
        return answer.status, answer.read()

    def events(self) -> list[str]:
        return (self._folder / "events").read_text().splitlines()

    def _serve(self, server: socketserver.BaseServer) -> None:
        server.daemon_threads = True  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        self._stack.callback(thread.join)
        self._stack.callback(server.server_close)
        self._stack.callback(server.shutdown)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(tmp_path, stack)


def test_request_and_answer_pass_unchanged_and_are_named(bench: Bench) -> None:
    bench.strike(Strike.KILL, Moment.BEFORE, number=99)
    assert bench.ask(b"hello") == (200, ANSWER)
    assert bench.ask(path="/v1.41/images/load?quiet=0") == (200, ANSWER)
    assert bench.heard == [(PATH, b"hello"), ("/v1.41/images/load?quiet=0", b"")]
    assert bench.events() == [START, "docker POST images/load"]


def test_container_that_is_asked_for_by_its_id_is_named_as_by_its_name(bench: Bench) -> None:
    bench.strike(Strike.ERROR, Moment.BEFORE, number=3)
    by_id = f"/v1.41/containers/{'a' * 64}/start"
    assert [bench.ask(path=path)[0] for path in (PATH, by_id, by_id)] == [200, 200, 500]
    assert bench.events() == [START, START, f"{STRUCK}{START}"]


def test_chunked_upload_passes(bench: Bench) -> None:
    bench.strike(Strike.KILL, Moment.BEFORE, number=99)
    pieces = [b"a" * 100_000, b"b" * 7]
    client = Client(bench.proxied)
    client.request(
        "POST", PATH, body=iter(pieces), headers={"Transfer-Encoding": "chunked"}, encode_chunked=True
    )
    assert client.getresponse().read() == ANSWER
    assert bench.heard[0][1] == b"".join(pieces)


@pytest.mark.parametrize(
    ("moment", "reaches_engine"),
    [(Moment.BEFORE, False), (Moment.DURING, True), (Moment.UNANSWERED, True), (Moment.AFTER, True)],
)
def test_who_asks_is_killed_at_the_moment(bench: Bench, moment: Moment, reaches_engine: bool) -> None:
    bench.strike(Strike.KILL, moment)
    program = (
        f"import socket; s = socket.socket(socket.AF_UNIX); s.connect({str(bench.proxied)!r}); "
        f"s.sendall(b'POST {PATH} HTTP/1.1\\r\\nHost: d\\r\\nContent-Length: 0\\r\\n\\r\\n'); "
        "import time; time.sleep(60)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    _wait_until(lambda: bool(bench.heard) is reaches_engine)
    assert bench.events() == [f"{STRUCK}{START}"]


def test_only_the_numbered_request_is_struck(bench: Bench) -> None:
    bench.strike(Strike.ERROR, Moment.BEFORE, number=2)
    assert [bench.ask(b"body")[0] for _ in range(3)] == [200, 500, 200]
    assert len(bench.heard) == 2


def test_error_can_hide_that_it_was_done(bench: Bench) -> None:
    bench.strike(Strike.ERROR, Moment.UNANSWERED)
    assert bench.ask()[0] == 500
    assert len(bench.heard) == 1


def test_lost_connection_gives_no_answer(bench: Bench) -> None:
    bench.strike(Strike.DROP, Moment.UNANSWERED)
    with pytest.raises((http.client.HTTPException, OSError)):
        bench.ask()


def test_answer_breaks_off_in_the_middle(bench: Bench) -> None:
    bench.strike(Strike.CUT, Moment.UNANSWERED)
    with pytest.raises(http.client.IncompleteRead):
        bench.ask()


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be so"
        time.sleep(0.02)
