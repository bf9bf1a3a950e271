"""The volumes of a container, attached by name to the one after it, so that no data is left behind: pure.

Anonymous ones get a name here, or Docker would make new and empty ones. What `--volumes-from` brought is left to it.
"""

import posixpath
from typing import Any

Inspect = dict[str, Any]


def name_anonymous_volumes(host: Inspect, declared: Inspect, mounts: list[Inspect]) -> None:
    """Put the names into `Binds` and `Mounts`.

    Args:
        host: a copy of the container's `HostConfig`; changed.
        declared: `Volumes` of its `Config`, the image's among them.
        mounts: `Mounts` of its inspect: what is attached.
    """
    volumes = {mount["Destination"]: mount for mount in mounts if mount["Type"] == "volume"}
    for wanted in host.get("Mounts") or ():
        target = _clean(wanted["Target"])
        if wanted.get("Type") == "volume" and not wanted.get("Source") and target in volumes:
            wanted["Source"] = volumes[target]["Name"]
    binds = host.get("Binds") or []
    named = [bind for bind in binds if ":" in bind]
    taken = {_clean(bind.split(":")[1]) for bind in named}
    taken |= {_clean(wanted["Target"]) for wanted in host.get("Mounts") or ()}
    if host.get("VolumesFrom"):
        without_name = {
            _clean(target) for target in (*declared, *(bind for bind in binds if ":" not in bind))
        }
        taken |= volumes.keys() - without_name
    anonymous = [_bind(volumes[target]) for target in sorted(volumes.keys() - taken)]
    host["Binds"] = [*named, *anonymous] or None


def _clean(path: str) -> str:
    """As Docker shows a destination: `/data/` is `/data`."""
    return posixpath.normpath(path)


def _bind(mount: Inspect) -> str:
    return f"{mount['Name']}:{mount['Destination']}:{'rw' if mount.get('RW', True) else 'ro'}"
