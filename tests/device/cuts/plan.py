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

    NOTHING = "nothing"
    """No stick. A package in the inbox is there all the same."""
    STICK_LATER = "stick later"
    """Once the device has settled."""
    STICK_IN = "stick in"
    NO_CAISSON = "no caissond"
    """A first boot without caissond: Docker alone has to bring a release back (promise 2)."""


_OFTEN = {Return.NOTHING: 5, Return.STICK_LATER: 2, Return.STICK_IN: 3}
"""The boot is what a power cut is about; a turn of the package makes it half as long again."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One power cut."""

    seed: int
    number: int
    way: Way
    good: bool
    back: Return
    from_gate: bool
    """Whether the time is counted from the moment that the new release runs: what comes then is short, and has the
    commit in it.
    """
    fraction: float
    """Of the time that an uncut update takes, from its beginning or from the gate on."""


def plan_trial(seed: int, number: int) -> Trial:
    """The instants of numbers in a row are spread evenly over the update."""
    chance = random.Random(f"{seed}/{number}")
    start = random.Random(seed).random()
    spread = (start + number * _GOLDEN + chance.uniform(-0.01, 0.01)) % 1
    way = Way.INBOX if chance.random() < 0.15 else Way.STICK
    return Trial(
        seed=seed,
        number=number,
        way=way,
        good=chance.random() < 0.65,
        back=_return(number, way, chance),
        from_gate=number % 4 == 3,
        fraction=spread * _PAST_THE_END,
    )


def _return(number: int, way: Way, chance: random.Random) -> Return:
    if number % 5 == 0:
        return Return.NO_CAISSON
    if way is Way.INBOX:
        return Return.NOTHING
    return chance.choices(tuple(_OFTEN), tuple(_OFTEN.values()))[0]
