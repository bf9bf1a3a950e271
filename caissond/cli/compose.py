"""`caisson compose`: Compose's own command on a service's project, as the catalog tells of it, under Caisson's lock."""

import os
import shlex
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Annotated, Self

import typer

from caissond.cli.looking import device_to_look_at
from caissond.cli.session import ExitCode, Session
from caissond.errors import CaissonError, ConfigError, Refusal
from caissond.host.compose import ComposeCli, ComposeFiles, ResolvedService, resolve
from caissond.host.docker import Docker
from caissond.model.catalog import Compose
from caissond.store.lock import hold_lock
from caissond.update.device import Device
from caissond.update.survey import check_settled
from caissond.wiring import load_catalog

_LOOKING = frozenset(
    {"ps", "logs", "top", "config", "images", "events", "port", "version", "ls", "stats", "help"}
)
"""Commands that change nothing. All others have the lock to themselves."""
_PULLING = frozenset({"up", "create", "run", "scale", "watch"})
"""Commands that fetch the images that they miss, where they are not told otherwise."""
_HEEDS_PULL = (2, 15)
"""Before it, `up` took --pull and did nothing with it (docker/compose#10128)."""
_ONLY_WHEN_MISSING = (None, "missing", "if_not_present", "never")
"""Of a service's `pull_policy`; the others are for more than that."""
_TERMINAL = ("TERM", "COLUMNS", "LINES", "NO_COLOR", "TZ")
_FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class TheirCode(int):
    """The exit code of another program, to be given back as it is, whatever it would mean for one of ours."""


def compose(
    context: typer.Context,
    service: Annotated[str, typer.Argument(help="The service's name.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="-- ARGS", help="What Compose is to do, such as: -- ps -a")
    ] = None,
) -> int:
    """Run docker compose on the project of a service, as the catalog says: its files, profiles and variables.

    Nothing is fetched from a network, and while it changes something, no update begins. Its exit code is given back.
    Without ARGS, the command is shown.
    """
    session: Session = context.obj
    try:
        table = _compose_of(session, service)
        if table is None:
            text = f"cannot run Compose for {service}: it is a plain container"
            session.complain(CaissonError(text, code="usage.wrong"))
            return ExitCode.USAGE
        cli = ComposeCli.find()
        files = ComposeFiles.of(table, session.paths.services.parent)
        if not arguments:
            return _show(session, cli, files)
        return _run(session, cli, files, arguments)
    except Refusal as exc:
        session.complain(exc)
        return ExitCode.REFUSED


def _compose_of(session: Session, name: str) -> Compose | None:
    """None for a plain container."""
    service = load_catalog(session.paths).find(name)
    if service is None:
        raise ConfigError(f"cannot find the service {name!r} in the catalog", code="service.unknown")
    return service.compose


def _show(session: Session, cli: ComposeCli, files: ComposeFiles) -> ExitCode:
    command = (*cli.command, *files.arguments)
    session.show_json({"command": command, "folder": str(files.folder), "version": cli.version})
    session.say(f"In {files.folder}: {shlex.join(command)} ...")
    session.say(f"Version: {cli.version}")
    return ExitCode.DONE


def _run(session: Session, cli: ComposeCli, files: ComposeFiles, arguments: Sequence[str]) -> int:
    what, *rest = arguments
    if what.startswith("-"):
        text = f"cannot run {cli.name} with {what} in front, expected a command such as ps"
        session.complain(CaissonError(text, code="usage.wrong"))
        return ExitCode.USAGE
    with _alone(session, files) if what not in _LOOKING else nullcontext() as device:
        options = _offline(device, cli, files, what) if device is not None and what in _PULLING else ()
        return _pass_on(cli, files, (what, *options, *rest))


@contextmanager
def _alone(session: Session, files: ComposeFiles) -> Iterator[Device]:
    """The lock is held, and no update of a service of the project is half done."""
    who = f"caisson compose, process {os.getpid()}"
    with hold_lock(session.paths.lock, who=who), device_to_look_at(session) as device:
        for service in device.catalog.services:
            if service.compose is not None and service.compose.project == files.project:
                check_settled(device.journal, service)
        yield device


def _offline(device: Device, cli: ComposeCli, files: ComposeFiles, what: str) -> tuple[str, ...]:
    """What keeps the command from fetching images; where nothing does, they have to be there.

    What the user gives comes behind it, and the last one counts.

    Raises:
        Refusal: `compose.image_missing`, `compose.invalid`.
    """
    if cli.numbers >= _HEEDS_PULL and cli.takes(what, "--pull"):
        return ("--pull", "never")
    missing = sorted(set(_missing(device.docker, resolve(cli, files))))
    if missing:
        text = f"cannot {what}: {', '.join(missing)} would be fetched from a network"
        raise Refusal(text, code="compose.image_missing")
    return ()


def _missing(docker: Docker, resolved: Mapping[str, ResolvedService]) -> Iterator[str]:
    """The images that would be fetched, and not built."""
    for service in resolved.values():
        if service.image is None or service.is_built:
            continue
        if service.pull_policy not in _ONLY_WHEN_MISSING or docker.find_image(service.image) is None:
            yield service.image


def _pass_on(cli: ComposeCli, files: ComposeFiles, arguments: Sequence[str]) -> TheirCode:
    """Run it on our own streams, with the signals that we get."""
    terminal = {name: os.environ[name] for name in _TERMINAL if name in os.environ}
    command, environment = (
        [*cli.command, *files.arguments, *arguments],
        {**cli.environment, **files.environment},
    )
    with _Signals() as signals:
        try:
            process = subprocess.Popen(command, env={**terminal, **environment}, cwd=files.folder)
        except OSError as exc:
            text = f"cannot run {cli.name} in {files.folder}: {exc.strerror}"
            raise Refusal(text, code="compose.invalid") from exc
        with process:
            signals.forward_to(process)
            code = process.wait()
    return TheirCode(code if code >= 0 else 128 - code)


class _Signals:
    """Passes on what would end us, so that Compose has the last word; what comes too early is kept for it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._take) for number in _FORWARDED}
        return self

    def __exit__(self, *_error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def forward_to(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        while self._early:
            process.send_signal(self._early.pop(0))

    def _take(self, number: int, _frame: object) -> None:
        """Ctrl-C at a terminal reaches both of us: told twice, Compose would not wait for its containers."""
        if number == signal.SIGINT and _in_foreground():
            return
        if self._process is None:
            self._early.append(number)
        else:
            self._process.send_signal(number)


def _in_foreground() -> bool:
    """Whether what is typed at a terminal reaches this process (tcgetpgrp(3))."""
    try:
        with open("/dev/tty", "rb", buffering=0) as terminal:  # noqa: PTH123 (a device)
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False
