"""Finding the images that a package is built from: in the local engine, in archives, in folders."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from caissond.errors import CaissonError, NotFound
from caissond.host.docker import Docker
from caissond.package.inputs import (
    Input,
    InputImage,
    InputKind,
    open_input,
    read_docker_archive,
    target_platform,
)
from caissond.package.layout_input import ArchiveLayout, FolderLayout, Layout
from caissond.package.oci_input import read_layout


@dataclass
class ImageFinder:
    """Opens sources, and keeps them open until it is left."""

    docker: Docker
    folder: Path
    """For what the engine saves."""
    platforms: Sequence[str]
    bar: Callable[[str, int, int], None]
    _open: ExitStack = field(default_factory=ExitStack)
    _saved: int = 0

    def find(self, source: Input) -> tuple[InputImage, ...]:
        """The images of one source: one for each platform asked for, or one.

        Raises:
            CaissonError: as the readers say; `build.unknown_image`, `build.no_platform`.
        """
        match source.kind:
            case InputKind.ENGINE:
                return (self._save(source.reference),)
            case InputKind.DOCKER_ARCHIVE:
                return (
                    read_docker_archive(self._open.enter_context(open_input(source.path)), source.reference),
                )
            case InputKind.OCI_ARCHIVE:
                archive = self._open.enter_context(open_input(source.path))
                return self._from_layout(ArchiveLayout.read(archive), source)
            case InputKind.OCI_FOLDER:
                return self._from_layout(FolderLayout(source.path), source)

    def close(self) -> None:
        self._open.close()

    def _save(self, reference: str) -> InputImage:
        try:
            size_bytes = int(self.docker.inspect_image(reference)["Size"])
            path = self.folder / f"{self._saved}.saved"
            self._saved += 1
            self.docker.save(reference, path, self._count(size_bytes))
        except NotFound as exc:
            raise CaissonError(
                f"cannot find image {reference!r:.200} in the local engine", code="build.unknown_image"
            ) from exc
        return read_docker_archive(self._open.enter_context(open_input(path)))

    def _count(self, total_bytes: int) -> Callable[[int], None]:
        done_bytes = 0

        def progress(more_bytes: int) -> None:
            nonlocal done_bytes
            done_bytes += more_bytes
            self.bar("saving", done_bytes, max(total_bytes, done_bytes))

        return progress

    def _from_layout(self, layout: Layout, source: Input) -> tuple[InputImage, ...]:
        found = read_layout(layout, source.reference, self.platforms)
        fitting = tuple(one for one in found if target_platform(one.image, self.platforms))
        if not fitting:
            raise CaissonError(
                f"cannot find an image for {' or '.join(self.platforms)} in {str(source.path)!r:.200}",
                code="build.no_platform",
            )
        return fitting


@contextmanager
def image_finder(
    docker: Docker, folder: Path, platforms: Sequence[str], bar: Callable[[str, int, int], None]
) -> Iterator[ImageFinder]:
    """A finder whose sources are closed at the end."""
    finder = ImageFinder(docker, folder, platforms, bar)
    try:
        yield finder
    finally:
        finder.close()
        docker.close()
