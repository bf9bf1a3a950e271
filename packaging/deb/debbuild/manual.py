"""The man pages: each from `packaging/man/NAME.SECTION.md`, with what other places say put in where a line asks for it.

`{{README: TITLE}}` is the section of the README with a title that begins so; `{{caisson}}` all commands and options;
`{{caissond --help}}` what the daemon says of its own.
"""

import io
import re
from contextlib import redirect_stdout, suppress
from datetime import datetime
from pathlib import Path

from caissond import __version__, daemon
from debbuild.command_tree import Command, Parameter, caisson_command
from debbuild.completion import completion
from debbuild.roff import escape, from_markdown, inline
from debbuild.tree import DOCUMENTS, put_gzip

_INCLUDE = re.compile(r"^\{\{(?P<what>[^}]+)\}\}\n", re.MULTILINE)


def write_manual(repository: Path, root: Path, date: datetime) -> None:
    """All man pages, and the completion, which is made from the same commands."""
    readme = (repository / "README.md").read_text(encoding="utf-8")
    for source in sorted((repository / "packaging/man").glob("*.md")):
        name = source.name.removesuffix(".md")
        page = manual_page(source, readme, __version__, date)
        put_gzip(page.encode(), root / f"usr/share/man/man{name[-1]}/{name}.gz")
    template = (repository / "packaging/caisson.bash-completion").read_text(encoding="utf-8")
    target = root / "usr/share/bash-completion/completions/caisson"
    target.parent.mkdir(parents=True)
    target.write_text(completion(template, caisson_command()[0]), encoding="utf-8")


def manual_page(source: Path, readme: str, version: str, date: datetime) -> str:
    """A page in roff.

    Raises:
        ValueError: it asks for what is not there.
    """
    name, section = source.name.removesuffix(".md").rsplit(".", 1)
    title = f'.TH {name.upper()} {section} {date:%Y-%m-%d} "Caisson {version}" "Caisson"\n'
    parts = _INCLUDE.split(source.read_text(encoding="utf-8"))
    pairs = zip(parts[::2], [*parts[1::2], ""], strict=True)
    body = "".join(from_markdown(text) + (included(what, readme) if what else "") for text, what in pairs)
    return f"{title}.nh\n.ad l\n{body}"


def included(what: str, readme: str) -> str:
    """
    Raises:
        ValueError: nothing is known by that name.
    """
    kind, _, title = what.partition(": ")
    match kind:
        case "README":
            return from_markdown(readme_section(readme, title))
        case "caisson":
            command, epilogue = caisson_command()
            return (
                _options(command)
                + "".join(_command(one) for one in command.walk())
                + f".PP\n{inline(epilogue)}\n"
            )
        case "caissond --help":
            return from_markdown(f"```\n{_daemon_help()}```\n")
    raise ValueError(f"cannot include {what!r} in a man page")


def readme_section(readme: str, title: str) -> str:
    """What stands below a heading of the second level, with the paths of a device.

    Raises:
        ValueError: there is none of that title.
    """
    sections = readme.split("\n## ")[1:]
    found = [section.partition("\n")[2] for section in sections if section.startswith(title)]
    if len(found) != 1:
        raise ValueError(f"expected one section of the README with the title {title!r}, found {len(found)}")
    return found[0].replace("packaging/examples/", f"/{DOCUMENTS}/examples/")


def _daemon_help() -> str:
    said = io.StringIO()
    with redirect_stdout(said), suppress(SystemExit):
        daemon.parse_paths(["--help"])
    return said.getvalue()


def _options(command: Command) -> str:
    return ".SH OPTIONS\n" + "".join(_parameter(option) for option in command.options) + ".SH COMMANDS\n"


def _command(command: Command) -> str:
    """Those that do something by themselves; groups are told by what they hold."""
    if command.commands:
        return ""
    arguments = " ".join(_usage(one) for one in command.arguments)
    head = rf"\fB{escape(' '.join(command.path))}\fR {escape(arguments)}".rstrip()
    text = f".SS {head}\n{inline(command.text)}\n"
    return text + "".join(_parameter(one) for one in command.parameters if one.is_option or one.text)


def _usage(argument: Parameter) -> str:
    return argument.names[0] if argument.is_required else f"[{argument.names[0]}]"


def _parameter(parameter: Parameter) -> str:
    names = ", ".join(rf"\fB{escape(name)}\fR" for name in parameter.names)
    value = rf" \fI{escape(parameter.value)}\fR" if parameter.value else ""
    return f".TP\n{names}{value}\n{inline(parameter.text)}\n"
