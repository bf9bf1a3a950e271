"""Text that came from outside, made fit to be shown: a package's words never move a cursor or hide a line."""

import unicodedata

_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def printable(text: str, *, limit: int = 300) -> str:
    """The text with control, format, bidi and unassigned characters replaced by `?`, cut to `limit` characters."""
    shown = "".join("?" if unicodedata.category(char) in _HIDDEN else char for char in text[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def has_hidden(text: str) -> bool:
    """Whether the text holds a character that `printable` would replace."""
    return any(unicodedata.category(char) in _HIDDEN for char in text)
