"""The networks of a container as they were asked for, read from what Docker shows of them: pure.

An inspect mixes both: addresses, gateways, the short id among the aliases are Docker's own and are not copied
(Engine API, EndpointSettings).
"""

from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from typing import Any

Inspect = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Networks:
    """What a container is attached to."""

    primary: str | None
    """Its `NetworkMode`; None where that stays as it is."""
    at_create: dict[str, Inspect]
    afterwards: tuple[tuple[str, Inspect], ...]
    """What an engine before API 1.44 does not take at once: to be attached before the start."""


def plan_networks(old: Inspect) -> Networks:
    """What to attach the container after this one to.

    Args:
        old: a container's inspect.
    """
    mode = str(old["HostConfig"].get("NetworkMode", ""))
    attached = old["NetworkSettings"].get("Networks") or {}
    if mode in ("host", "none") or mode.startswith("container:") or not attached:
        return Networks(None, {}, ())
    primary = _primary(mode, attached)
    ends = {name: _endpoint(name, attached[name], old) for name in (primary, *attached)}
    for name in ends.keys() - {primary}:
        ends[name].update(_own_mac(attached[name]))
    first = None if primary == "bridge" else primary
    if set(ends) == {"bridge"}:
        return Networks(None, {}, ())
    if any("DNSNames" in end for end in attached.values()):  # as old as the leave to name several (API 1.44)
        return Networks(first, ends, ())
    at_create = {first: ends[first]} if first else {}
    return Networks(first, at_create, tuple((name, ends[name]) for name in ends if name != primary))


def _primary(mode: str, attached: Inspect) -> str:
    """By name or id, or its beginning; the first it has where it was taken off the network it was made on."""
    for name, end in attached.items():
        if mode == name or (mode and str(end.get("NetworkID", "")).startswith(mode)):
            return str(name)
    if mode in ("default", "bridge", "") and "bridge" in attached:
        return "bridge"
    return str(next(iter(attached)))


def _endpoint(network: str, end: Inspect, old: Inspect) -> Inspect:
    if network == "bridge":  # the default bridge takes neither aliases nor addresses
        return {}
    name = old["Name"].lstrip("/")
    aliases = [alias for alias in end.get("Aliases") or () if alias != old["Id"][:12]]
    return {
        "Aliases": [*aliases, *(() if name in aliases else (name,))],
        "IPAMConfig": end.get("IPAMConfig"),
        "Links": end.get("Links"),
        "DriverOpts": end.get("DriverOpts"),
    }


def _own_mac(shown: Inspect) -> Inspect:
    """Docker 25 and later take a MAC address for each network and show it only among what is in use. The primary
    network's stands in the container's `Config`.
    """
    address = shown.get("MacAddress")
    return {"MacAddress": address} if address and address != _derived_mac(shown) else {}


def _derived_mac(shown: Inspect) -> str:
    """The one that Docker makes from the IPv4 address (moby, libnetwork/netutils, `GenerateMACFromIP`)."""
    try:
        octets = IPv4Address(shown.get("IPAddress") or "").packed
    except AddressValueError:
        return ""
    return "02:42:" + octets.hex(":")
