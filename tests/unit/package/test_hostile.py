"""Every hostile package is refused with its own code, in little memory, and with a sentence fit to be shown."""

import io
import tracemalloc

import pytest

from caissond.errors import CaissonError
from caissond.model.events import EVENTS
from caissond.model.text import has_hidden
from caissond.package.archive import Profile, Window, read_members
from caissond.package.image import read_image, verify_layers
from fixtures.hostile import LIMIT_BYTES, hostile_packages
from fixtures.raw_package import package

MOST_MEMORY_BYTES = 16 << 20


def read_all(content: bytes) -> None:
    """What is done to a package before Docker hears of it, as far as its bytes go."""
    source = io.BytesIO(content)
    members = {
        member.name: member for member in read_members(source, Window(0, len(content)), Profile.PACKAGE)
    }
    image = read_image(source, members["image.tar"].window)
    verify_layers(source, image, limit_bytes=LIMIT_BYTES, progress=lambda _: None)


def refusal_of(fault: str) -> CaissonError:
    with pytest.raises(CaissonError) as caught:
        read_all(hostile_packages()[fault][0])
    return caught.value


def test_package_without_a_fault_is_accepted() -> None:
    read_all(package())


@pytest.mark.parametrize("fault", hostile_packages())
def test_hostile_package_is_refused_with_its_code(fault: str) -> None:
    assert refusal_of(fault).code == hostile_packages()[fault][1]


@pytest.mark.parametrize("fault", hostile_packages())
def test_refusal_is_in_the_table_and_can_be_shown(fault: str) -> None:
    refusal = refusal_of(fault)
    assert refusal.code in EVENTS
    assert refusal.message.startswith("cannot ")
    assert len(refusal.message) < 600
    assert not has_hidden(refusal.message)


@pytest.mark.parametrize("fault", hostile_packages())
def test_hostile_package_costs_little_memory(fault: str) -> None:
    content = hostile_packages()[fault][0]
    tracemalloc.start()
    try:
        with pytest.raises(CaissonError):
            read_all(content)
        assert tracemalloc.get_traced_memory()[1] - len(content) < MOST_MEMORY_BYTES
    finally:
        tracemalloc.stop()
