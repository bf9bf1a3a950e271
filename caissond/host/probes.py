"""Asking a service whether it is well, as its `health_check` says: `http`, `tcp` or `exec`, once, in bounded time.

"Inside the container's network" means the container's own address, asked from the host, which is on every bridge that
Docker makes: no namespace is entered, no tool wanted in the container. For one that shares the network of the host it
is 127.0.0.1, for one that shares another's, that one's. `exec` is for all other networks. (docs/gate.md)
"""

import errno
import http.client
import os
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from caissond.errors import DockerError, NotFound, Unprobeable
from caissond.host.docker import Docker, Inspect
from caissond.host.execution import Execution
from caissond.host.http_probe import Request, connect, get
from caissond.model.catalog import HealthCheck, HealthKind
from caissond.model.endpoint import CONTAINER, LOCALHOST, Endpoint, bracketed, is_reachable
from caissond.model.text import printable

SHOWN_CHARS = 200
HANGS_UP_S = 0.3
"""Whoever accepts a connection for a service that is not there (docker-proxy) closes it within this time."""
MAX_SHARED = 8
_HOST_IS_TO_BLAME = frozenset({errno.EPERM, errno.EACCES, errno.EAFNOSUPPORT})


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of asking once."""

    is_well: bool
    words: str


class Prober:
    """Asks one service. It remembers a command that hangs in the container, so that there is never more than one."""

    def __init__(self, docker: Docker, check: HealthCheck, beat: Callable[[float], None]) -> None:
        self._docker = docker
        self._check = check
        self._beat = beat
        self._hanging: str | None = None
        self._hanging_words = ""

    def __call__(self, container: Inspect, timeout_s: float) -> Answer:
        """Ask once.

        Args:
            container: its inspect, of this moment.
            timeout_s: it takes no longer, but for the engine's own time with `exec`.

        Raises:
            Unprobeable: `service.cannot_be_probed`: this says nothing about the service.
            HostUnavailable: the engine does not answer.
        """
        self._beat(timeout_s + HANGS_UP_S)
        if self._check.kind is HealthKind.EXEC:
            return self._ask_exec(container, timeout_s)
        endpoint = self._check.endpoint
        assert endpoint is not None  # the catalog saw to it
        addresses = self._addresses(endpoint, container)
        if not addresses:
            return Answer(False, "the container has no address yet")
        return ask_over_network(self._check, endpoint, addresses, timeout_s)

    def _addresses(self, endpoint: Endpoint, container: Inspect) -> tuple[str, ...]:
        if endpoint.host == LOCALHOST:
            return ("127.0.0.1", "::1")
        if endpoint.host != CONTAINER:
            return (endpoint.host,)
        return addresses_of(container, self._docker.find_container)

    # exec

    def _ask_exec(self, container: Inspect, timeout_s: float) -> Answer:
        name = printable(self._check.command[0], limit=60)
        if self._still_hangs():
            return Answer(False, f"{self._hanging_words}, and still runs")
        try:
            done = self._docker.execute(container["Id"], self._check.command, timeout_s=timeout_s)
        except DockerError as exc:
            return Answer(False, printable(exc.message))
        if done.exit_code is None:
            self._hanging = done.id
            self._hanging_words = f"{name} did not end within {timeout_s:.1f} s{_said(done)}"
            return Answer(False, self._hanging_words)
        if done.exit_code == 0:
            return Answer(True, f"{name} ended with code 0")
        return Answer(False, f"{name} ended with code {done.exit_code}{_said(done)}")

    def _still_hangs(self) -> bool:
        """No engine has a way to end a command: what hangs ends with its container, and is not started twice."""
        try:
            hangs = self._hanging is not None and self._docker.execution(self._hanging).exit_code is None
        except NotFound:
            hangs = False
        if not hangs:
            self._hanging = None
        return hangs


def _said(done: Execution) -> str:
    text = " ".join(done.output.decode("utf-8", "replace").split())
    return f": {printable(text, limit=SHOWN_CHARS)}" if text else ""


# over the network


def addresses_of(container: Inspect, find: Callable[[str], Inspect | None]) -> tuple[str, ...]:
    """Where the host reaches a container; the primary network's first. Empty while it has none.

    Args:
        find: a container's inspect by its id or name.

    Raises:
        Unprobeable: it has no network that the host is on.
    """
    for _ in range(MAX_SHARED):
        mode = str(container["HostConfig"].get("NetworkMode") or "default")
        if mode == "host":
            return ("127.0.0.1", "::1")
        if mode == "none":
            raise _unprobeable(f"it has no network, so {CONTAINER} has no address")
        if not mode.startswith("container:"):
            return _endpoint_addresses(container, "bridge" if mode == "default" else mode)
        shared = find(mode.partition(":")[2])
        if shared is None:
            return ()
        container = shared
    raise _unprobeable("its network is another container's, and that one's another's, and so on")


def _endpoint_addresses(container: Inspect, primary: str) -> tuple[str, ...]:
    networks: dict[str, Any] = (container.get("NetworkSettings") or {}).get("Networks") or {}
    ordered = sorted(networks.items(), key=lambda item: (item[0] != primary, item[0]))
    keys = ("IPAddress", "GlobalIPv6Address")
    found = tuple(str(endpoint[key]) for _, endpoint in ordered for key in keys if (endpoint or {}).get(key))
    reachable = tuple(address for address in found if is_reachable(address))
    if found and not reachable:
        raise _unprobeable(f"its address {found[0]} is not of a private network")
    return reachable[:1] if reachable else ()


def ask_over_network(
    check: HealthCheck, endpoint: Endpoint, addresses: tuple[str, ...], timeout_s: float
) -> Answer:
    """Ask by `http` or `tcp`.

    Raises:
        Unprobeable: this host does not let us.
    """
    where = f"{bracketed(addresses[0])}:{endpoint.port}"
    try:
        if check.kind is HealthKind.TCP:
            return _ask_tcp(where, endpoint, addresses, timeout_s)
        return _ask_http(check, endpoint, addresses, timeout_s)
    except TimeoutError:
        return Answer(False, f"no answer from {where} within {timeout_s:.1f} s")
    except ssl.SSLError as exc:
        return Answer(False, f"no TLS with {where}: {_reason(exc)}")
    except OSError as exc:
        if exc.errno in _HOST_IS_TO_BLAME:
            raise _unprobeable(f"this host does not let us connect to {where}: {exc.strerror}") from exc
        return Answer(False, f"no answer from {where}: {_reason(exc)}")
    except (http.client.HTTPException, ValueError) as exc:
        return Answer(False, f"what {where} answers is no HTTP: {_reason(exc)}")


def _ask_tcp(where: str, endpoint: Endpoint, addresses: tuple[str, ...], timeout_s: float) -> Answer:
    """A connection that is not closed at once: docker-proxy takes one for a published port whether or not somebody
    listens behind it.
    """
    with closing(
        connect(addresses, endpoint.port, time.monotonic() + timeout_s, time.monotonic)
    ) as connection:
        connection.settimeout(HANGS_UP_S)
        try:
            is_open = bool(connection.recv(1, socket.MSG_PEEK))
        except TimeoutError:
            is_open = True
    words = "takes connections" if is_open else "takes a connection and closes it at once"
    return Answer(is_open, f"{where} {words}")


def _ask_http(check: HealthCheck, endpoint: Endpoint, addresses: tuple[str, ...], timeout_s: float) -> Answer:
    host = check.host or f"{bracketed(addresses[0])}:{endpoint.port}"
    request = Request(
        addresses=addresses, port=endpoint.port, path=endpoint.path, host=host,
        tls=_tls(verify=check.verify) if endpoint.scheme == "https" else None,
        server_name=check.host.partition(":")[0] if check.host else addresses[0],
        wants_body=check.body is not None,
    )  # fmt: skip
    response = get(request, timeout_s=timeout_s)
    shown = f"{endpoint.scheme}://{bracketed(addresses[0])}:{endpoint.port}{endpoint.path:.100}"
    if not _is_expected(check, response.status):
        wanted = " or ".join(map(str, check.status)) or "200 to 299"
        return Answer(False, f"{shown} answered {response.status}, expected {wanted}")
    if check.body is not None and check.body.encode() not in response.body:
        return Answer(
            False, f"{shown} answered {response.status} without {printable(check.body, limit=60)!r}"
        )
    return Answer(True, f"{shown} answered {response.status}")


def _is_expected(check: HealthCheck, status: int) -> bool:
    return status in check.status if check.status else 200 <= status <= 299


def _tls(*, verify: bool) -> ssl.SSLContext:
    if verify:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _reason(exc: Exception) -> str:
    """In one line, with nothing that could move a cursor."""
    if isinstance(exc, http.client.RemoteDisconnected):
        return "it closed the connection"
    if isinstance(exc, OSError) and exc.errno and exc.errno > 0 and not isinstance(exc, ssl.SSLError):
        return os.strerror(exc.errno).lower()
    text = " ".join(str(exc).split()) or type(exc).__name__
    return printable(text, limit=100)


def _unprobeable(why: str) -> Unprobeable:
    return Unprobeable(f"cannot ask the service: {why}", code="service.cannot_be_probed")
