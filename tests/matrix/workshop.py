"""The images and packages of the scenarios, each built once."""

import io
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

from caissond.cli.app import run as caisson
from fixtures.images import SICK, BuiltImage, Healthcheck, ImageRecipe, layered_image
from fixtures.layers import busybox_layer, files_layer, noise_layer
from fixtures.packages import write_package
from tests.matrix.scenario import Scenario
from tests.matrix.target import NEW, OLD, Release, Target, reference

_LAYER_MB = 5
_SICK = Healthcheck(test=SICK.test, interval_s=0.2, retries=1)


class Workshop:
    """Builds into one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._built: dict[str, Path] = {}

    def package(self, scenario: Scenario) -> Path:
        """What comes to the scenario's device."""
        names = "-".join(target.name for target in scenario.targets)
        key = (
            f"{names}-{scenario.release}-{scenario.package_format}-{scenario.large_layers}-{scenario.damaged}"
        )
        if key not in self._built:
            self._built[key] = self._write(scenario, key)
            if scenario.damaged:
                _damage(self._built[key])
        return self._built[key]

    def old_package(self, target: Target) -> Path:
        """What brought OLD, on an earlier day."""
        key = f"{target.name}-old"
        if key not in self._built:
            image = self.image(target, OLD)
            self._built[key] = write_package(
                self._folder / f"{key}.edgepkg", service=target.name, version=OLD, reference=image.reference,
                image_tar=image.path,
            )  # fmt: skip
        return self._built[key]

    def image(
        self, target: Target, version: str, release: Release = Release.GOOD, large_layers: int = 0
    ) -> BuiltImage:
        recipe = ImageRecipe(
            reference=reference(target.name, version), version=version, cmd=target.command(release),
            healthcheck=_SICK if release is Release.SICK else None, env={"RELEASE": version},
        )  # fmt: skip
        with tempfile.TemporaryDirectory(dir=self._folder) as name:
            folder = Path(name)
            noise = [
                noise_layer(folder / f"{number}.tar", _LAYER_MB, seed=f"{version}-{number}")
                for number in range(large_layers)
            ]
            told = {"/version": f"{version}\n", "/service": f"{target.name}\n"}
            layers = (
                busybox_layer(folder / "busybox.tar"),
                *noise,
                files_layer(folder / "told.tar", told),
            )
            path = self._folder / f"{target.name}-{version}-{release}-{large_layers}.tar"
            return layered_image(path, recipe, layers)

    def _write(self, scenario: Scenario, key: str) -> Path:
        path = self._folder / f"{key}.edgepkg"
        images = {
            target.name: self.image(target, NEW, scenario.release_of(target), scenario.large_layers)
            for target in scenario.targets
        }
        if len(images) > 1:
            return _bundle(path, images)
        ((name, image),) = images.items()
        write_package(path, service=name, version=NEW, reference=image.reference, image_tar=image.path)
        return _converted(path) if scenario.package_format == 2 else path


def _bundle(path: Path, images: dict[str, BuiltImage]) -> Path:
    words = [
        word
        for name, image in images.items()
        for word in (
            "--image",
            f"{name}=docker-archive:{image.path}",
            "--reference",
            f"{name}={image.reference}",
        )
    ]
    words += ["--version", NEW, "--service-revision", "1", "--output", str(path)]
    _caisson("--root", str(path.parent), "package", "build", *words)
    return path


def _converted(path: Path) -> Path:
    new = path.with_stem(f"{path.stem}-converted")
    _caisson("package", "convert", str(path), str(new), "--root", str(path.parent))
    return new


def _caisson(*words: str) -> None:
    with redirect_stdout(io.StringIO()):
        status = caisson(list(words))
    assert status == 0, words


def _damage(path: Path) -> None:
    """One bit, in the last large layer."""
    with path.open("r+b") as file:
        file.seek(int(path.stat().st_size * 0.9))
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))
