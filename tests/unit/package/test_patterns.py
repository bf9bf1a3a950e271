"""Pattern-lists: what ssh_config(5) says of them, and who is allowed when two of them have to agree."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caissond.package.patterns import is_allowed, matches


@pytest.mark.parametrize(
    ("name", "patterns", "expected"),
    [
        ("alice@x", "alice@x", True), ("alice@x", "bob@x,alice@x", True), ("alice@x", "*@x", True),
        ("alice@x", "alic?@x", True), ("alice@x", "alice", False), ("alice@x", "ALICE@x", False),
        ("alice@x", "*@x,!alice@x", False), ("alice@x", "!alice@x,*", False), ("bob@x", "!alice@x,*", True),
        ("bob@x", "!alice@x", False), ("alice@x", "*", True), ("", "*", True), ("", "", True), ("a", "", False),
        ("é", "?", False), ("é", "??", True), ("a", "a" * 1100 + ",a", False),
        ("a" * 200 + "b", "*a" * 100 + "c", False),
    ],
)  # fmt: skip
def test_patterns_are_those_of_ssh_config(name: str, patterns: str, expected: bool) -> None:
    assert matches(name, patterns) is expected


@pytest.mark.parametrize(
    ("principals", "patterns", "expected"),
    [
        ("alice@x", ("alice@x",), True), ("alice@x", ("*@x",), True), ("alice@x", ("bob@x", "alice@x"), True),
        ("alice@x", ("bob@x",), False), ("alice@y,alice@x", ("*@x",), True), ("*@x", ("alice@x",), True),
        ("*@x", ("*@x",), True), ("*@x", ("*",), True), ("*", ("alice@x",), True), ("*@x", ("*@y",), False),
        ("*@x,!alice@x", ("alice@x",), False), ("alice@x", ("*@x", "!alice@x"), False),
        ("bob@x", ("*@x", "!alice@x"), True), ("alice@x", ("!bob@x",), False), ("*", ("!bob@x",), False),
    ],
)  # fmt: skip
def test_signer_is_allowed_when_some_name_fits_both_lists(
    principals: str, patterns: tuple[str, ...], expected: bool
) -> None:
    assert is_allowed(principals, patterns) is expected


@given(st.text(alphabet="ab*?!,", max_size=12), st.text(alphabet="ab", max_size=6))
def test_pattern_that_matches_nothing_lets_nobody_in(patterns: str, name: str) -> None:
    """A list of negations only, or of nothing, is no yes."""
    if not any(part and not part.startswith("!") for part in patterns.split(",")) and name:
        assert not matches(name, patterns)
