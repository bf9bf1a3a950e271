"""What is to be loaded, and in which portions: pure decisions over lists of diff IDs.

A portion is one layer (or a few small ones) on top of what the engine has by then, under a configuration of our own;
the last one is the image itself, under its own. Source: moby `image/tarexport/load.go`, which asks its layer store for
each chain of diff IDs before it looks into the archive.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from caissond.host.docker import Inspect
from caissond.package.image import Image
from caissond.package.layers import Layer

INGEST_LABEL = "io.caisson.ingest"
"""On the images that stand between two layers; its value is the claim and the update, `<claim>-<update id>`."""
SMALL_BYTES, PORTION_BYTES, PORTIONS = 4 << 20, 16 << 20, 16
"""Layers go into Docker together up to a sixteenth of what is missing, but 4 MiB at least and 16 at most: each load
costs a tenth of a second, each portion stands on the disk twice.
"""


@dataclass(frozen=True, slots=True)
class Load:
    """One archive: these layers of the chain, from `first` on up to `stop`, under this configuration."""

    config: bytes
    diff_ids: tuple[str, ...]
    first: int
    is_last: bool

    @property
    def stop(self) -> int:
        return len(self.diff_ids)

    @property
    def config_hex(self) -> str:
        return hashlib.sha256(self.config).hexdigest()


def count_known(diff_ids: Sequence[str], chains: Iterable[Sequence[str]]) -> int:
    """How many of the layers, from the bottom, some image has in the same order.

    Args:
        diff_ids: what is wanted.
        chains: the diff IDs of each image that is there; no more of them are asked for than needed.
    """
    known = 0
    for chain in chains:
        known = max(known, _common(diff_ids, chain))
        if known == len(diff_ids):
            break
    return known


def _common(wanted: Sequence[str], chain: Sequence[str]) -> int:
    pairs = zip(wanted, chain, strict=False)
    return next(
        (number for number, (one, other) in enumerate(pairs) if one != other), min(len(wanted), len(chain))
    )


def plan_whole(image: Image) -> Load:
    """All of the image at once, as if nothing were there."""
    return Load(image.config, _diff_ids(image.layers), 0, is_last=True)


def plan_loads(image: Image, known: int, mark: str) -> tuple[Load, ...]:
    """The archives that bring the image in, in their order; at least one, with no layer where all are known.

    Args:
        known: how many layers from the bottom are there.
        mark: the value of the label that tells the images in between.
    """
    firsts = [known, *_portions(image.layers, known)]
    stops = [*firsts[1:], len(image.layers)]
    return tuple(
        Load(
            image.config if stop == len(image.layers) else _config_between(image, stop, mark),
            _diff_ids(image.layers[:stop]),
            first,
            is_last=stop == len(image.layers),
        )
        for first, stop in zip(firsts, stops, strict=True)
    )


def plan_probes(image: Image, known: int, mark: str) -> Iterator[Load]:
    """Archives without any layer, each one layer higher than the one before: Docker takes one where it has those layers
    although no image has them.
    """
    for stop in range(known + 1, len(image.layers) + 1):
        config = _config_between(image, stop, mark)
        yield Load(config, _diff_ids(image.layers[:stop]), stop, is_last=False)


def _portions(layers: Sequence[Layer], known: int) -> Iterator[int]:
    """Where each portion but the first begins."""
    missing_bytes = sum(layer.size_bytes for layer in layers[known:])
    limit_bytes = min(max(missing_bytes // PORTIONS, SMALL_BYTES), PORTION_BYTES)
    portion_bytes = 0
    for number, layer in enumerate(layers[known:], known):
        portion_bytes += layer.size_bytes
        if number > known and portion_bytes > limit_bytes:
            yield number
            portion_bytes = layer.size_bytes


def _config_between(image: Image, count: int, mark: str) -> bytes:
    """A configuration for the lowest layers alone; unlike any other image's, since it names the update."""
    config = {
        "architecture": image.architecture,
        "os": image.os,
        "config": {"Labels": {INGEST_LABEL: mark}},
        "rootfs": {"type": "layers", "diff_ids": list(_diff_ids(image.layers[:count]))},
    }
    return json.dumps(config).encode()


def _diff_ids(layers: Sequence[Layer]) -> tuple[str, ...]:
    return tuple(layer.diff_id for layer in layers)


def is_containerd_store(engine: Inspect) -> bool:
    """Whether `docker info` tells of containerd's image store, which cannot take a layer on top of another image's."""
    return any(
        str(value).startswith("io.containerd.snapshotter") for _, value in engine.get("DriverStatus") or ()
    )
