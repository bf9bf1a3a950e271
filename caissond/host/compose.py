"""Compose's own command: found, checked, and asked what a project's files say. Nobody else reads them rightly.

`docker compose` (version 2 and later) or `docker-compose` (the same standing alone, or version 1 from 1.28 on). It is
given a small environment of its own, so that a project means the same to the daemon and to whoever is logged in.
"""

import os
import re
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from caissond.errors import Refusal
from caissond.host.compose_files import (
    ComposeFiles,
    Resolved,
    ResolvedService,
    check_service,
    parse_resolved,
    sharers,
)
from caissond.host.program import run_program
from caissond.model.text import printable

__all__ = ["ComposeCli", "ComposeFiles", "Resolved", "ResolvedService", "check_service", "resolve", "sharers"]

RESOLVE_S = 60
"""Half of what the daemon's watchdog waits for."""
_VERSION_S = 20
_FIRST_V1 = (1, 28)
"""The first that knows profiles."""
_CANDIDATES = (("docker", "compose"), ("docker-compose",))
_SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_DOCKER_HOST = "unix:///var/run/docker.sock"
_OFFLINE = {"COMPOSE_EXPERIMENTAL_GIT_REMOTE": "false", "COMPOSE_EXPERIMENTAL_OCI_REMOTE": "false"}
"""Files that lie in a network are refused by version 2 instead of being fetched; version 1 knows no such thing."""


@dataclass(frozen=True, slots=True)
class ComposeCli:
    """The command that is there."""

    command: tuple[str, ...]
    version: str
    environment: Mapping[str, str] = field(repr=False)
    """All that it is given."""

    @classmethod
    def find(cls, environment: Mapping[str, str] = os.environ) -> "ComposeCli":
        """The first that can be used of `docker compose` and `docker-compose`.

        Raises:
            Refusal: `compose.unavailable`, with what was found instead.
        """
        own, found = command_environment(environment), []
        for name, *rest in _CANDIDATES:
            program = shutil.which(name, path=own["PATH"])
            version = _ask_version((program, *rest), own) if program else None
            if program and version and _is_usable(version):
                return cls((program, *rest), version, own)
            if version:
                found.append(f"{' '.join((name, *rest))} {version}")
        there = (
            f"only {' and '.join(found)} here" if found else "neither docker compose nor docker-compose here"
        )
        text = f"cannot update Compose services: {printable(there)}"
        raise Refusal(text, code="compose.unavailable")

    @property
    def numbers(self) -> tuple[int, ...]:
        """The first two of its version."""
        return _numbers(self.version)

    @property
    def is_v1(self) -> bool:
        return self.numbers < (2,)

    @property
    def name(self) -> str:
        """For messages, such as `docker compose`."""
        return " ".join((Path(self.command[0]).name, *self.command[1:]))

    def takes(self, command: str, option: str) -> bool:
        """Whether one of its commands has this option, by what it says of itself."""
        try:
            help_text = run_program(
                (*self.command, command, "--help"), environment=self.environment, timeout_s=_VERSION_S
            )
        except OSError:
            return False
        return re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", help_text.output) is not None


def resolve(cli: ComposeCli, files: ComposeFiles) -> dict[str, ResolvedService]:
    """The services of the project by name, as the command resolves its files; it takes at most `RESOLVE_S`.

    Version 2 leaves out the services of profiles that are not enabled, version 1 does not.

    Raises:
        Refusal: `compose.invalid`, with what the command said last.
    """
    _check_present(files)
    what = ("config",) if cli.is_v1 else ("config", "--format", "json")
    answer = _ask(cli, (*files.arguments, *what), files)
    try:
        return parse_resolved(answer, is_yaml=cli.is_v1)
    except ValueError:
        raise _invalid(files, f"{cli.name} {cli.version} gave an unexpected answer") from None


def _ask(cli: ComposeCli, arguments: tuple[str, ...], files: ComposeFiles) -> str:
    command, environment = (*cli.command, *arguments), {**cli.environment, **files.environment}
    try:
        ended = run_program(command, environment=environment, timeout_s=RESOLVE_S, folder=files.folder)
    except OSError as exc:
        raise _invalid(files, f"{cli.name} cannot be started: {exc.strerror}") from exc
    if ended.code is None:
        raise _invalid(files, f"{cli.name} took more than {RESOLVE_S} s")
    if ended.code != 0:
        raise _invalid(files, _problem_in(ended.errors) or f"{cli.name} ended with code {ended.code}")
    return ended.output


def command_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What the command gets of somebody's environment: where programs, its settings and the engine are.

    No `COMPOSE_*`, and no variable that a file could put in: they come from `.env` or `env_file` alone. The engine is
    always named, as otherwise the command could follow a context to another one than Caisson speaks to.
    """
    kept = {
        name: value for name, value in environment.items() if name.startswith("DOCKER_") or name == "HOME"
    }
    kept.pop("DOCKER_CONTEXT", None)
    path = environment.get("PATH") or _SEARCH_PATH
    return {"DOCKER_HOST": _DOCKER_HOST, "LANG": "C.UTF-8", "PATH": path, **kept, **_OFFLINE}


def _ask_version(command: tuple[str, ...], environment: Mapping[str, str]) -> str | None:
    """What it says its version is; None where there is no such command, as with a `docker` without the plugin."""
    try:
        ended = run_program((*command, "version", "--short"), environment=environment, timeout_s=_VERSION_S)
    except OSError:
        return None
    if ended.code != 0:
        return None
    return ended.output.strip() or None


def _is_usable(version: str) -> bool:
    numbers = _numbers(version)
    return numbers >= (2,) or _FIRST_V1 <= numbers < (2,)


def _numbers(version: str) -> tuple[int, ...]:
    """Its first two, such as those of `2.26.1-4` or `v2.3.3`; none where it is something else."""
    match = re.match(r"v?(\d{1,9})\.(\d{1,9})", version)
    return (int(match[1]), int(match[2])) if match else ()


def _check_present(files: ComposeFiles) -> None:
    for file in (*files.files, *((files.env_file,) if files.env_file else ())):
        try:
            is_file = stat.S_ISREG(file.stat().st_mode)
        except OSError as exc:
            raise _invalid(files, f"{file}: {exc.strerror}") from exc
        if not is_file:
            raise _invalid(files, f"{file} is not a file")


def _problem_in(errors: str) -> str:
    """The line that says what is wrong: the last, or what version 1 announces, since it gives advice below that."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    for above, line in pairwise(lines):
        if above.endswith("is invalid because:"):
            return line
    return lines[-1] if lines else ""


def _invalid(files: ComposeFiles, problem: str) -> Refusal:
    text = f"cannot resolve the Compose project {files.project}: {printable(problem)}"
    return Refusal(text, code="compose.invalid")
