"""The release engineer's folder in tests: an image archive, a layout for two platforms, keys, and usual commands."""

from pathlib import Path

from caissond.package.signing import generate_key
from fixtures.oci_layout import OciLayout, gzipped
from fixtures.raw_package import config, image
from tests.unit.cli.command import Answer, Command


def fill_folder(folder: Path, root: Path) -> Path:
    """Put in an image archive, a layout for two platforms, and two keys that the device below `root` trusts."""
    (folder / "image.tar").write_bytes(image(config=config(created="2026-01-02T03:04:05.6Z")))
    layout = OciLayout()
    images = [layout.image(pack=gzipped), layout.image(architecture="arm64", pack=gzipped)]
    layout.entries = [layout.index(*images, layout.attestation(), name="example/backend:2.0.0")]
    layout.write_folder(folder / "layout")
    lines = []
    for name in ("first", "second"):
        generate_key(folder / name)
        public = (folder / f"{name}.pub").read_text().strip()
        lines.append(f'{name}@example.com namespaces="caisson-package" {public}\n')
    (root / "etc/caisson/allowed_signers").write_text("".join(lines))
    return folder


def build(caisson: Command, folder: Path, *more: str | Path, name: str = "x.edgepkg") -> Answer:
    return caisson(
        "package", "build", "--image", f"frontend=docker-archive:{folder / 'image.tar'}", "--version", "1.2.3",
        "--service-revision", "r1", "--output", folder / name, *more,
    )  # fmt: skip


def built(caisson: Command, folder: Path, *more: str | Path, name: str = "x.edgepkg") -> Path:
    answer = build(caisson, folder, *more, name=name)
    assert (answer.code, answer.err) == (0, "")
    return folder / name


def sign(caisson: Command, path: Path, key: str) -> Answer:
    return caisson("package", "sign", path, "--sign-key", path.parent / key)
