"""What is in a package, for people and for scripts."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.filesize import decimal

from caissond.cli.work import target_line
from caissond.model.manifest import Manifest, Target
from caissond.package.image import Image
from caissond.package.layers import Layer
from caissond.package.manifest_text import format_time
from caissond.package.trust import Signature
from caissond.package.validate import Package


@dataclass(frozen=True, slots=True, kw_only=True)
class HostView:
    """What the local engine has of one image already, and what it would have to read."""

    known_layers: int = 0
    missing_bytes: int = 0
    is_passed_over: bool = False
    """It is for another kind of machine."""


@dataclass(frozen=True, slots=True)
class Contents:
    """All that is told of a package. `hosts` is None where no engine answers."""

    path: Path
    package: Package
    images: tuple[Image, ...]
    signatures: tuple[Signature, ...]
    hosts: tuple[HostView, ...] | None


def as_json(contents: Contents) -> dict[str, object]:
    """The document for scripts: sizes in bytes, layers from the bottom."""
    manifest = contents.package.manifest
    return {
        "package": str(contents.path),
        "size_bytes": contents.package.size_bytes,
        **manifest.model_dump(mode="json", exclude={"targets"}),
        "targets": [_target_json(contents, number, target) for number, target in enumerate(manifest.targets)],
        "signatures": [shown_signature(one) for one in contents.signatures],
    }


def shown_signature(signature: Signature) -> dict[str, object]:
    """One signature; `problem` is a code, or null."""
    return {
        "principals": signature.principals,
        "key_type": signature.key_type,
        "fingerprint": signature.fingerprint,
        "problem": signature.problem.code if signature.problem else None,
    }


def _target_json(contents: Contents, number: int, target: Target) -> dict[str, object]:
    image = contents.images[number]
    host = contents.hosts[number] if contents.hosts else None
    return {
        **target.model_dump(mode="json"),
        "config_digest": image.config_digest,
        "layers": [
            {
                "diff_id": layer.diff_id,
                "blob_digest": layer.blob_digest or None,
                "size_bytes": layer.size_bytes,
                "compression": layer.compression.value,
            }
            for layer in image.layers
        ],
        "host": asdict(host) if host else None,
    }


def content_lines(contents: Contents) -> Iterator[str]:
    """The same in lines."""
    manifest = contents.package.manifest
    size = decimal(contents.package.size_bytes)
    yield f"Package: {contents.path} (format {manifest.format_version}, {size})"
    yield from _manifest_lines(manifest)
    for number, (target, image) in enumerate(zip(manifest.targets, contents.images, strict=True)):
        yield target_line(target)
        yield f"  Image: {image.config_digest}, {image.platform}"
        for layer in image.layers:
            yield _layer_line(layer)
        if contents.hosts:
            yield _host_line(contents.hosts[number], len(image.layers))
    yield from _signature_lines(contents)
    if contents.hosts is None:
        yield "Docker does not answer here, so what would be read of it cannot be told."


def _manifest_lines(manifest: Manifest) -> Iterator[str]:
    yield f"Version: {manifest.version}, made {format_time(manifest.created_at)}"
    yield f"Device types: {', '.join(manifest.device_types) or 'any'}"
    if manifest.min_updater_version:
        yield f"Needs Caisson: {manifest.min_updater_version}"
    if manifest.allow_downgrade:
        yield "Devices with a newer version may go back to it."


def _layer_line(layer: Layer) -> str:
    packed = "plain" if layer.compression.value == "none" else layer.compression.value
    return f"  Layer: {layer.blob_digest or layer.diff_id}, {decimal(layer.size_bytes)}, {packed}"


def _host_line(host: HostView, layers: int) -> str:
    if host.is_passed_over:
        return "  On this host: passed over, it is for another kind of machine"
    return (
        f"  On this host: {host.known_layers} of {layers} layers are there, "
        f"{decimal(host.missing_bytes)} would be read"
    )


def _signature_lines(contents: Contents) -> Iterator[str]:
    for one in contents.signatures:
        trouble = f": {one.problem.message}" if one.problem else ""
        yield f"Signed by: {one.principals or 'unknown'} ({one.key_type} {one.fingerprint}){trouble}"
    if not contents.signatures:
        yield "Signed by: nobody"
