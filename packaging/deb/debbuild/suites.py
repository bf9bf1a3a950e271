"""For which Debian, and for which processor, a package is made."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Suite:
    """A release of Debian: programs with C in them fit one Python only, and Python one Debian."""

    name: str
    number: int
    python: str
    systemd: int
    glibc: tuple[int, int]

    @property
    def interpreter(self) -> str:
        return f"python{self.python}"


@dataclass(frozen=True, slots=True)
class Architecture:
    """A processor, in Debian's words and in Python's (`uname -m`)."""

    debian: str
    machine: str


SUITES = {
    suite.name: suite
    for suite in (
        Suite("bookworm", 12, "3.11", systemd=252, glibc=(2, 36)),
        Suite("trixie", 13, "3.13", systemd=257, glibc=(2, 41)),
    )
}
ARCHITECTURES = {
    architecture.debian: architecture
    for architecture in (Architecture("amd64", "x86_64"), Architecture("arm64", "aarch64"))
}


def wheel_platforms(suite: Suite, architecture: Architecture) -> list[str]:
    """The platform tags of wheels that run there, the newest first (PEP 600; 2.17 is the oldest with aarch64)."""
    major, newest = suite.glibc
    tags = [f"manylinux_{major}_{minor}" for minor in range(newest, 4, -1)]
    return [f"{tag}_{architecture.machine}" for tag in [*tags, "manylinux2014"]]
