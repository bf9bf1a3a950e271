"""A cell of the matrix, and how it went: what stands in the results file and is typed at the command line."""

import json
from dataclasses import dataclass, field

from tests.matrix.points import Point
from tests.matrix.scenarios import SCENARIOS


@dataclass(frozen=True, slots=True)
class Cell:
    """A scenario, where its fault strikes, and where recovery is killed; without points: how often what happens."""

    scenario: str
    first: Point | None = None
    second: Point | None = None

    def __str__(self) -> str:
        points = " then ".join(str(point) for point in (self.first, self.second) if point)
        return f"{self.scenario}: {points or 'nothing'}"

    @classmethod
    def parse(cls, text: str) -> "Cell":
        """
        Raises:
            ValueError: it is none.
        """
        scenario, _, rest = text.partition(": ")
        if scenario not in SCENARIOS:
            raise ValueError(f"cannot find the scenario {scenario!r}")
        points = [Point.parse(point) for point in rest.split(" then ")] if rest not in ("", "nothing") else []
        return cls(scenario, *points)


@dataclass
class Result:
    """How a cell went."""

    cell: str
    struck: bool = True
    """Whether the last fault came to strike at all: how often Docker is asked in the gate differs from run to run."""
    broken: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    """Of the first run."""
    recovery: list[str] = field(default_factory=list)
    """Of the next one, until caissond was ready."""
    recovery_s: float = 0.0
    seconds: float = 0.0
    code: str = ""
    """What the code was that was tried."""

    def to_json(self) -> str:
        return json.dumps(self.__dict__)

    @classmethod
    def from_json(cls, text: str) -> "Result":
        return cls(**json.loads(text))
