"""The fuzz targets take their seeds, and find what is wrong; without atheris, which only `./dev fuzz` needs."""

import pytest

from caissond.errors import Refusal
from fixtures.raw_package_2 import package_2
from tests.fuzz.targets import Target, targets, try_target, with_checksums

TARGETS = targets()


@pytest.mark.parametrize("name", TARGETS)
def test_target_takes_its_seeds(name: str) -> None:
    seeds = list(TARGETS[name].seeds())
    assert seeds
    for seed in seeds:
        try_target(TARGETS[name], seed)


@pytest.mark.parametrize("name", TARGETS)
def test_first_seed_of_a_target_is_accepted(name: str) -> None:
    """Else its mutations would all be refused at the door. Of the JSON readers no text can please all."""
    accepted = name != "json"
    try:
        TARGETS[name].read(next(TARGETS[name].seeds()))
    except Refusal:
        accepted = not accepted
    assert accepted


def test_anything_but_a_refusal_is_a_finding() -> None:
    def fail(_content: bytes) -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        try_target(Target(fail, lambda: iter(())), b"")


@pytest.mark.parametrize("message", ["cannot \x1b[2J", "cannot \n", "cannot " + "x" * 1000, "no"])
def test_refusal_that_cannot_be_shown_is_a_finding(message: str) -> None:
    def refuse(_content: bytes) -> None:
        raise Refusal(message, code="archive.truncated")

    with pytest.raises(AssertionError):
        try_target(Target(refuse, lambda: iter(())), b"")


def test_checksums_of_a_good_package_are_right_already() -> None:
    assert with_checksums(package_2()) == package_2()
