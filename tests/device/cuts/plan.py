"""Which update is cut, when, and how the power comes back: trial N of a seed, decided before it runs."""

import random
from dataclasses import dataclass
from enum import StrEnum

_GOLDEN = 0.6180339887498949
_PAST_THE_END = 1.08
"""Some cuts come when the update is over: what it wrote last may not be lost either."""


class Way(StrEnum):
    """How the package comes."""

    STICK = "stick"
    INBOX = "inbox"


class Return(StrEnum):
    """What is there when the power comes back."""

    STICK_LATER = "stick later"
    STICK_IN = "stick in"
    NO_CAISSON = "no caissond"
    """A first boot without caissond: Docker alone has to bring a release back (promise 2)."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One power cut."""

    seed: int
    number: int
    way: Way
    good: bool
    back: Return
    fraction: float
    """Of the time that an uncut update takes."""


def plan_trial(seed: int, number: int) -> Trial:
    """The instants of numbers in a row are spread evenly over the update."""
    chance = random.Random(f"{seed}/{number}")
    start = random.Random(seed).random()
    spread = (start + number * _GOLDEN + chance.uniform(-0.01, 0.01)) % 1
    return Trial(
        seed=seed,
        number=number,
        way=Way.INBOX if chance.random() < 0.25 else Way.STICK,
        good=chance.random() < 0.65,
        back=_return(number, chance),
        fraction=spread * _PAST_THE_END,
    )


def _return(number: int, chance: random.Random) -> Return:
    if number % 5 == 0:
        return Return.NO_CAISSON
    return chance.choice((Return.STICK_LATER, Return.STICK_IN))
