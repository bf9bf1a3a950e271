"""Commands that answer as Compose's do, and write down what they were given. They use nothing but the shell itself."""

from dataclasses import dataclass
from pathlib import Path

from caissond.host.compose import ComposeCli

_SCRIPT = """\
#!/bin/sh
{guard}
case "$*" in
*"version --short") {version} ;;
*) printf '%s\\n' "$@" >{log}/arguments; export -p >{log}/environment; pwd >{log}/folder
{does}
;;
esac
"""
_NO_PLUGIN = "echo 'unknown flag: --short' >&2; echo 'Usage:  docker [OPTIONS] COMMAND'; exit 125"
"""docker 20.10 without the plugin."""


@dataclass
class FakePrograms:
    """A folder of programs that is all there is in PATH."""

    bin: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": str(self.bin), "HOME": "/root"}

    def docker(self, version: str | None, does: str = "") -> None:
        """With the plugin of this version, or without it."""
        guard = '[ "$1" = compose ] && shift || exit 1'
        answer = _NO_PLUGIN if version is None else f"echo '{version}'"
        self._write("docker", guard, answer, does)

    def docker_compose(self, version: str, does: str = "") -> None:
        self._write("docker-compose", ":", f"echo '{version}'", does)

    def find(self) -> ComposeCli:
        return ComposeCli.find(self.environment)

    def seen(self, what: str) -> list[str]:
        return (self.bin / what).read_text().splitlines()

    def _write(self, name: str, guard: str, version: str, does: str) -> None:
        program = self.bin / name
        program.write_text(_SCRIPT.format(guard=guard, version=version, log=self.bin, does=does))
        program.chmod(0o755)
