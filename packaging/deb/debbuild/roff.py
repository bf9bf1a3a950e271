"""Markdown, as far as the README goes, into the roff of man(7): headings, paragraphs, lists, tables, code, emphasis."""

import re
from collections.abc import Iterator

_SPANS = re.compile(r"`(?P<code>[^`]+)`|\*\*(?P<strong>[^*]+)\*\*|\*(?P<soft>[^*\s][^*]*)\*")
_RULE = re.compile(r"^\|(-+\|)+$")
_ESCAPES = {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti", '"': r"\(dq"}


def escape(text: str) -> str:
    """The text itself, whatever characters of roff are in it (groff_char(7))."""
    return "".join(_ESCAPES.get(character, character) for character in text)


def inline(text: str) -> str:
    """A paragraph's text, on one line: what is to be typed is bold, what stands out is italic."""
    parts, end = [], 0
    for span in _SPANS.finditer(text):
        parts += [escape(text[end : span.start()]), _font(span)]
        end = span.end()
    return guard("".join([*parts, escape(text[end:])]))


def _font(span: re.Match[str]) -> str:
    if span["code"] or span["strong"]:
        return rf"\fB{escape(span['code'] or span['strong'])}\fR"
    return rf"\fI{escape(span['soft'])}\fR"


def guard(line: str) -> str:
    """A line that begins like a request is none."""
    return rf"\&{line}" if line.startswith((".", "'")) else line


def _blocks(markdown: str) -> Iterator[list[str]]:
    """Lines that belong together: a fenced piece of code with its fences, a table, a paragraph, one item of a list."""
    block: list[str] = []
    is_code = False
    for line in markdown.splitlines():
        fence = line.startswith("```")
        is_mark = not line.strip() or line.startswith("<!--")
        if not is_code and (is_mark or fence or line.startswith(("* ", "#"))):
            if block:
                yield block
            block = []
        if is_code or not is_mark:
            block.append(line)
        if is_code and fence:
            yield block
            block = []
        is_code ^= fence
    if block:
        yield block


def from_markdown(markdown: str) -> str:
    """Everything below the page's title."""
    return "".join(_block(block) for block in _blocks(markdown))


def _block(lines: list[str]) -> str:
    first = lines[0]
    if first.startswith("```"):
        return _code(lines[1:-1])
    if first.startswith("#"):
        marks, _, title = first.partition(" ")
        return f".{'SS' if len(marks) > 1 else 'SH'} {inline(title)}\n"
    if first.startswith("|"):
        return _table(lines)
    text = inline(" ".join(line.strip() for line in lines))
    if first.startswith("* "):
        return f".IP \\(bu 2\n{inline(' '.join(line.strip() for line in lines)[2:])}\n"
    return f".PP\n{text}\n"


def _code(lines: list[str]) -> str:
    body = "".join(guard(escape(line)) + "\n" for line in lines)
    return f".PP\n.RS 4\n.nf\n{body}.fi\n.RE\n"


def _table(lines: list[str]) -> str:
    """Rows as a list of terms: a terminal is too narrow for columns of sentences."""
    head, rows = (
        _cells(lines[0]),
        [_cells(line) for line in lines[1:] if not _RULE.match(line.replace(" ", ""))],
    )
    return "".join(_row(head, row) for row in rows)


def _cells(line: str) -> list[str]:
    parts = line.replace("\\|", "\0").strip().strip("|").split("|")
    return [part.replace("\0", "|").strip() for part in parts]


def _row(head: list[str], row: list[str]) -> str:
    """The first column is the term, the last the explanation; what is between is said after it, with its title."""
    cells = [
        (title, cell) for title, cell in zip(head[1:-1], row[1:-1], strict=True) if cell not in ("", "–")
    ]
    between = [cell if cell == "required" else f"{title}: {cell}" for title, cell in cells]
    last = row[-1] if row[-1].endswith((".", "!", "?")) else f"{row[-1]}."
    said = f"{last} ({'; '.join(between)})" if between else last
    return f".TP\n{inline(row[0])}\n{inline(said)}\n"
