"""The replacement's configuration, made from the old container's: pure.

The old image's defaults are subtracted, so that the new image's apply; what somebody asked for is kept. Follows the
Engine API's ContainerInspect and ContainerCreate. Ids, addresses and names that Docker gave out are not copied.
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from caissond.model.ids import LABEL_PREFIX, ImageId

Inspect = dict[str, Any]
NO_RESTART: Inspect = {"Name": "no", "MaximumRetryCount": 0}

_SCALARS = ("WorkingDir", "User", "Healthcheck", "StopSignal", "Shell")
_SETS = ("ExposedPorts", "Volumes")


@dataclass(frozen=True, slots=True)
class Replacement:
    """A request body for ContainerCreate, and the networks to attach before the start (name, endpoint)."""

    config: Inspect
    more_networks: tuple[tuple[str, Inspect], ...]


def plan_replacement(
    old: Inspect, old_image: Inspect, image: ImageId, *, labels: dict[str, str], host_name: str = ""
) -> Replacement:
    """What to create in the place of `old`.

    Args:
        old: the old container's inspect.
        old_image: the inspect of its image.
        image: the new image.
        labels: put on the replacement besides the old one's own.
        host_name: the engine's host, whose name a container on the host's network shows as its own.
    """
    config = _subtracted(old["Config"], old_image.get("Config") or {})
    config["Image"] = image
    config["Labels"] = {**config["Labels"], **labels}
    config["HostConfig"] = _host_config(old)
    _drop_given_names(config, old, host_name)
    first, more = _networks(old)
    if first:
        config["HostConfig"]["NetworkMode"] = first[0]
        config["NetworkingConfig"] = {"EndpointsConfig": {first[0]: first[1]}}
    return Replacement(config, more)


def _subtracted(config: Inspect, defaults: Inspect) -> Inspect:
    kept = {key: value for key, value in deepcopy(config).items() if key not in ("OnBuild", "ArgsEscaped")}
    for key in _SCALARS:
        if kept.get(key) == defaults.get(key):
            kept.pop(key, None)
    for key in _SETS:
        kept[key] = {
            name: value
            for name, value in (kept.get(key) or {}).items()
            if name not in (defaults.get(key) or {})
        }
    kept["Env"] = [entry for entry in kept.get("Env") or () if entry not in (defaults.get("Env") or ())]
    kept["Labels"] = _own_labels(kept.get("Labels") or {}, defaults.get("Labels") or {})
    if kept.get("Entrypoint") == defaults.get("Entrypoint"):
        kept.pop(
            "Entrypoint", None
        )  # an entrypoint of its own switches the image's Cmd off, so Cmd is its own too
        if kept.get("Cmd") == defaults.get("Cmd"):
            kept.pop("Cmd", None)
    return kept


def _own_labels(labels: dict[str, str], defaults: dict[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in labels.items()
        if not name.startswith(LABEL_PREFIX) and defaults.get(name) != value
    }


def _host_config(old: Inspect) -> Inspect:
    host: Inspect = deepcopy(old["HostConfig"])
    host.pop("ContainerIDFile", None)
    host["RestartPolicy"] = NO_RESTART
    host["Links"] = [_link(link) for link in host.get("Links") or ()] or None
    _name_anonymous_mounts(host, old.get("Mounts") or [])
    return host


def _link(link: str) -> str:
    """`/db:/web/database` as inspect shows it, `db:database` as create wants it."""
    target, _, alias = link.partition(":")
    return f"{target.lstrip('/')}:{alias.rsplit('/', 1)[-1]}"


def _name_anonymous_mounts(host: Inspect, mounts: list[Inspect]) -> None:
    volumes = {mount["Destination"]: mount for mount in mounts if mount["Type"] == "volume"}
    for wanted in host.get("Mounts") or ():
        if wanted.get("Type") == "volume" and not wanted.get("Source") and wanted["Target"] in volumes:
            wanted["Source"] = volumes[wanted["Target"]]["Name"]
    binds = [
        bind for bind in host.get("Binds") or () if bind not in volumes
    ]  # "/data" alone is anonymous too
    named = {bind.split(":")[1] for bind in binds if ":" in bind}
    named |= {wanted["Target"] for wanted in host.get("Mounts") or ()}
    anonymous = [_bind(mount) for target, mount in volumes.items() if target not in named]
    host["Binds"] = [*binds, *anonymous] or None


def _bind(mount: Inspect) -> str:
    return f"{mount['Name']}:{mount['Destination']}:{'rw' if mount.get('RW', True) else 'ro'}"


def _drop_given_names(config: Inspect, old: Inspect, host_name: str) -> None:
    mode = str(config["HostConfig"].get("NetworkMode", ""))
    given = config.get("Hostname") in (old["Id"][:12], "") or (
        mode == "host" and config.get("Hostname") == host_name
    )
    if given or mode.startswith("container:"):
        config.pop("Hostname", None)
    if mode.startswith("container:"):
        for key in ("Domainname", "ExposedPorts", "MacAddress"):
            config.pop(key, None)


def _networks(old: Inspect) -> tuple[tuple[str, Inspect] | None, tuple[tuple[str, Inspect], ...]]:
    """The primary network where it has settings of its own, and the others."""
    mode = str(old["HostConfig"].get("NetworkMode", ""))
    attached = old["NetworkSettings"].get("Networks") or {}
    if mode in ("host", "none") or mode.startswith("container:"):
        return None, ()
    primary = next((name for name, end in attached.items() if mode in (name, end.get("NetworkID"))), None)
    if primary is None and mode in ("default", "bridge", "") and "bridge" in attached:
        primary = "bridge"
    if primary is None:
        primary = next(iter(attached), None)
    endpoints = {name: _endpoint(name, end, old) for name, end in attached.items()}
    more = tuple((name, end) for name, end in endpoints.items() if name != primary)
    if primary is None or primary == "bridge":
        return None, more
    return (primary, endpoints[primary]), more


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
