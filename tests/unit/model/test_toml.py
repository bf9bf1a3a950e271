"""TOML from outside is bounded in depth and time, and its mistakes are found by line."""

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caissond.model.toml import MAX_KEY_PARTS, MAX_NESTING, dotted, line_of, parse_toml

WHOLE = 64 * 1024

BOMBS = {
    "bare dotted key": ".".join("a" * (WHOLE // 2)),
    "table of a dotted name": f"[{'.'.join('a' * (WHOLE // 2))}]",
    "spaced dotted key": " . ".join("a" * (WHOLE // 4)),
    "quoted dotted key": ".".join(['"a"'] * (WHOLE // 4)),
    "dotted key of escaped quotes": ".".join(['"\\""'] * (WHOLE // 5)) + "=1",
    "dotted key of literal strings": ".".join(["'a'"] * (WHOLE // 4)),
    "dotted key in an inline table": f"a={{{'.'.join('b' * (WHOLE // 2))}=1}}",
    "one endless bare key": "a" * WHOLE,
    "one endless word in a value": f'a = "{"b" * WHOLE}',
    "nothing but quotes": '"' * WHOLE,
    "nothing but escaped quotes": '"\\' * (WHOLE // 2),
    "nothing but mixed quotes": "\"'" * (WHOLE // 2),
    "a key and blanks": "a" + " " * WHOLE,
    "nested arrays": "a=" + "[" * WHOLE,
    "nested arrays that hide behind brackets in strings": "a=" + '["]",' * (WHOLE // 5),
    "nested inline tables": "a=" + "{a=" * (WHOLE // 3),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bomb_is_refused_at_once(name: str) -> None:
    began = time.process_time()
    with pytest.raises(ValueError, match=r".") as refused:
        parse_toml(BOMBS[name])
    assert time.process_time() - began < 0.5
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a = 1\nb = \nc = 3\n", 2),
        ("\n\nx = " + "[" * (MAX_NESTING + 1), 3),
        ("\n" + "k." * MAX_KEY_PARTS + "k = 1", 2),
    ],
    ids=["value missing", "nested", "dotted"],
)
def test_mistake_names_its_line(text: str, line: int) -> None:
    with pytest.raises(ValueError, match=rf"at line {line}\b"):
        parse_toml(text)


def test_nesting_and_keys_up_to_the_bounds_are_read() -> None:
    nested = "a = " + "[" * MAX_NESTING + "]" * MAX_NESTING
    key = ".".join(["k"] * MAX_KEY_PARTS)
    assert parse_toml(nested).keys() == {"a"}
    assert parse_toml(f"{key} = 1").keys() == {"k"}


def test_same_brackets_side_by_side_are_no_nesting() -> None:
    assert parse_toml("a = [" + "[1]," * 1000 + "]")["a"] == [[1]] * 1000


def test_dotted_path_reads_as_a_person_writes_it() -> None:
    assert dotted(("services", 0, "docker", "container_name")) == "services[0].docker.container_name"
    assert dotted(()) == ""


TWO_SERVICES = """\
version = 1
[[services]]
name = "a"
[services.docker]
image = "a:1"

[[services]]
name = "b"
  [services.docker]
  image = "b:1"
"""


@pytest.mark.parametrize(
    ("where", "line"),
    [
        (("version",), 1),
        (("services", 0, "name"), 3),
        (("services", 1, "name"), 8),
        (("services", 1, "docker", "image"), 10),
        (("services", 1, "docker", "missing"), 9),
        (("services", 1, "missing"), 7),
        (("services", 0, "docker"), 4),
        (("elsewhere",), None),
        ((), None),
    ],
)
def test_line_is_that_of_the_key_or_of_its_table(where: tuple[str | int, ...], line: int | None) -> None:
    assert line_of(TWO_SERVICES, where) == line


def test_line_of_a_quoted_key_in_a_plain_table_is_found() -> None:
    assert line_of('[trust]\n"allow_unsigned" = 1\n', ("trust", "allow_unsigned")) == 2


@given(st.text())
def test_any_text_is_parsed_or_raises_value_error(text: str) -> None:
    with suppress(ValueError):
        assert isinstance(parse_toml(text), dict)
