"""A manifest of format 2 as text, which is what is signed: keys in the order of the specification, each value in one
spelling.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

import tomlkit

from caissond.model.manifest import Manifest, Target, parse_manifest

PACKAGE_TYPE = "service"


def format_manifest(manifest: Manifest) -> bytes:
    """The bytes of `manifest.toml`, always the same for the same manifest.

    Raises:
        Refusal: `manifest.*`; the manifest is not one that would be read again.
    """
    document = tomlkit.document()
    document.update(_drop_empty(_top(manifest)))
    if compatibility := _drop_empty(_compatibility(manifest)):
        document["compatibility"] = compatibility
    targets = tomlkit.aot()
    for target in manifest.targets:
        targets.append(tomlkit.item(_drop_empty(_target(target))))
    document["targets"] = targets
    content = tomlkit.dumps(document).encode()
    if parse_manifest(content) != manifest:
        raise AssertionError("the manifest does not read as it was written")
    return content


def format_time(instant: datetime) -> str:
    """RFC 3339 in UTC, with no more digits than it needs."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _top(manifest: Manifest) -> dict[str, object]:
    return {
        "format_version": 2,
        "package_type": PACKAGE_TYPE,
        "package_version": manifest.version,
        "created_at": format_time(manifest.created_at),
        "allow_downgrade": manifest.allow_downgrade,
    }


def _compatibility(manifest: Manifest) -> dict[str, object]:
    return {
        "min_updater_version": manifest.min_updater_version,
        "device_types": list(manifest.device_types),
    }


def _target(target: Target) -> dict[str, object]:
    return {
        "service": target.service,
        "service_revision": target.service_revision,
        "platform": target.platform,
        "optional": target.optional,
        "image": {
            "reference": target.reference,
            "manifest_digest": target.manifest_digest,
            "config_digest": target.config_digest,
            "size_bytes": target.size_bytes,
            "unpacked_bytes": target.unpacked_bytes,
        },
    }


def _drop_empty(table: Mapping[str, object]) -> dict[str, object]:
    """What has its default is not written."""
    return {key: value for key, value in table.items() if value not in (None, False, [])}
