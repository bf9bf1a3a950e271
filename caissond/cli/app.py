"""The command's entry point: global options, which may stand anywhere, and exit codes."""

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from caissond import __version__
from caissond.cli import (
    approve,
    building,
    compose,
    history,
    inventory,
    packages,
    plan,
    quarantine,
    rollback,
    services,
    status,
    trust,
)
from caissond.cli.session import ExitCode, Session
from caissond.errors import CaissonError
from caissond.model.paths import Paths
from caissond.model.text import printable

_WITH_VALUE = ("--services", "--state-dir", "--config", "--root")
_FLAGS = ("--json",)
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""Where standard output goes, nothing more fits."""
_INTERRUPTED = 130
"""What typer makes of Ctrl-C."""

app = typer.Typer(
    name="caisson",
    help="Updates predefined Docker and Compose services from packages, and rolls back what does not stay healthy.",
    epilog="The options above may also stand behind the command. Exit codes: 0 done or nothing to do, 1 error, "
    "2 refused, 3 cancelled, 4 failed or rolled back, 5 rollback failed, 6 has to wait, 64 wrong usage.",
    no_args_is_help=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(services.app, name="service")
building.add_commands(packages.app)
app.add_typer(packages.app, name="package")
app.add_typer(history.app, name="history")
app.add_typer(trust.app, name="trust")
app.add_typer(quarantine.app, name="quarantine")
app.command("plan")(plan.plan)
app.command("approve")(approve.approve)
app.command("rollback")(rollback.rollback)
app.command("compose")(compose.compose)
app.command("status")(status.status)
app.command("inventory")(inventory.inventory)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"caisson {__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    root: Annotated[Path, typer.Option(help="Put all paths below this folder.")] = Path("/"),
    services: Annotated[
        Path | None, typer.Option(help="The catalog; default ROOT/etc/caisson/services.toml.")
    ] = None,
    state_dir: Annotated[Path | None, typer.Option(help="The state; default ROOT/var/lib/caisson.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="The settings; default ROOT/etc/caisson/caissond.toml.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Answer in JSON, for scripts.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    paths = Paths.below(root, config=config, services=services, state_dir=state_dir)
    context.obj = Session(paths, as_json=json)


def hoist(arguments: Sequence[str]) -> list[str]:
    """The arguments with the global options in front, wherever they stood; nothing behind `--` is touched."""
    front: list[str] = []
    rest: list[str] = []
    todo = list(arguments)
    while todo:
        argument = todo.pop(0)
        name = argument.partition("=")[0]
        if argument == "--":
            return [*front, *rest, argument, *todo]
        if argument in _FLAGS or (name in _WITH_VALUE and "=" in argument):
            front.append(argument)
        elif name in _WITH_VALUE:
            front += [argument, *todo[:1]]
            todo = todo[1:]
        else:
            rest.append(argument)
    return [*front, *rest]


def run(arguments: Sequence[str]) -> int:
    """Run one command; its exit code. Nothing is raised for what a user can cause."""
    if not arguments:
        app(["--help"], prog_name="caisson", standalone_mode=False)
        return ExitCode.USAGE
    try:
        answer = app(hoist(arguments), prog_name="caisson", standalone_mode=False)
        if isinstance(answer, compose.TheirCode):
            return int(answer)
        code = int(answer or 0)
        if code == _INTERRUPTED:
            raise typer.Abort
        return code
    except TyperException as exc:
        Session(Paths.below()).complain(CaissonError(printable(exc.format_message()), code="usage.wrong"))
        return ExitCode.USAGE
    except (typer.Abort, KeyboardInterrupt):
        typer.echo("Cancelled.", err=True)
        return ExitCode.CANCELLED
    except CaissonError as exc:
        Session(Paths.below()).complain(exc)
        return ExitCode.ERROR
    except BrokenPipeError:
        return ExitCode.ERROR
    except OSError as exc:
        if exc.errno not in _NO_ROOM:
            raise
        Session(Paths.below()).complain(
            CaissonError(f"cannot write the answer: {exc.strerror}", code="usage.cannot_write")
        )
        return ExitCode.ERROR
