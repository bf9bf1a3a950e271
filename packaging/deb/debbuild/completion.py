"""The completion for bash: the tables from the command tree, in front of the code of caisson.bash-completion."""

import re

from debbuild.command_tree import Command

MARK = "# tables: debbuild/completion.py\n"
_PLAIN = re.compile(r"[A-Za-z0-9 ._-]*")


def completion(template: str, command: Command) -> str:
    """
    Args:
        template: the code, with a line where the tables go.

    Raises:
        ValueError: there is no such line, or bash would expand one of the words.
    """
    if MARK not in template:
        raise ValueError(f"expected the line {MARK!r} in the completion")
    return template.replace(MARK, _tables(command))


def _tables(command: Command) -> str:
    every = list(command.walk())
    words = {_key(one): " ".join(below.path[-1] for below in one.commands) for one in every}
    options = {_key(one): " ".join(_option_names(one)) for one in every}
    arguments = {_key(one): " ".join(argument.kind or "text" for argument in one.arguments) for one in every}
    values = {
        f"{_key(one)} {name}": option.kind or "text"
        for one in every
        for option in one.options
        if option.value
        for name in option.names
    }
    tables = {"commands": words, "options": options, "arguments": arguments, "values": values}
    return "".join(_table(name, rows) for name, rows in tables.items())


def _key(command: Command) -> str:
    return " ".join(command.path)


def _option_names(command: Command) -> list[str]:
    return [*(name for option in command.options for name in option.names), "--help"]


def _table(name: str, rows: dict[str, str]) -> str:
    for text in (*rows.keys(), *rows.values()):
        if not _PLAIN.fullmatch(text):  # twice: where it is sourced, and in compgen -W
            raise ValueError(f"cannot complete {text!r}: bash would expand it")
    body = "".join(f'    ["{key}"]="{value}"\n' for key, value in rows.items() if value)
    return f"declare -gA _caisson_{name}=(\n{body})\n"
