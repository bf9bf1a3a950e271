"""What `[services.policy]` may say; a mistake in it is never passed over."""

from datetime import timedelta

import pytest

from caissond.errors import ConfigError
from caissond.model.catalog import Catalog, Policy, parse_catalog
from tests.flow.device import CATALOG


def parse(lines: str) -> Catalog:
    return parse_catalog(f"{CATALOG}[services.policy]\n{lines}\n", source="services.toml")


def test_service_without_a_policy_is_updated_at_any_time() -> None:
    (service,) = parse("").services
    assert service.policy == Policy()
    assert (service.policy.mode, service.policy.windows, service.policy.keep_images) == ("apply", (), 2)


@pytest.mark.parametrize(
    ("text", "length"),
    [("24h", timedelta(days=1)), ("1h30m", timedelta(minutes=90)), ("2d", timedelta(days=2)), ("5s", timedelta(0, 5))],
)  # fmt: skip
def test_length_of_time_is_written_with_its_units(text: str, length: timedelta) -> None:
    assert parse(f'soak = "{text}"').services[0].policy.soak == length


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("pined = true", "services[0].policy.pined is not a known key"),
        ('pinned = "yes"', "services[0].policy.pinned input should be a valid boolean"),
        ('mode = "watch"', "services[0].policy.mode input should be 'apply' or 'monitor'"),
        ("soak = 24", 'services[0].policy.soak must be a length of time such as "24h"'),
        ('soak = "0h"', "services[0].policy.soak must be more than nothing"),
        ("keep_images = 1", "services[0].policy.keep_images input should be greater than or equal to 2"),
        ('hold_file = "busy"', "services[0].policy.hold_file must be an absolute path"),
        ('windows = [{ start = "at night", duration = "2h" }]', "windows[0].start must be minute, hour, day"),
        (
            'windows = [{ start = "0 0 31 2 *", duration = "2h" }]',
            "windows[0].start must be minute, hour, day",
        ),
        (
            'windows = [{ start = "* 0 2 * * *", duration = "2h" }]',
            "windows[0].start must be minute, hour, day",
        ),
        ('windows = [{ start = "0 2 * * *" }]', "windows[0].duration is missing"),
        (
            'windows = [{ start = "0 2 * * *", duration = "2h", timezone = "Mars/Base" }]',
            "windows[0].timezone must be a time zone that this device knows",
        ),
        (
            'windows = [{ start = "0 2 * * *", duration = "2h", timezone = "../etc/passwd" }]',
            "windows[0].timezone must be a time zone that this device knows",
        ),
    ],
)
def test_mistake_is_named_with_its_key_and_what_was_expected(line: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(line)
    assert said in refused.value.message
    assert "services.toml, line 1" in refused.value.message
