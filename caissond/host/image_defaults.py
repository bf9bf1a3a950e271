"""A container's configuration without what its image gave it, so that the next image's defaults apply: pure.

Docker merges the two when a container is created and keeps only the result (moby, daemon/commit.go, `merge`), so this
is that merge backwards. What somebody asked for in the very words of the old image cannot be told from its default.
"""

from copy import deepcopy
from typing import Any

from caissond.model.ids import LABEL_PREFIX

Inspect = dict[str, Any]

_SCALARS = ("WorkingDir", "User", "StopSignal", "Shell")
_OF_THE_BUILD = ("OnBuild", "ArgsEscaped")


def subtract_defaults(config: Inspect, defaults: Inspect, *, published: Inspect) -> Inspect:
    """What was asked for when the container was created.

    Args:
        config: `Config` of the container's inspect.
        defaults: `Config` of its image's; empty where the image is gone: then everything is kept.
        published: `PortBindings`: Docker publishes no port that is not exposed, so those stay exposed, whatever the
            next image says.
    """
    kept = {key: value for key, value in deepcopy(config).items() if key not in _OF_THE_BUILD}
    for key in _SCALARS:
        if kept.get(key) == defaults.get(key):
            kept.pop(key, None)
    kept["ExposedPorts"] = _without(kept.get("ExposedPorts"), defaults.get("ExposedPorts"), but=published)
    kept["Volumes"] = _without(kept.get("Volumes"), defaults.get("Volumes"))
    kept["Env"] = [entry for entry in kept.get("Env") or () if entry not in (defaults.get("Env") or ())]
    kept["Labels"] = _own_labels(kept.get("Labels") or {}, defaults.get("Labels") or {})
    kept.pop("Healthcheck", None)
    if healthcheck := own_healthcheck(config, defaults):
        kept["Healthcheck"] = healthcheck
    _subtract_command(kept, defaults)
    return kept


def own_healthcheck(config: Inspect, defaults: Inspect) -> Inspect:
    """The fields of its health check that are not its image's: Docker takes each that is not given from the image."""
    inherited = defaults.get("Healthcheck") or {}
    own = config.get("Healthcheck") or {}
    return {field: value for field, value in deepcopy(own).items() if value != inherited.get(field)}


def _without(own: Inspect | None, inherited: Inspect | None, *, but: Inspect | None = None) -> Inspect:
    return {
        name: value
        for name, value in (own or {}).items()
        if name not in (inherited or {}) or name in (but or {})
    }


def _own_labels(labels: dict[str, str], defaults: dict[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in labels.items()
        if not name.startswith(LABEL_PREFIX) and defaults.get(name) != value
    }


def _subtract_command(kept: Inspect, defaults: Inspect) -> None:
    """An entrypoint of its own switches the image's Cmd off: without a Cmd where the image has one, it is its own even
    when it is the image's word for word. `--entrypoint ""` is kept by Docker as none at all.
    """
    entrypoint, command = kept.get("Entrypoint") or None, kept.get("Cmd") or None
    inherited, inherited_command = defaults.get("Entrypoint") or None, defaults.get("Cmd") or None
    if entrypoint == inherited and (command or not inherited_command):
        kept.pop("Entrypoint", None)
        if command == inherited_command:
            kept.pop("Cmd", None)
    else:
        kept["Entrypoint"] = entrypoint or [""]
