"""Where a check asks: an address of this device or of the container itself. Parsed, never looked up.

A host name is refused: to resolve one can take longer than the whole gate, and a device needs no network.
"""

import re
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Literal
from urllib.parse import urlsplit

CONTAINER = "{container}"
"""Stands for the address of the container that is checked."""
LOCALHOST = "localhost"
REACHABLE = (
    "127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7",
)  # fmt: skip
"""All that is ever asked, whoever wrote the catalog; caissond.service allows no other (a test compares them)."""

_NETWORKS = tuple(ip_network(text) for text in REACHABLE)
_PORTS = {"http": 80, "https": 443}
_URL_CHARACTERS = re.compile(r"[!-~]+")
_ADDRESS = re.compile(r"(?:\[([^\]]+)\]|([^:\[\]]+)):([0-9]{1,5})")
_HOSTS = f"{CONTAINER}, {LOCALHOST} or an IP address of a private network"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One place to ask."""

    host: str
    """`{container}`, `localhost` or an IP address without brackets."""
    port: int
    scheme: Literal["", "http", "https"] = ""
    path: str = ""
    """With the query."""


def is_reachable(address: str) -> bool:
    """Whether an IP address is one that may be asked."""
    found = ip_address(address)
    return any(found in network for network in _NETWORKS)


def bracketed(host: str) -> str:
    """A host as it stands in front of `:port`."""
    return f"[{host}]" if ":" in host else host


def parse_url(text: str) -> Endpoint:
    """The endpoint that a url names: `http://{container}:8080/health?full=1` (RFC 3986, no more than is needed).

    Raises:
        ValueError: what was expected.
    """
    if not _URL_CHARACTERS.fullmatch(text):
        raise ValueError("must be a url without spaces and of ASCII characters only")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise ValueError(f"must be a url: {str(exc)[:80]}") from exc
    if parts.scheme not in _PORTS or not host:
        raise ValueError(f"must be a url such as http://{CONTAINER}:8080/health")
    if parts.username is not None or "#" in text:
        raise ValueError("must be a url without user, password and #")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    scheme: Literal["http", "https"] = "https" if parts.scheme == "https" else "http"
    return Endpoint(_host(host), _port(_PORTS[scheme] if port is None else port), scheme, path)


def parse_address(text: str) -> Endpoint:
    """The endpoint that `HOST:PORT` names; an IPv6 address stands in brackets.

    Raises:
        ValueError: what was expected.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise ValueError(f"must be HOST:PORT such as {CONTAINER}:5432 or [::1]:5432")
    return Endpoint(_host(match[1] or match[2]), _port(int(match[3])))


def _host(text: str) -> str:
    if text in (CONTAINER, LOCALHOST):
        return text
    try:
        reachable = is_reachable(text)
    except ValueError as exc:
        raise ValueError(f"must name {_HOSTS}; names are not looked up") from exc
    if not reachable:
        raise ValueError(f"must name {_HOSTS}")
    return text


def _port(number: int) -> int:
    if not 1 <= number <= 65535:
        raise ValueError("must have a port from 1 to 65535")
    return number
