"""TOML from outside: parsed with a bound on nesting and dotted keys, and errors that name the line.

`tomllib` raises RecursionError on 5,000 nested arrays and takes seconds for a 40 KB dotted key (docs/architecture.md),
so both are looked for before it sees the text.
"""

import re
import tomllib

from pydantic import ValidationError

MAX_NESTING = 32
MAX_KEY_PARTS = 16
MAX_MESSAGE = 160

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,60}")
# Possessive, and begun only where TOML can begin a key: the search is linear in the text, whatever it holds.
_KEY_PART = r"""(?:[A-Za-z0-9_-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')"""
_LONG_KEY = re.compile(rf"(?<![^\s\[{{,]){_KEY_PART}(?:[ \t]*+\.[ \t]*+{_KEY_PART}){{{MAX_KEY_PARTS}}}")


def parse_toml(text: str) -> dict[str, object]:
    """Parse untrusted TOML.

    Args:
        text: at most 64 KiB or so; the caller bounds it.

    Raises:
        ValueError: one line that says what is wrong, with the line number where there is one.
    """
    _check_nesting(text)
    if match := _LONG_KEY.search(text):
        line = text.count("\n", 0, match.start()) + 1
        raise ValueError(f"a key has more than {MAX_KEY_PARTS} parts (at line {line})")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ValueError(_clipped(str(exc))) from exc
    except RecursionError as exc:
        raise ValueError("the document is nested too deeply") from exc


def _clipped(message: str) -> str:
    """tomllib shows whole keys; the place stands at the end."""
    return message if len(message) <= MAX_MESSAGE else f"{message[:MAX_MESSAGE]}…{message[-40:]}"


def _check_nesting(text: str) -> None:
    depth = 0
    for position, char in enumerate(text):
        if char in "[{":
            depth += 1
            if depth > MAX_NESTING:
                line = text.count("\n", 0, position) + 1
                raise ValueError(f"brackets are nested more than {MAX_NESTING} deep (at line {line})")
        elif char in "]}":
            depth = max(0, depth - 1)


def first_problem(error: ValidationError) -> tuple[tuple[str | int, ...], str]:
    """Where the first mistake of a validated document is, and a sentence that says what was expected."""
    problem = error.errors(include_url=False)[0]
    where = tuple(problem["loc"])
    text = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "missing":
        return where, "is missing"
    if problem["type"] == "extra_forbidden":
        return where, "is not a known key"
    given = problem["input"]
    shown = "" if isinstance(given, dict) else f", but it is {shorten(given)}"
    return where, f"{text[0].lower()}{text[1:]}{shown}"


def shorten(value: object, limit: int = 80) -> str:
    """A value as a message shows it. An integer of thousands of digits (TOML takes it in hexadecimal) has no repr."""
    try:
        return f"{value!r:.{limit}}"
    except ValueError:
        return "a number far too large"


def dotted(where: tuple[str | int, ...]) -> str:
    """`services[0].docker.container_name`. A key that is no plain word is shown as a string: it may hold anything."""
    text = ""
    for part in where:
        text += f"[{part}]" if isinstance(part, int) else f".{_key(part)}" if text else _key(part)
    return text


def _key(part: str) -> str:
    return part if _PLAIN_KEY.fullmatch(part) else f"{part!r:.60}"


def line_of(text: str, where: tuple[str | int, ...]) -> int | None:
    """The line a key stands in, or else the line of the innermost table that is there. Found by reading the text as
    a person would: exact for the usual one key a line, None where nothing of the path is found.
    """
    names = [part for part in where if isinstance(part, str)]
    wanted = next((part for part in where if isinstance(part, int)), 0)
    best, best_depth, table, seen = None, 0, [""], 0
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[(\[?)\s*([^\]]+?)\s*\]", line):
            table = [part.strip(" \"'") for part in header[2].split(".")]
            seen += bool(header[1])
            found = table
        elif key := re.match(r"""\s*["']?([A-Za-z0-9_-]+)["']?\s*=""", line):
            found = [part for part in table if part] + [key[1]]
        else:
            continue
        applies = names[: len(found)] == found and (
            seen == 0 or len(table) == 0 or seen - 1 == wanted or table == [""]
        )
        if applies and len(found) > best_depth:
            best, best_depth = number, len(found)
    return best
