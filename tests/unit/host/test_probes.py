"""Whatever a service answers, asking it ends in time, in little memory, and with words that say what was expected."""

import socket
import ssl
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caissond.errors import Conflict, NotFound, Unprobeable
from caissond.host import probes
from caissond.host.docker import Docker, Inspect
from caissond.host.execution import MAX_OUTPUT_BYTES, Execution, read_output, unframed
from caissond.host.http_probe import MAX_BODY_BYTES
from caissond.host.probes import Answer, Prober, addresses_of, ask_over_network
from caissond.model.catalog import HealthCheck, HealthKind

OK = b"HTTP/1.1 200 OK\r\n"
Serve = Callable[[socket.socket], None]


@contextmanager
def served(serve: Serve, family: int = socket.AF_INET) -> Iterator[int]:
    """Somebody who serves connections one after the other on a port of localhost."""
    with socket.socket(family) as listener:
        listener.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        listener.listen()
        thread = threading.Thread(target=_serve_all, args=(listener, serve))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def _serve_all(listener: socket.socket, serve: Serve) -> None:
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with closing(connection), suppress(OSError):
                serve(connection)


def says(*parts: bytes, every_s: float = 0, hangs_up: bool = True) -> Serve:
    """Reads the request and answers so, with `every_s` between two parts; then it hangs up, or waits until we do."""

    def serve(connection: socket.socket) -> None:
        connection.recv(4096)
        for part in parts:
            connection.sendall(part)
            time.sleep(every_s)
        while not hangs_up and connection.recv(4096):
            pass

    return serve


def http(port: int, path: str = "/", **keys: Any) -> HealthCheck:
    return HealthCheck(kind=HealthKind.HTTP, url=f"http://127.0.0.1:{port}{path}", **keys)


def ask(check: HealthCheck, timeout_s: float = 60) -> Answer:
    endpoint = check.endpoint
    assert endpoint is not None
    return ask_over_network(check, endpoint, (endpoint.host,), timeout_s)


def answer_to(*parts: bytes, **keys: Any) -> Answer:
    with served(says(*parts)) as port:
        found = ask(http(port, **keys))
    return Answer(found.is_well, found.words.replace(f":{port}", ""))


# http


def test_any_status_from_200_to_299_is_well() -> None:
    assert answer_to(OK + b"\r\n") == Answer(True, "http://127.0.0.1/ answered 200")
    assert answer_to(b"HTTP/1.0 299 Odd\r\n\r\n").is_well


def test_other_status_is_not_and_says_what_was_expected() -> None:
    assert answer_to(b"HTTP/1.1 503 Busy\r\n\r\n") == Answer(
        False, "http://127.0.0.1/ answered 503, expected 200 to 299"
    )
    assert answer_to(OK + b"\r\n", status=[204, 301]).words.endswith("answered 200, expected 204 or 301")


def test_redirect_is_not_followed() -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n"
    assert answer_to(moved).words.endswith("answered 302, expected 200 to 299")
    assert answer_to(moved, status=302).is_well


def test_expected_text_has_to_stand_in_the_body() -> None:
    body = OK + b"\r\nall is w\xc3\xa9ll"
    assert answer_to(body, body="wéll").is_well
    found = answer_to(body, body="ready")
    assert found == Answer(False, "http://127.0.0.1/ answered 200 without 'ready'")


def test_body_may_come_in_chunks() -> None:
    assert answer_to(
        OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nrea\r\n2\r\ndy\r\n0\r\n\r\n", body="ready"
    ).is_well


def test_body_is_not_read_where_nothing_is_expected_of_it() -> None:
    with served(says(OK + b"Content-Length: 9\r\n\r\n", hangs_up=False)) as port:
        assert ask(http(port), 10).is_well


def test_only_the_first_64_kib_are_looked_at() -> None:
    flood = [OK + b"\r\n", b"x" * (MAX_BODY_BYTES - 5), b"ready", *[b"x" * 65536] * 20]
    assert answer_to(*flood, body="ready").is_well
    assert not answer_to(flood[0], b"x", *flood[1:], body="ready").is_well


def test_headers_without_end_are_cut_off() -> None:
    assert "no HTTP" in answer_to(OK, b"A: b\r\n" * 500).words
    forever = b"HTTP/1.1 100 Continue\r\n\r\n" * 30000
    assert answer_to(forever, OK + b"\r\n").words.endswith("its answer is too long")


def test_answer_that_trickles_ends_at_the_deadline() -> None:
    with served(says(*[b"H"] * 200, every_s=0.1)) as port:
        began = time.monotonic()
        found = ask(http(port), 0.5)
        assert 0.4 < time.monotonic() - began < 15
    assert found == Answer(False, f"no answer from 127.0.0.1:{port} within 0.5 s")


def test_silence_ends_at_the_deadline() -> None:
    with served(says(hangs_up=False)) as port:
        assert ask(http(port), 0.2).words == f"no answer from 127.0.0.1:{port} within 0.2 s"


def test_nobody_there_is_no_answer() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        assert ask(http(port)).words == f"no answer from 127.0.0.1:{port}: connection refused"


def test_hanging_up_is_no_answer() -> None:
    assert answer_to().words == "no answer from 127.0.0.1: it closed the connection"


@pytest.mark.parametrize(
    "garbage", [b"\x00\xff\x1b[2J\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 2x0 OK\r\n\r\n"]
)
def test_garbage_is_no_http_and_cannot_move_a_cursor(garbage: bytes) -> None:
    found = answer_to(garbage)
    assert found.words.startswith("what 127.0.0.1 answers is no HTTP")
    assert "\x1b" not in found.words


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300) | st.binary(max_size=200).map(lambda rest: OK + rest))
def test_no_answer_gets_past_it(answer: bytes) -> None:
    assert answer_to(answer, body="ready").is_well in (True, False)


def test_request_names_the_host_that_it_is_to_name() -> None:
    seen: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        seen.append(connection.recv(4096))
        connection.sendall(OK + b"\r\n")

    with served(serve) as port:
        assert ask(http(port, "/a?b=1")).is_well
        assert ask(http(port, host="shop.example")).is_well
    assert seen[0].startswith(f"GET /a?b=1 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n".encode())
    assert b"\r\nHost: shop.example\r\n" in seen[1]


def test_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert answer_to(OK + b"\r\n").is_well


def test_service_on_ipv6_is_asked_there() -> None:
    with served(says(OK + b"\r\n"), socket.AF_INET6) as port:
        check = HealthCheck(kind=HealthKind.HTTP, url=f"http://[::1]:{port}/")
        assert ask(check) == Answer(True, f"http://[::1]:{port}/ answered 200")
        local = HealthCheck(kind=HealthKind.HTTP, url=f"http://localhost:{port}/")
        assert Prober(Engine(), local, lambda _s: None)(bridged(), 5).is_well


# https


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Self-signed, for shop.example, with its key."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-keyout", str(path), "-out", f"{path}.crt", "-days", "9000", "-subj", "/CN=shop.example"]
    subprocess.run([*command, "-addext", "subjectAltName=DNS:shop.example"], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


@pytest.fixture
def https(certificate: Path) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as tls:
            says(OK + b"\r\nready")(tls)

    with served(serve) as port:
        yield port


def test_certificate_that_nobody_vouches_for_is_refused(https: int) -> None:
    check = HealthCheck(kind=HealthKind.HTTP, url=f"https://127.0.0.1:{https}/", host="shop.example")
    assert "certificate verify failed" in ask(check).words


def test_certificate_is_not_looked_at_where_the_catalog_says_so(https: int) -> None:
    check = HealthCheck(kind=HealthKind.HTTP, url=f"https://127.0.0.1:{https}/", verify=False, body="ready")
    assert ask(check).is_well


def test_trusted_certificate_has_to_be_for_the_name(
    https: int, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
    check = HealthCheck(kind=HealthKind.HTTP, url=f"https://127.0.0.1:{https}/", host="shop.example:8443")
    assert ask(check).is_well
    assert "mismatch" in ask(check.model_copy(update={"host": "bank.example"})).words


def test_handshake_that_never_ends_is_cut_off() -> None:
    with served(says(hangs_up=False)) as port:
        check = HealthCheck(kind=HealthKind.HTTP, url=f"https://127.0.0.1:{port}/", verify=False)
        assert not ask(check, 0.3).is_well


# tcp


def tcp(port: int) -> HealthCheck:
    return HealthCheck(kind=HealthKind.TCP, address=f"127.0.0.1:{port}")


def test_connection_that_stays_open_is_well() -> None:
    with served(says(hangs_up=False)) as port:
        assert ask(tcp(port)) == Answer(True, f"127.0.0.1:{port} takes connections")


def test_service_that_speaks_first_is_well() -> None:
    with served(lambda connection: connection.sendall(b"220 ready\r\n")) as port:
        assert ask(tcp(port)).is_well


def test_connection_that_is_closed_at_once_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "HANGS_UP_S", 60)  # "at once" is later on a slow machine
    with served(lambda _connection: None) as port:
        assert ask(tcp(port)).words == f"127.0.0.1:{port} takes a connection and closes it at once"


FORBIDDEN = """
import sys
from caissond.errors import Unprobeable
from caissond.host.probes import ask_over_network
from caissond.model.catalog import HealthCheck
check = HealthCheck(kind="tcp", address="10.9.9.9:80")
try:
    ask_over_network(check, check.endpoint, ("10.9.9.9",), 5)
except Unprobeable as exc:
    print(exc.code)
"""


def test_host_that_forbids_the_connection_is_to_blame_itself() -> None:
    alone = 'ip link set lo up; ip route add default dev lo; ip route add prohibit 10.9.9.9; exec "$@"'
    command = [
        "unshare",
        "--map-root-user",
        "--net",
        "sh",
        "-ec",
        alone,
        "sh",
        sys.executable,
        "-c",
        FORBIDDEN,
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout == "service.cannot_be_probed\n"


# where a container is


def bridged(mode: str = "default", **networks: str) -> Inspect:
    """A container's inspect with an address in each of these networks."""
    endpoints = {name: {"IPAddress": "" if ":" in ip else ip, "GlobalIPv6Address": ip if ":" in ip else ""}
                 for name, ip in networks.items()}  # fmt: skip
    return {"Id": "c" * 64, "HostConfig": {"NetworkMode": mode}, "NetworkSettings": {"Networks": endpoints}}


def nobody(_name: str) -> Inspect | None:
    return None


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        (bridged(bridge="172.17.0.2"), ("172.17.0.2",)),
        (bridged("front", back="10.0.0.2", front="10.1.0.2"), ("10.1.0.2",)),
        (bridged("front", back="10.0.0.2", front=""), ("10.0.0.2",)),
        (bridged("six", six="fd00::2"), ("fd00::2",)),
        (bridged("host", host=""), ("127.0.0.1", "::1")),
        (bridged("front", front=""), ()),
        (bridged("container:gone"), ()),
    ],
    ids=["bridge", "primary first", "the one with an address", "IPv6", "host", "none yet", "other one gone"],
)
def test_container_is_asked_where_the_host_reaches_it(container: Inspect, expected: tuple[str, ...]) -> None:
    assert addresses_of(container, nobody) == expected


def test_container_in_anothers_network_is_asked_at_that_ones_address() -> None:
    others = {"a": bridged("container:b"), "b": bridged(bridge="172.17.0.9")}
    assert addresses_of(bridged("container:a"), others.get) == ("172.17.0.9",)


@pytest.mark.parametrize(
    "container",
    [bridged("none", none=""), bridged(bridge="203.0.113.7"), bridged("container:me")],
    ids=["no network", "public address", "in a circle"],
)
def test_container_that_cannot_be_reached_from_here_is_not_blamed(container: Inspect) -> None:
    with pytest.raises(Unprobeable) as told:
        addresses_of(container, lambda _name: container)
    assert told.value.code == "service.cannot_be_probed"


def test_container_without_an_address_yet_is_not_well() -> None:
    check = HealthCheck(kind=HealthKind.TCP, address="{container}:80")
    assert Prober(Engine(), check, lambda _s: None)(bridged(), 1) == Answer(
        False, "the container has no address yet"
    )


def test_sign_of_life_covers_the_whole_probe() -> None:
    beats: list[float] = []
    check = HealthCheck(kind=HealthKind.TCP, address="{container}:80")
    Prober(Engine(), check, beats.append)(bridged(), 7)
    assert beats[0] >= 7


# exec


class Engine(Docker):
    """Answers to commands one after the other."""

    def __init__(self, *ends: Execution | Exception) -> None:
        self.ends = list(ends)
        self.hanging: int | None = None
        self.runs = 0

    def execute(self, _container: str, _command: Sequence[str], *, timeout_s: float) -> Execution:
        assert timeout_s
        self.runs += 1
        end = self.ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return end

    def execution(self, exec_id: str) -> Execution:
        if self.hanging == 404:
            raise NotFound("cannot find it", code="docker.not_found")
        return Execution(exec_id, self.hanging, b"")


def run(engine: Engine) -> Prober:
    return Prober(engine, HealthCheck(kind=HealthKind.EXEC, command=("check", "me")), lambda _s: None)


def test_command_that_ends_with_0_is_well() -> None:
    assert run(Engine(Execution("1", 0, b"fine")))(bridged(), 5) == Answer(True, "check ended with code 0")


def test_command_that_fails_is_shown_with_what_it_said() -> None:
    found = run(Engine(Execution("1", 3, b"no \x1b[31m database\n" + b"x" * 500)))(bridged(), 5)
    assert not found.is_well
    assert found.words.startswith("check ended with code 3: no ?[31m database xxx")
    assert len(found.words) < 230


def test_command_that_hangs_is_not_started_beside_itself() -> None:
    engine = Engine(Execution("1", None, b""), Execution("2", 0, b""))
    ask_it = run(engine)
    assert ask_it(bridged(), 5).words == "check did not end within 5.0 s"
    assert ask_it(bridged(), 5).words == "check did not end within 5.0 s, and still runs"
    assert engine.runs == 1
    engine.hanging = 0
    assert ask_it(bridged(), 5).is_well


def test_command_whose_container_was_restarted_is_forgotten() -> None:
    engine = Engine(Execution("1", None, b""), Execution("2", 0, b""))
    ask_it = run(engine)
    ask_it(bridged(), 5)
    engine.hanging = 404
    assert ask_it(bridged(), 5).is_well


def test_refusal_of_the_engine_is_a_failure() -> None:
    refused = Conflict("cannot run it: the container is not running", code="docker.conflict")
    assert run(Engine(refused))(bridged(), 5) == Answer(False, refused.message)


def test_output_is_taken_out_of_its_frames() -> None:
    raw = b"\x02\0\0\0\0\0\0\x04err\n\x01\0\0\0\0\0\0\x04out\n\x01\0\0\0\0\0\0\x09cut"
    assert unframed(raw) == b"err\nout\ncut"


def test_flood_of_output_is_dropped_and_ends_with_the_time() -> None:
    near, far = socket.socketpair()
    with near, far:
        far.setblocking(False)
        frame = b"\x01\0\0\0\0\0\x10\0" + b"y" * 4096
        with suppress(BlockingIOError):
            while True:
                far.send(frame)
        assert read_output(near, 2) == b"y" * MAX_OUTPUT_BYTES


class Flood:
    """Sends as fast as it is read, for a while."""

    chunks = 200

    def settimeout(self, timeout_s: float | None, /) -> None:
        assert timeout_s

    def recv(self, size: int, /) -> bytes:
        self.chunks -= 1
        return bytes(size) if self.chunks else b""


def test_flood_of_output_is_not_kept() -> None:
    tracemalloc.start()
    read_output(Flood(), 60)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 1_000_000
