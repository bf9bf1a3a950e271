"""On the way back, one trouble does not keep others from going back."""

import pytest

from caissond.errors import DockerError
from caissond.update.step_tools import whatever_comes


def test_all_is_done_whatever_comes_and_the_first_trouble_is_told() -> None:
    done: list[str] = []

    def fail(exc: Exception) -> None:
        done.append(type(exc).__name__)
        raise exc

    trouble = (DockerError("cannot stop it", code="docker.error"), KeyError("a mistake of ours"))
    with pytest.raises(DockerError, match="cannot stop it"):
        whatever_comes([*(lambda exc=exc: fail(exc) for exc in trouble), lambda: done.append("last")])
    assert done == ["DockerError", "KeyError", "last"]


def test_nothing_is_raised_where_nothing_went_wrong() -> None:
    whatever_comes([])
