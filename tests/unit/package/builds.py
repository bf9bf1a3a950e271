"""Building small packages in tests: a manifest in one line, and what came out."""

import tarfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from caissond.model.manifest import Manifest, Target
from caissond.package.build import Bar, Built, build_package
from caissond.package.inputs import InputImage, open_input, read_docker_archive
from caissond.package.layout_input import FolderLayout
from caissond.package.oci_input import read_layout
from caissond.package.validate import Package, check_layout, read_package
from caissond.package.writing import workshop
from fixtures.oci_layout import OciLayout

CREATED_AT = datetime(2026, 3, 16, 18, 30, tzinfo=UTC)


def target(service: str = "frontend", **fields: object) -> Target:
    defaults: dict[str, object] = {
        "service_revision": "r1", "platform": "linux/amd64", "reference": f"example/{service}:1.2.3",
    }  # fmt: skip
    return Target.model_validate({"service": service, **defaults, **fields})


def manifest_of(*targets: Target, **fields: object) -> Manifest:
    defaults: dict[str, object] = {"format_version": 2, "version": "1.2.3", "created_at": CREATED_AT}
    return Manifest.model_validate({**defaults, "targets": targets or (target(),), **fields})


def docker_input(folder: Path, content: bytes, stack: ExitStack) -> InputImage:
    """The image of a docker-save archive with these bytes."""
    path = folder / "input.tar"
    path.write_bytes(content)
    return read_docker_archive(stack.enter_context(open_input(path)))


def oci_input(folder: Path, layout: OciLayout) -> tuple[InputImage, ...]:
    """The images of a layout."""
    return read_layout(FolderLayout(layout.write_folder(folder)), "", ())


def build(
    output: Path,
    images: Sequence[InputImage],
    manifest: Manifest | None = None,
    *,
    sign: Callable[[bytes], bytes] = lambda _content: b"",
    bar: Bar = lambda _phase, _done, _total: None,
) -> Built:
    """Build a package, as the command does."""
    with workshop(output) as folder:
        return build_package(manifest or manifest_of(), images, output, folder, sign=sign, bar=bar)


def read(path: Path) -> Package:
    """The package, with everything but its layers checked."""
    with path.open("rb", buffering=0) as source:
        package = read_package(source)
        check_layout(source, package)
    return package


def members(path: Path) -> dict[str, bytes]:
    """What a tar of the world sees, by name."""
    with tarfile.open(path) as tar:
        files = ((member.name, tar.extractfile(member)) for member in tar)
        return {name: file.read() for name, file in files if file}
