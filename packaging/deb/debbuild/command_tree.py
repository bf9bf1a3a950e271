"""The command `caisson` as data, read from the typer application: its man page and its completion are made from it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.main import get_command

from caissond.cli.app import app

_NOT_TOLD = {"install_completion", "show_completion", "help"}
"""The package has a completion of its own."""
_FOLDERS = {"root", "state_dir"}
_PACKAGES = {"package", "old"}
_SERVICES = {"service", "optional"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """An option or an argument."""

    names: tuple[str, ...]
    """As they are typed; an argument has the one that usage shows."""
    value: str
    """What stands for its value in usage; empty where it has none."""
    text: str
    kind: str
    """What completes it: package, file, folder, service, or nothing."""
    is_option: bool
    is_required: bool


@dataclass(frozen=True, slots=True)
class Command:
    path: tuple[str, ...]
    """The words before its parameters, `caisson` first."""
    text: str
    parameters: tuple[Parameter, ...]
    commands: tuple["Command", ...]

    @property
    def options(self) -> tuple[Parameter, ...]:
        return tuple(one for one in self.parameters if one.is_option)

    @property
    def arguments(self) -> tuple[Parameter, ...]:
        return tuple(one for one in self.parameters if not one.is_option)

    def walk(self) -> Iterator["Command"]:
        yield self
        for command in self.commands:
            yield from command.walk()


def caisson_command() -> tuple[Command, str]:
    """The whole command, and its epilogue."""
    command: Any = get_command(app)
    return _command(command, "caisson", None, ()), command.epilog


def _command(command: Any, name: str, parent: Any, above: tuple[str, ...]) -> Command:
    """typer's own classes are private to it, so nothing can be said of their types; they end here."""
    context = command.context_class(command, info_name=name, parent=parent)
    path = (*above, name)
    told = [one for one in command.get_params(context) if one.name not in _NOT_TOLD]
    below = getattr(command, "commands", {}).items()
    return Command(
        path=path,
        text=" ".join((command.help or "").split()),
        parameters=tuple(_parameter(one, context) for one in told),
        commands=tuple(_command(one, word, context, path) for word, one in below if not one.hidden),
    )


def _parameter(parameter: Any, context: Any) -> Parameter:
    shown, text = parameter.get_help_record(context)
    is_option = parameter.param_type_name == "option"
    value = shown.rpartition(" ")[2] if is_option and not parameter.is_flag else ""
    return Parameter(
        names=tuple(sorted(parameter.opts, key=len)) if is_option else (parameter.name.upper(),),
        value=value.strip("<>").upper().replace(" ", "-"),
        text=" ".join(text.replace("[required]", "").split()),
        kind=_kind(parameter) if value or not is_option else "",
        is_option=is_option,
        is_required=parameter.required,
    )


def _kind(parameter: Any) -> str:
    if parameter.name in _SERVICES:
        return "service"
    if parameter.name in _PACKAGES:
        return "package"
    if parameter.name in _FOLDERS:
        return "folder"
    return "file" if parameter.type_descriptor.annotation in (Path, list[Path]) else ""
