"""Pattern-lists as ssh_config(5) has them, and whether two of them have a name in common. Pure."""

from itertools import accumulate
from operator import or_

_MAX_PATTERN_BYTES = 1022
"""OpenSSH's match.c: nothing matches a list with a longer pattern in it."""
_ANY, _ONE = b"*?"


def matches(name: str, patterns: str) -> bool:
    """Whether the name is in a pattern-list (ssh_config(5), PATTERNS): `*`, `?`, `!`, commas."""
    found = False
    for part in patterns.split(","):
        pattern = part.removeprefix("!").encode()
        if len(pattern) > _MAX_PATTERN_BYTES:
            return False
        if _matches_one(name.encode(), pattern):
            if part.startswith("!"):
                return False
            found = True
    return found


def names_in(patterns: str) -> tuple[str, ...]:
    """The parts of a pattern-list that say yes to something."""
    return tuple(part for part in patterns.split(",") if part and not part.startswith("!"))


def is_allowed(principals: str, patterns: tuple[str, ...]) -> bool:
    """Whether a signer with these principals is one of those the patterns allow.

    Nobody says under which name a package was signed, as `-I` says it to ssh-keygen. So it is enough that there is a
    name which both lists match: tried are all that stand in either of them (a wildcard is matched by a wildcard).
    """
    allowed = ",".join(patterns)
    names = (*names_in(allowed), *names_in(principals))
    return any(matches(name, principals) and matches(name, allowed) for name in names)


def _matches_one(name: bytes, pattern: bytes) -> bool:
    """OpenSSH's match_pattern, byte for byte, without its exponential time: reached[i] says that the pattern so far
    matches the first i bytes of the name.
    """
    reached = [True] + [False] * len(name)
    for byte in pattern:
        if byte == _ANY:
            reached = list(accumulate(reached, or_))
        else:
            reached = [False, *(reached[i] and byte in (_ONE, name[i]) for i in range(len(name)))]
    return reached[-1]
