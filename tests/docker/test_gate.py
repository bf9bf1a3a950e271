"""The gate asks real services: over their own network, over the host's, and by a command inside them."""

import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from random import SystemRandom
from threading import Thread

import docker
import pytest

from caissond.model.ids import NEW_MARK
from caissond.model.records import Outcome, Verdict
from fixtures.engine import PrivateEngine
from fixtures.images import BuiltImage, load_image
from tests.docker.daemon_process import caissond
from tests.docker.rig import Rig, rig_on
from tests.docker.test_cli import Command

PORT = 8080
SERVES = f"httpd -p {PORT} -h /www"
URL = f'url = "http://{{container}}:{PORT}/"'
LATE, MUCH_LATER = f"(sleep 2; {SERVES}) &", f"(sleep 60; {SERVES}) &"
FOREVER = "sleep 2147483647"
RETRIES_ONCE_UP = ("retries = 1", "start_period_secs = 20")
"""The first failure is a verdict, but not before the first good answer: a busy machine starts a web server late."""
FLAPS = f"httpd -f -p {PORT} -h /www & (sleep 1.5; kill $!) &"
PAGES = {
    "sick": 'echo "Status: 503 Service Unavailable"; echo',
    "moved": 'echo "Status: 302 Found"; echo "Location: /"; echo',
    "slow": "sleep 0.6; echo; echo ready",
    "hangs": "sleep 60",
    "huge": "echo; exec cat /dev/zero",
}
PORTS = range(10_000, 18_000)
"""Below those that the kernel gives out by itself."""


def image(rig: Rig, version: str, serving: str = SERVES, *, then: str = FOREVER) -> BuiltImage:
    """A web server with `ready` on its front page, and the pages above; `serving` starts it."""
    pages = "".join(
        f"printf '%s\\n' '#!/bin/sh' '{text}' >/www/cgi-bin/{name}; " for name, text in PAGES.items()
    )
    begin = f"mkdir -p /www/cgi-bin; echo ready >/www/index.html; {pages}chmod -R 755 /www; "
    script = f"{begin}trap 'exit 143' TERM; {serving} {'' if serving.endswith('&') else ';'} {then} & wait"
    return rig.image(version, cmd=("sh", "-c", script), healthcheck=None)


def run_old(rig: Rig, serving: str = SERVES, **options: object) -> None:
    """The service as it is before, of version 1.0.0, once it has done what it does at its start."""
    old = image(rig, "1.0.0", serving)
    load_image(rig.client, old.path)
    policy = {"Name": "unless-stopped"}
    rig.client.containers.run(  # type: ignore[call-overload]
        old.reference, name=rig.name, detach=True, restart_policy=policy, **options
    )
    while not rig.running(FOREVER):
        time.sleep(0.05)


def ask(rig: Rig, kind: str, *keys: str, timeout_secs: int = 30, stable_secs: float = 0.5) -> None:
    """Write a catalog that asks so."""
    rig.write_catalog(kind=kind, timeout_secs=timeout_secs, stable_secs=stable_secs)
    text = rig.paths.services.read_text() + "\n".join(keys) + "\n"
    rig.paths.services.write_text(text)


def update(rig: Rig, serving: str = SERVES, *, version: str = "1.1.0", **options: str) -> Verdict:
    return rig.update(rig.package(version, image(rig, version, serving, **options)))


def free_port() -> int:
    """One that nobody listens on, nor is given by chance before it is used."""
    for port in SystemRandom().sample(PORTS, len(PORTS)):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError(f"no free port in {PORTS}")


def audited(rig: Rig, verdict: Verdict, kind: str) -> list[str]:
    events = rig.device().history.events(verdict.update_id)
    return [event.message for event in events if event.kind == kind]


# http


def test_release_that_answers_passes(rig: Rig) -> None:
    ask(rig, "http", URL, 'body = "ready"')
    run_old(rig)
    verdict = update(rig)
    assert (verdict.outcome, rig.release(), rig.containers()) == (Outcome.SUCCEEDED, "1.1.0", [rig.name])
    assert "update.failing_before" not in rig.codes()
    (words,) = audited(rig, verdict, "health_check_passed")
    assert f":{PORT}/ answered 200, for " in words


@pytest.mark.parametrize(
    ("page", "keys", "words"),
    [
        ("nowhere", (), "answered 404, expected 200 to 299"),
        ("cgi-bin/sick", (), "answered 503, expected 200 to 299"),
        ("cgi-bin/moved", (), "answered 302, expected 200 to 299"),
        ("", ('body = "steady"',), "answered 200 without 'steady'"),
        ("cgi-bin/hangs", ("probe_timeout_secs = 0.3",), "within 0.3 s"),
        ("cgi-bin/huge", ('body = "ready"',), "answered 200 without 'ready'"),
    ],
    ids=["missing", "sick", "moved", "other body", "hangs", "huge"],
)
def test_release_that_answers_otherwise_is_rolled_back(
    rig: Rig, page: str, keys: tuple[str, ...], words: str
) -> None:
    patience = ("retries = 2", "start_period_secs = 3")  # until it listens, its answer is another one
    ask(rig, "http", f'url = "http://{{container}}:{PORT}/{page}"', *keys, *patience)
    run_old(rig)
    verdict = update(rig)
    assert (verdict.outcome, verdict.code) == (Outcome.ROLLED_BACK, "gate.probe_failed")
    assert words in verdict.message
    assert (rig.release(), rig.containers()) == ("1.0.0", [rig.name])


def test_slow_answer_in_time_is_one(rig: Rig) -> None:
    ask(rig, "http", f'url = "http://{{container}}:{PORT}/cgi-bin/slow"')
    run_old(rig)
    assert update(rig).outcome is Outcome.SUCCEEDED


def test_release_that_never_listens_is_rolled_back_at_the_deadline_and_quarantined(rig: Rig) -> None:
    ask(rig, "http", URL, timeout_secs=6)
    run_old(rig)
    verdict = update(rig, ":")
    assert (verdict.outcome, verdict.code) == (Outcome.ROLLED_BACK, "gate.timed_out")
    assert verdict.message.endswith(": connection refused, still so after 6 s")
    assert update(rig, ":").code == "release.quarantined"


def test_published_port_is_the_new_containers_in_the_gate(rig: Rig) -> None:
    port = free_port()
    ask(rig, "http", f'url = "http://localhost:{port}/only-new"')
    run_old(rig, ports={f"{PORT}/tcp": ("127.0.0.1", port)})
    assert update(rig, f"{SERVES}; echo >/www/only-new").outcome is Outcome.SUCCEEDED
    assert "update.failing_before" in rig.codes()


@pytest.mark.parametrize("in_other", [False, True], ids=["the host's network", "another's network"])
def test_shared_network_is_asked_where_it_is(rig: Rig, in_other: bool) -> None:
    port = free_port()
    keys = f'url = "http://{{container}}:{port}/"'
    ask(rig, "http", keys)
    serves = f"httpd -p {port} -h /www"
    other = f"{rig.name}-other"
    if in_other:
        rig.client.containers.run(rig_image(rig), ["sleep", "1000"], name=other, detach=True)
    run_old(rig, serves, network_mode=f"container:{other}" if in_other else "host")
    verdict = update(rig, serves)
    assert (verdict.outcome, rig.release()) == (Outcome.SUCCEEDED, "1.1.0")


def rig_image(rig: Rig) -> str:
    base = rig.image("0.9.0", healthcheck=None)
    load_image(rig.client, base.path)
    return base.reference


def test_own_network_is_asked_too(rig: Rig) -> None:
    network = rig.client.networks.create(rig.name)
    try:
        ask(rig, "http", URL)
        run_old(rig, network=rig.name)
        assert update(rig).outcome is Outcome.SUCCEEDED
        assert "update.failing_before" not in rig.codes()
    finally:
        for name in rig.containers():
            rig.client.api.remove_container(name, force=True)
        network.remove()


def test_service_without_a_network_is_refused_before_anything_is_touched(rig: Rig) -> None:
    ask(rig, "http", URL)
    run_old(rig, network_mode="none")
    before = rig.container().id
    verdict = update(rig)
    assert (verdict.outcome, verdict.code) == (Outcome.REFUSED, "service.cannot_be_probed")
    assert (rig.container().id, rig.private_tags()) == (before, [])


# for how long


def test_failures_in_the_start_period_do_not_count(rig: Rig) -> None:
    ask(rig, "http", URL, *RETRIES_ONCE_UP)
    run_old(rig)
    assert update(rig, LATE).outcome is Outcome.SUCCEEDED


def test_first_failure_counts_without_a_start_period(rig: Rig) -> None:
    ask(rig, "http", URL, "retries = 1")
    run_old(rig)
    assert update(rig, MUCH_LATER).code == "gate.probe_failed"


def test_release_that_answers_for_a_while_only_is_rolled_back(rig: Rig) -> None:
    ask(rig, "http", URL, timeout_secs=10, stable_secs=4)
    run_old(rig)
    verdict = update(rig, FLAPS)
    assert (verdict.outcome, verdict.code, rig.release()) == (Outcome.ROLLED_BACK, "gate.timed_out", "1.0.0")


def waits_for_the_end(rig: Rig) -> bool:
    """Whether a new release ran a moment ago; until Docker knows of its end."""
    new = next((name for name in rig.containers() if NEW_MARK in name), None)
    if new is None or not rig.client.api.inspect_container(new)["State"]["Running"]:
        return False
    rig.client.api.wait(new)
    return True


@contextmanager
def page_that_outlives(rig: Rig) -> Iterator[str]:
    """Where a new release is asked, which ends before the answer that says no. To all others it says yes."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503 if waits_for_the_end(rig) else 200)
            self.end_headers()

        def log_message(self, *_words: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://localhost:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def test_end_says_more_than_the_silence_after_it(rig: Rig) -> None:
    """In the look before it was asked it ran yet."""
    run_old(rig)
    with page_that_outlives(rig) as url:
        ask(rig, "http", f'url = "{url}"', "retries = 1", "probe_timeout_secs = 30")
        assert update(rig, then="sleep 3; exit 7; sleep 1").code == "gate.exited"


# tcp


def test_open_port_passes(rig: Rig) -> None:
    ask(rig, "tcp", f'address = "{{container}}:{PORT}"')
    run_old(rig)
    assert update(rig).outcome is Outcome.SUCCEEDED


def test_published_port_with_nobody_behind_is_no_open_port(rig: Rig) -> None:
    port = free_port()
    ask(rig, "tcp", f'address = "localhost:{port}"', timeout_secs=6)
    run_old(rig, ports={f"{PORT}/tcp": ("127.0.0.1", port)})
    verdict = update(rig, ":")
    assert (verdict.outcome, verdict.code) == (Outcome.ROLLED_BACK, "gate.timed_out")
    assert "closes it at once" in verdict.message


# exec


def test_command_in_the_container_is_asked(rig: Rig) -> None:
    ask(rig, "exec", 'command = ["grep", "-q", "ready", "/www/index.html"]')
    run_old(rig)
    assert update(rig).outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize(
    ("command", "within_s", "words"),
    [
        ('["sh", "-c", "echo no; echo luck >&2; sleep 1; exit 3"]', 30, "sh ended with code 3: "),
        ('["/nowhere"]', 30, "/nowhere ended with code 126: OCI runtime exec failed"),
        ('["sleep", "600"]', 0.5, "sleep did not end within 0.5 s"),
        ('["sh", "-c", "yes & yes"]', 3, "sh did not end within 3.0 s: y y y"),
    ],
    ids=["fails", "is missing", "hangs", "floods"],
)
def test_command_that_does_not_end_well_rolls_back(
    rig: Rig, command: str, within_s: float, words: str
) -> None:
    run_old(rig)
    ask(
        rig,
        "exec",
        f"command = {command}",
        "retries = 2",
        f"probe_timeout_secs = {within_s}",
        timeout_secs=120,
    )
    began = time.monotonic()
    verdict = update(rig)
    assert (verdict.outcome, verdict.code, rig.release()) == (
        Outcome.ROLLED_BACK, "gate.probe_failed", "1.0.0",
    )  # fmt: skip
    told = next(event.text for event in rig.events if event.code == "update.failing_before")
    assert words in told
    assert words in verdict.message
    assert time.monotonic() - began < 500  # it does not wait for the end of what hangs


def test_command_that_hangs_is_there_once_only(rig: Rig) -> None:
    run_old(rig)
    ask(rig, "exec", 'command = ["sleep", "54321"]', "probe_timeout_secs = 0.2", timeout_secs=6)
    seen: list[int] = []
    rig.when("update.rolling_back", lambda: seen.append(hanging(rig)))
    assert update(rig).code == "gate.timed_out"
    assert seen == [1]


def hanging(rig: Rig) -> int:
    new = next(name for name in rig.containers() if name != rig.name)
    return rig.running("sleep 54321", new)


# the way back, and going back


def test_rollback_passes_the_same_gate(rig: Rig) -> None:
    """The old release answers in its first run only."""
    ask(rig, "http", URL, timeout_secs=2)
    run_old(rig, f"[ -e /ran ] || {SERVES}; touch /ran")
    verdict = update(rig, ":")
    assert verdict.outcome is Outcome.ROLLBACK_FAILED
    assert "connection refused" in verdict.message
    assert (rig.container().status, rig.release()) == ("running", "1.0.0")


def test_going_back_by_hand_passes_the_same_gate(rig: Rig) -> None:
    ask(rig, "running")
    run_old(rig, ":")
    assert update(rig).outcome is Outcome.SUCCEEDED
    ask(rig, "http", URL, timeout_secs=6)
    code, verdict = Command(rig).json("rollback", rig.name, "--yes")
    assert (code, verdict["code"], rig.release()) == (4, "gate.timed_out", "1.1.0")


def test_service_that_is_stopped_is_not_asked(rig: Rig) -> None:
    ask(rig, "http", URL)
    run_old(rig)
    rig.container().stop(timeout=1)
    verdict = update(rig, ":")
    assert (verdict.outcome, verdict.parts[0].ungated) == (Outcome.SUCCEEDED, True)
    assert "update.failing_before" not in rig.codes()


def test_restart_of_docker_does_not_quarantine_a_release_that_is_asked(
    own_engine: PrivateEngine, own_client: docker.DockerClient, tmp_path: Path
) -> None:
    with rig_on(tmp_path, own_client, own_engine.host) as rig:
        ask(rig, "http", URL, *RETRIES_ONCE_UP, timeout_secs=60, stable_secs=6)
        run_old(rig)
        rig.paths.inbox.mkdir(parents=True)
        rig.package("1.1.0", image(rig, "1.1.0")).rename(rig.paths.inbox / "release.edgepkg")
        with caissond(rig.root, rig.host) as daemon:
            daemon.wait_until_logged("watching it")
            time.sleep(1)
            own_engine.stop()
            own_engine.start()
            daemon.wait_until_handled()
            daemon.stop()
        assert (rig.release(), rig.containers()) == ("1.1.0", [rig.name])
        outcomes = [verdict.outcome for verdict in rig.device().history.newest()]
        assert outcomes == [Outcome.SUCCEEDED, Outcome.ROLLED_BACK]


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("http", URL),
        ("tcp", f'address = "{{container}}:{PORT}"'),
        ("exec", 'command = ["cat", "/www/index.html"]'),
    ],
)
def test_newer_docker_is_asked_in_the_same_way(
    docker26: PrivateEngine, tmp_path: Path, kind: str, key: str
) -> None:
    with (
        closing(docker.DockerClient(base_url=docker26.host)) as client,
        rig_on(tmp_path, client, docker26.host) as rig,
    ):
        ask(rig, kind, key, timeout_secs=6)
        run_old(rig)
        assert update(rig).outcome is Outcome.SUCCEEDED
        assert update(rig, "rm /www/index.html", version="1.2.0").code == "gate.timed_out"
        assert rig.release() == "1.1.0"
