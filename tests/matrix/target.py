"""The services on the device of a scenario: their containers, what is bound to those, and what stands beside."""

from dataclasses import dataclass
from enum import StrEnum

from fixtures.images import FOREVER

OLD, EARLIER, NEW = "1.1.0", "1.0.0", "2.0.0"
"""What a service runs, what it ran before that where it was updated before, and what the package brings."""
PROJECT = "shop"
"""Compose's name for what the Compose services of a scenario belong to."""
BYSTANDER = f"{PROJECT}-db-1"
"""A container of the same project that no package has anything to do with."""
SIDECAR = "sidecar"
ONCE = ("sh", "-c", "sleep 0.2")


class Release(StrEnum):
    """What the package brings."""

    GOOD = "good"
    SICK = "sick"
    """Its health check fails."""
    CRASHES = "crashes"
    """It exits, again and again where it is restarted."""
    ONE_CRASHES = "one-crashes"
    """It exits in the second of its containers, and runs in the others."""
    NO_PROGRAM = "no-program"
    """It can be created, not started."""
    NO_COMMAND = "no-command"
    """It cannot be created."""


_COMMANDS = {
    Release.CRASHES: ("sh", "-c", "exit 3"),
    Release.ONE_CRASHES: (
        "sh",
        "-c",
        f"read name </proc/sys/kernel/hostname; case $name in *-2) exit 3; esac; {FOREVER[2]}",
    ),
    Release.NO_PROGRAM: ("/no/such/program",),
    Release.NO_COMMAND: (),
}


@dataclass(frozen=True, slots=True)
class Target:
    """A service of the catalog, and what a package brings for it."""

    name: str = "web"
    containers: tuple[str, ...] = ("web",)
    is_composed: bool = False
    """Its containers are Compose's, of one service in the project."""
    runs_once: bool = False
    """It does its work and exits; nobody starts it again."""
    after: tuple[str, ...] = ()
    """Services that it is started after."""
    dependants: tuple[str, ...] = ()
    """Containers in the network of its first one, declared in the catalog."""
    is_spared: bool = False
    """What the package brings for it is good, whatever it brings for the others."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of all containers that an update of it makes again."""
        return (*self.containers, *self.dependants)

    @property
    def image_name(self) -> str:
        """By which its first containers were made."""
        return reference(self.name, "stable" if self.is_composed else OLD)

    def command(self, release: Release) -> tuple[str, ...]:
        """Of the image that has this release of it."""
        return _COMMANDS.get(release, ONCE if self.runs_once else FOREVER)


def reference(name: str, version: str) -> str:
    """The tag of a release."""
    return f"matrix/{name}:{version}"


WEB = Target()
DATABASE = Target("db", ("db",), is_spared=True)
PAIR = (Target(after=("db",)), DATABASE)
"""Two plain services in one package, one of which comes after the other."""
COMPOSED = Target(containers=(f"{PROJECT}-web-1",), is_composed=True)
SCALED = Target(containers=(f"{PROJECT}-web-1", f"{PROJECT}-web-2"), is_composed=True)
WITH_SIDECAR = Target(dependants=(SIDECAR,))
JOB = Target("job", ("job",), runs_once=True)
