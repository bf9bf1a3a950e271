"""What the steps of an update are handed: the engine, what is known of releases, and the host around them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from caissond.host.docker import Docker
from caissond.model.ids import ImageId
from caissond.model.records import AuditKind, Part
from caissond.store.releases import Releases


class Host(Protocol):
    """What the steps need besides Docker."""

    def import_image(self, part: Part, tag: str) -> ImageId:
        """Load the part's image, verified, under this tag."""

    def remove_intermediates(self) -> None:
        """Remove what an import that was cut off left between two layers."""

    def sync(self) -> None:
        """Write Docker's data root to its disk."""

    def pause(self, seconds: float) -> None:
        """Wait; raises Stopping when we were asked to stop."""

    def pause_whatever_comes(self, seconds: float) -> None:
        """Wait, also when we were asked to stop."""

    def beat(self, silent_s: float) -> None:
        """A sign of life; the next may take this long."""

    def free_port(self, problem: str) -> bool:
        """Whether Docker was started again, since it held a port for nobody; by what it said at a container's start."""

    def tell(self, code: str, text: str) -> None: ...

    def audit(self, kind: AuditKind, message: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Tools:
    docker: Docker
    releases: Releases
    host: Host
    claim: str
    state_dir: Path
    stop_timeout_s: int | None


def whatever_comes(works: Iterable[Callable[[], None]]) -> None:
    """Do all of them: what goes wrong with one does not keep the others from going back.

    Raises:
        Exception: the first that did.
    """
    problems: list[Exception] = []
    for work in works:
        try:
            work()
        except Exception as exc:  # also a mistake of ours
            problems.append(exc)
    if problems:
        raise problems[0]
