"""Where a fault can strike: requests to Docker, commits to the database, changes of files; each with its name.

A name says what happens and not to which id, so that it is the same in every run: `docker POST containers/new/start`,
`commit UPDATE running`, `file os.mkdir work/*`. With its number among those of the same name it is a point.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

STRUCK = "STRUCK "
"""Stands in a log of events before the one at which the fault struck."""
_READS = ("docker GET", "docker HEAD")
_POINT = re.compile(r"^(?P<moment>\w+) (?P<name>.+) #(?P<number>\d+)$")
_QUERY = re.compile(r"\?.*$")
_VERSION = re.compile(r"^/v1\.\d+/")
_ID = re.compile(r"[0-9a-f]{64}")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_RECEIPT = re.compile(r"receipts/\.?\d{8}T\d{6}Z-[^./]+")
_PRIVATE = re.compile(r"caisson\.invalid/(ingest|keep):[0-9a-f]{8}-[0-9a-f-]{36}")
_NAMES = (
    (re.compile(r"[\w.-]+-caisson-new-[0-9a-f]{8}"), "new"),
    (re.compile(r"[\w.-]+-caisson-old-[0-9a-f]{8}"), "parked"),
)


class Moment(StrEnum):
    """When, around a request. Commits and changes of files know only `before`: what is after one is before the next."""

    BEFORE = "before"
    """Docker has not heard of it."""
    MIDWAY = "midway"
    """Docker has the beginning of what is uploaded."""
    DURING = "during"
    """Docker has all of it, and nobody waits for the answer."""
    UNANSWERED = "unanswered"
    """Docker has done it, and its answer is lost."""
    AFTER = "after"
    """The answer has just come."""


@dataclass(frozen=True, slots=True)
class Point:
    """One moment at one event of a run."""

    moment: Moment
    name: str
    number: int

    def __str__(self) -> str:
        return f"{self.moment} {self.name} #{self.number}"

    @property
    def is_read(self) -> bool:
        """At a request that changes nothing: the state is that of the point before it."""
        return self.name.startswith(_READS)

    @classmethod
    def parse(cls, text: str) -> "Point":
        """
        Raises:
            ValueError: it is none.
        """
        match = _POINT.match(text)
        if match is None:
            raise ValueError(f"cannot read {text!r} as a point")
        return cls(Moment(match["moment"]), match["name"], int(match["number"]))


def name_request(method: str, path: str, known: dict[str, str]) -> str:
    """What a request is called.

    Args:
        known: words for ids that are known beforehand.
    """
    path = _QUERY.sub("", _VERSION.sub("", path)).lstrip("/")
    for text, word in known.items():
        path = path.replace(text, word)
    path = _PRIVATE.sub(r"\1", path)
    for pattern, word in _NAMES:
        path = pattern.sub(word, path)
    return f"docker {method} {_ID.sub('*', path)}"


def name_file(event: str, path: str) -> str:
    """What a change of a file is called; the path is relative to the state folder."""
    return f"file {event} {_RECEIPT.sub('receipts/*', _UUID.sub('*', path))}"


def name_commit(statement: str) -> str:
    """What a commit is called, after the last statement that changed something."""
    words = statement.replace("(", " ").split()
    table = words[1:2] if words[:1] in (["UPDATE"], ["CREATE"]) else words[-1:]
    if words[:1] == ["INSERT"] and "INTO" in words:
        table = words[words.index("INTO") + 1 :][:1]
    elif words[:1] == ["DELETE"]:
        table = words[2:3]
    return " ".join(["commit", *words[:1], *table])


def number_events(names: Iterable[str]) -> list[tuple[str, int]]:
    """Each event of a log with its number among those of the same name."""
    counts: Counter[str] = Counter()
    numbered = []
    for name in names:
        name = name.removeprefix(STRUCK)
        counts[name] += 1
        numbered.append((name, counts[name]))
    return numbered


def points_of(names: Iterable[str]) -> list[Point]:
    """Every point of a run, in the order of its events."""
    return [
        Point(moment, name, number) for name, number in number_events(names) for moment in moments_of(name)
    ]


def moments_of(name: str) -> tuple[Moment, ...]:
    """The moments at which an event of this name can be struck."""
    if not name.startswith("docker") or name.startswith(_READS):
        return (Moment.BEFORE,)
    others = (Moment.BEFORE, Moment.DURING, Moment.UNANSWERED, Moment.AFTER)
    return (*others, Moment.MIDWAY) if name.endswith("images/load") else others
