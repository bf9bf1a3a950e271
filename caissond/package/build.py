"""The release engineer's side: a package of format 2 from images.

The story, in order: what can be refused is refused before hours of packing; each distinct layer is packed once; the
manifest is written and signed; the package is written, read back as a device would, and only then gets its name.
The same input gives the same bytes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from caissond.model.manifest import Manifest, Target
from caissond.package.compress import DEFAULT_LEVEL, PackedLayer, pack_layer, work_bytes
from caissond.package.inputs import InputImage
from caissond.package.layers import Layer
from caissond.package.layout_writer import OciImage, describe_image, write_package, written_bytes
from caissond.package.manifest_text import format_manifest
from caissond.package.validate import check_layout, read_package, read_target
from caissond.package.writing import put_in_place

Bar = Callable[[str, int, int], None]
"""Told of progress: what is done, bytes done, bytes in all."""
Sign = Callable[[bytes], bytes]
"""The armored signatures over these bytes, one after the other; empty for none."""

_NO_DIGEST = f"sha256:{64 * '0'}"


@dataclass(frozen=True, slots=True)
class Built:
    """What was built."""

    manifest: Manifest
    size_bytes: int
    layers: int
    """Distinct ones, each of which stands in the package once."""
    layer_uses: int
    """How many the images have in all."""


def build_package(
    manifest: Manifest,
    images: Sequence[InputImage],
    output: Path,
    folder: Path,
    *,
    level: int = DEFAULT_LEVEL,
    sign: Sign = lambda _content: b"",
    bar: Bar = lambda _phase, _done, _total: None,
) -> Built:
    """Build a package and put it in place.

    Args:
        manifest: its targets without digests and sizes.
        images: one for each target.
        output: where it goes; what is there is replaced.
        folder: private, beside the output; see `writing.workshop`.

    Raises:
        Refusal: `manifest.*` for what the manifest may not say; `image.*` for an input that is not what it says.
        SourceGone: an input cannot be read.
        CaissonError: `build.*`.
    """
    format_manifest(_with_digests(manifest, [None] * len(images)))
    packed = _pack(images, folder, level, bar)
    described = [_describe(one, packed) for one in images]
    manifest = _with_digests(manifest, described)
    content = format_manifest(manifest)
    finished = folder / output.name
    _write(finished, content, sign(content), manifest, described, bar)
    _read_back(finished)
    put_in_place(finished, output)
    uses = sum(len(image.layers) for image in described)
    return Built(manifest, output.stat().st_size, len(packed), uses)


def _with_digests(manifest: Manifest, images: Sequence[OciImage | None]) -> Manifest:
    targets = zip(manifest.targets, images, strict=True)
    return manifest.model_copy(update={"targets": tuple(_with_digest(*pair) for pair in targets)})


def _with_digest(target: Target, image: OciImage | None) -> Target:
    """The target with its image's digests and sizes; with stand-ins before there are any."""
    update = {
        "manifest_digest": image.manifest.digest if image else _NO_DIGEST,
        "config_digest": image.config.digest if image else _NO_DIGEST,
        "size_bytes": image.size_bytes if image else 1,
        "unpacked_bytes": image.unpacked_bytes if image else 1,
    }
    return target.model_copy(update=update)


def _pack(images: Sequence[InputImage], folder: Path, level: int, bar: Bar) -> Mapping[str, PackedLayer]:
    """Every distinct layer, by its diff ID."""
    jobs: dict[str, tuple[InputImage, Layer]] = {}
    for one in images:
        for layer in one.image.layers:
            jobs.setdefault(layer.diff_id, (one, layer))
    progress = _count("packing", sum(work_bytes(layer) for _, layer in jobs.values()), bar)
    packed = {}
    for number, (diff_id, (one, layer)) in enumerate(jobs.items()):
        with one.open_layer(layer) as source:
            packed[diff_id] = pack_layer(
                source, layer, folder / f"{number}.layer", level=level, progress=progress
            )
    return packed


def _describe(one: InputImage, packed: Mapping[str, PackedLayer]) -> OciImage:
    return describe_image(one.image, tuple(packed[layer.diff_id] for layer in one.image.layers))


def _write(
    path: Path, content: bytes, signatures: bytes, manifest: Manifest, images: Sequence[OciImage], bar: Bar
) -> None:
    named = [(target.reference, image) for target, image in zip(manifest.targets, images, strict=True)]
    progress = _count("writing", written_bytes(images), bar)
    write_package(path, content, signatures, named, progress=progress)


def _read_back(path: Path) -> None:
    """Nothing is handed out that a device would refuse. What the layers hold was checked when they were packed."""
    with path.open("rb", buffering=0) as source:
        package = read_package(source)
        check_layout(source, package)
        for target in package.manifest.targets:
            read_target(source, package, target)


def _count(phase: str, total_bytes: int, bar: Bar) -> Callable[[int], None]:
    done_bytes = 0

    def progress(more_bytes: int) -> None:
        nonlocal done_bytes
        done_bytes += more_bytes
        bar(phase, done_bytes, total_bytes)

    return progress
