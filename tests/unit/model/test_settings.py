"""The settings: all have defaults, and a mistake names its key and line."""

import pytest

from caissond.errors import ConfigError
from caissond.model.settings import Settings, parse_settings


def problem(text: str) -> str:
    with pytest.raises(ConfigError) as refused:
        parse_settings(text, source="caissond.toml")
    assert refused.value.code == "settings.invalid"
    return refused.value.message


def test_empty_file_gives_the_defaults() -> None:
    settings = parse_settings("", source="caissond.toml")
    assert settings == Settings()
    assert settings.trust.allow_unsigned is False
    assert settings.docker.stop_timeout_secs is None


def test_every_written_value_counts() -> None:
    text = (
        "[trust]\nallow_unsigned = true\n[media]\nroots = ['/media/', '/']\n[docker]\nstop_timeout_secs = 0\n"
    )
    settings = parse_settings(text, source="caissond.toml")
    assert settings.trust.allow_unsigned is True
    assert settings.media.roots == ["/media", "/"]
    assert settings.docker.stop_timeout_secs == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[trust]\n\nallow_unsinged = true\n", ", line 3: trust.allow_unsinged is not a known key"),
        ("colour = 1\n", ", line 1: colour is not a known key"),
        ("[trust]\nallow_unsigned=1\n", ", line 2: trust.allow_unsigned input should be a valid boolean, but it is 1"),
        ("[inbox]\nrescan_secs = '9'\n", ", line 2: inbox.rescan_secs input should be a valid integer, but it is '9'"),
        ("[media]\nroots = ['media']\n", ", line 2: media.roots[0] must be an absolute path, but it is 'media'"),
        ("[leds]\nmedia = '../x'\n", ", line 2: leds.media must be a name in /sys/class/leds, but it is '../x'"),
        ("[leds]\nmedia = ''\n", ", line 2: leds.media string should have at least 1 character, but it is ''"),
        ("[leds]\nmedia = 'x'\nfault = 'x'\n", ", line 1: leds names a LED twice"),
        ("[console]\ntty = 'tty1'\n", ", line 2: console.tty must be an absolute path, but it is 'tty1'"),
        ("[console]\nseverity = 'loud'\n",
         ", line 2: console.severity input should be 'error', 'warning', 'notice' or 'info', but it is 'loud'"),
        ("[hooks]\ntimeout_secs = 0\n",
         ", line 2: hooks.timeout_secs input should be greater than or equal to 1, but it is 0"),
        ("trust = 1\n", ", line 1: trust input should be a valid dictionary or instance of TrustSettings, but it is 1"),
        ("[trust\n", ": Expected ']' at the end of a table declaration (at line 1, column 7)"),
    ],
)  # fmt: skip
def test_mistake_names_file_line_key_and_expectation(text: str, expected: str) -> None:
    assert problem(text) == f"cannot use the settings caissond.toml{expected}"
