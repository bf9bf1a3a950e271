"""The replacement's configuration, made from the old container's: pure.

The old image's defaults are subtracted, so that the new image's apply; what somebody asked for is kept. Follows the
Engine API's ContainerInspect and ContainerCreate. What is kept how, and what cannot be: docs/recreation.md.
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from caissond.host.endpoints import plan_networks
from caissond.host.image_defaults import subtract_defaults
from caissond.host.volumes import name_anonymous_volumes
from caissond.model.ids import ContainerId, ImageId

Inspect = dict[str, Any]
NO_RESTART: Inspect = {"Name": "no", "MaximumRetryCount": 0}
SHARED_MODES = ("NetworkMode", "PidMode", "IpcMode")
"""In which a container can join another one: `container:X`."""


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
    host = _host_config(old)
    defaults = old_image.get("Config") or {}
    config = subtract_defaults(old["Config"], defaults, published=host.get("PortBindings") or {})
    config["Image"] = image
    config["Labels"] = {**config["Labels"], **labels}
    config["HostConfig"] = host
    _drop_given_names(config, old, host_name)
    networks = plan_networks(old)
    if networks.primary:
        host["NetworkMode"] = networks.primary
    if networks.at_create:
        config["NetworkingConfig"] = {"EndpointsConfig": networks.at_create}
    return Replacement(config, networks.afterwards)


def depends_on(container: Inspect, name: str, container_id: str) -> bool:
    """Whether Docker has bound it to this very other container: it lives in its network, processes or shared memory,
    or has a link to it.
    """
    host = container["HostConfig"]
    is_joined = any(
        host.get(mode) in (f"container:{container_id}", f"container:{name}") for mode in SHARED_MODES
    )
    return is_joined or any(_target(link) in (name, container_id) for link in host.get("Links") or ())


def bound_to(container: Inspect, name: str, old_id: str, new_id: ContainerId) -> Inspect:
    """Its inspect as if it depended on another container, in the place of the one with this name and id."""
    changed = deepcopy(container)
    host = changed["HostConfig"]
    for mode in SHARED_MODES:
        if host.get(mode) in (f"container:{old_id}", f"container:{name}"):
            host[mode] = f"container:{new_id}"
    host["Links"] = [
        f"/{new_id}:{link.partition(':')[2]}" if _target(link) in (name, old_id) else link
        for link in host.get("Links") or ()
    ]
    return changed


def _target(link: str) -> str:
    return link.partition(":")[0].lstrip("/")


def _host_config(old: Inspect) -> Inspect:
    host: Inspect = deepcopy(old["HostConfig"])
    host.pop("ContainerIDFile", None)
    host["RestartPolicy"] = NO_RESTART
    host["Links"] = [_link(link) for link in host.get("Links") or ()] or None
    name_anonymous_volumes(host, old["Config"].get("Volumes") or {}, old.get("Mounts") or [])
    return host


def _link(link: str) -> str:
    """`/db:/web/database` as inspect shows it, `db:database` as create wants it."""
    return f"{_target(link)}:{link.rsplit('/', 1)[-1]}"


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
