"""Text from outside never moves a cursor or hides a line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caissond.model.text import has_hidden, printable


@pytest.mark.parametrize(
    "hidden",
    [
        "\n",
        "\r",
        "\t",
        "\x00",
        "\x1b",
        "\x7f",
        "\x9b",
        "\u202e",
        "\u2066",
        "\u200b",
        "\ufeff",
        "\u2028",
        "\udc80",
    ],
)
def test_what_cannot_be_seen_becomes_a_question_mark(hidden: str) -> None:
    assert printable(f"a{hidden}b") == "a?b"
    assert has_hidden(f"a{hidden}b")


def test_words_of_any_language_stay_as_they_are() -> None:
    text = "Gerät – прибор 装置 1.2.3"
    assert printable(text) == text
    assert not has_hidden(text)


def test_long_text_is_cut_and_says_so() -> None:
    assert printable("a" * 10, limit=10) == "a" * 10
    assert printable("a" * 11, limit=10) == "a" * 9 + "…"


@given(st.text(), st.integers(min_value=1, max_value=50))
def test_any_text_comes_out_short_and_visible(text: str, limit: int) -> None:
    shown = printable(text, limit=limit)
    assert len(shown) <= limit
    assert not has_hidden(shown)
    shown.encode()
