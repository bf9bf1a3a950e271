"""The example files that are installed on a device can be used as they are, and leave no key out."""

import re
from pathlib import Path

from caissond.model.catalog import Compose, Docker, HealthCheck, HealthKind, Rollback, Service, parse_catalog
from caissond.model.service_policy import Policy, Window
from caissond.model.settings import Settings, parse_settings

EXAMPLES = Path(__file__).parents[3] / "packaging/examples"
SETTINGS = (EXAMPLES / "caissond.toml").read_text()
CATALOG = (EXAMPLES / "services.toml").read_text()


def with_every_key() -> Settings:
    """The settings with the # taken away from each `#key = value`."""
    return parse_settings(re.sub(r"(?m)^#(\w+ =)", r"\1", SETTINGS), source="example")


def test_example_settings_change_nothing() -> None:
    assert parse_settings(SETTINGS, source="example") == Settings()


def test_every_setting_stands_in_the_example() -> None:
    for name, table in with_every_key():
        assert table.model_fields_set == set(type(table).model_fields), name


def test_example_settings_show_the_defaults() -> None:
    shown, unset = (
        with_every_key().model_dump(),
        {"stop_timeout_secs", "type", "status", "media", "success", "fault", "tty"},
    )
    for name, table in Settings().model_dump().items():
        assert {key: shown[name][key] for key in table.keys() - unset} == {
            key: table[key] for key in table.keys() - unset
        }


def test_example_catalog_has_no_key_that_nobody_reads() -> None:
    assert parse_catalog(CATALOG, source="example").unknown_keys() == []


def test_every_key_of_a_health_check_stands_in_the_example_catalog() -> None:
    checks = [service.health_check for service in parse_catalog(CATALOG, source="example").services]
    assert set().union(*(check.model_fields_set for check in checks)) == set(HealthCheck.model_fields)
    assert {check.kind for check in checks} == set(HealthKind)


def test_every_key_of_a_container_service_stands_in_the_example_catalog() -> None:
    service = parse_catalog(CATALOG, source="example").services[0]
    assert service.model_fields_set == set(Service.model_fields) - {"compose"}
    assert service.docker is not None
    assert service.docker.model_fields_set == set(Docker.model_fields)
    assert service.rollback.model_fields_set == set(Rollback.model_fields)
    assert service.policy.model_fields_set == set(Policy.model_fields)
    assert service.policy.windows[0].model_fields_set == set(Window.model_fields)


def test_every_key_of_a_compose_service_stands_in_the_example_catalog() -> None:
    (compose,) = (
        s.compose for s in parse_catalog(CATALOG, source="example").services if s.compose is not None
    )
    assert compose.model_fields_set == set(Compose.model_fields)
