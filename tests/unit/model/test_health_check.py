"""A mistake in `[services.health_check]` names the key and what was expected."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caissond.errors import ConfigError
from caissond.model.catalog import HealthCheck, HealthKind, parse_catalog
from caissond.model.endpoint import REACHABLE, Endpoint, is_reachable, parse_address, parse_url

SERVICE = """\
catalog_version = 1
[[services]]
name = "web"
service_revision = "1"
platform = "linux/amd64"
runtime_mode = "docker"
[services.docker]
container_name = "web"
image_reference = "web:1"
[services.health_check]
"""
HTTP = 'kind = "http"\nurl = "http://{container}:8080/"\n'
HTTPS = 'kind = "http"\nurl = "https://{container}/"\n'
WHERE = "cannot use the catalog services.toml, line"


def parse(text: str) -> HealthCheck:
    return parse_catalog(SERVICE + text, source="services.toml").services[0].health_check


IN = "services[0].health_check"
MISTAKES = {
    "http without url": (
        'kind = "http"',
        f"10: {IN} must have url: kind is 'http', such as url = \"http://{{container}}:8080/health\"",
    ),
    "tcp without address": (
        'kind = "tcp"',
        "10: services[0].health_check must have address: kind is 'tcp', such as address = \"{container}:5432\"",
    ),
    "exec without command": (
        'kind = "exec"',
        '10: services[0].health_check must have command: kind is \'exec\', such as command = ["pg_isready", "-q"]',
    ),
    "key of another kind": (
        'kind = "exec"\nstatus = 200',
        f"12: {IN}.status must not be there: it is for kind 'http', and kind is 'exec', but it is 200",
    ),
    "key of probes where nothing is asked": (
        "retries = 3",
        f"11: {IN}.retries must not be there: it is for kind 'http' or 'tcp' or 'exec', and kind is "
        "'running', but it is 3",
    ),
    "host name": (
        'kind = "http"\nurl = "http://shop/"',
        f"12: {IN}.url must name {{container}}, localhost or an IP address of a private network; names "
        "are not looked up, but it is 'http://shop/'",
    ),
    "public address": (
        'kind = "tcp"\naddress = "8.8.8.8:53"',
        f"12: {IN}.address must name {{container}}, localhost or an IP address of a private network, "
        "but it is '8.8.8.8:53'",
    ),
    "no port": (
        'kind = "tcp"\naddress = "{container}"',
        "12: services[0].health_check.address must be HOST:PORT such as {container}:5432 or [::1]:5432, but it is "
        "'{container}'",
    ),
    "impossible status": (
        HTTP + "status = [200, 20]",
        "13: services[0].health_check.status[1] input should be greater than or equal to 100, but it is 20",
    ),
    "command of one string": (
        'kind = "exec"\ncommand = "check me"',
        '12: services[0].health_check.command must be a list: ["program", "argument"]; no shell reads it, but it is '
        "'check me'",
    ),
    "no retries": (
        HTTP + "retries = 0",
        "13: services[0].health_check.retries input should be greater than or equal to 1, but it is 0",
    ),
    "start period without retries": (
        HTTP + "start_period_secs = 5",
        f"10: {IN} must have retries where start_period_secs is: without, only the deadline is a verdict",
    ),
    "start period to the deadline": (
        HTTP + "start_period_secs = 30\nretries = 1",
        f"10: {IN} start_period_secs must be less than timeout_secs, or nothing is ever asked in time",
    ),
    "certificate of nobody": (
        HTTPS,
        f"10: {IN} must have host, the name in the certificate, or verify = false: no certificate is "
        "for {container}",
    ),
    "certificate without TLS": (
        HTTP + "verify = false",
        "10: services[0].health_check verify must not be there: url does not begin with https:",
    ),
    "header smuggled in": (
        HTTP + 'host = "a\\r\\nX: y"',
        "13: services[0].health_check.host must be a host name, with or without a port, but it is 'a\\r\\nX: y'",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_mistake_is_told_with_key_and_expectation(text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(text)
    assert (refused.value.code, refused.value.message) == ("catalog.invalid", f"{WHERE} {expected}")


def test_key_that_nobody_knows_is_a_warning_with_every_kind() -> None:
    catalog = parse_catalog(f"{SERVICE}{HTTP}retry = 3\n", source="services.toml")
    assert catalog.unknown_keys() == ["services.health_check.retry"]


def test_one_status_may_stand_alone() -> None:
    assert parse(HTTP + "status = 204").status == (204,)
    assert parse(HTTP + "status = [200, 404]").status == (200, 404)


def test_certificate_is_checked_unless_the_catalog_says_otherwise() -> None:
    assert parse(HTTPS + 'host = "shop.example"').verify is True
    assert parse(HTTPS + "verify = false").verify is False


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://{container}:8080/a?b=1", Endpoint("{container}", 8080, "http", "/a?b=1")),
        ("https://localhost", Endpoint("localhost", 443, "https", "/")),
        ("http://[fd00::2]/", Endpoint("fd00::2", 80, "http", "/")),
        ("HTTP://127.0.0.1/A", Endpoint("127.0.0.1", 80, "http", "/A")),
    ],
)
def test_url_is_taken_apart(text: str, expected: Endpoint) -> None:
    assert parse_url(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "{container}", "ftp://127.0.0.1/", "http://", "http://127.0.0.1:0/", "http://127.0.0.1:99999/",
     "http://[::1/", "http://me:secret@127.0.0.1/", "http://127.0.0.1/#top", "http://127.0.0.1/a b",
     "http://127.0.0.1/\r\nX: y", "http://127.1/", "http://[::ffff:8.8.8.8]/", "http://169.254.169.254/"],
)  # fmt: skip
def test_other_urls_are_mistakes(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        parse_url(text)


@given(st.text(max_size=40) | st.from_regex(r"https?://[^/]{0,20}(:[0-9]{0,6})?/.{0,5}", fullmatch=True))
def test_no_url_does_worse_than_being_refused(text: str) -> None:
    try:
        found = parse_url(text)
    except ValueError:
        return
    assert 1 <= found.port <= 65535
    assert found.path.isascii()
    assert not set(found.path) & set(" \r\n")


def test_address_is_taken_apart() -> None:
    assert parse_address("[::1]:5432") == Endpoint("::1", 5432)
    assert parse_address("{container}:5432") == Endpoint("{container}", 5432)


def test_only_this_device_and_private_networks_are_reachable() -> None:
    assert all(is_reachable(network.partition("/")[0]) for network in REACHABLE)
    assert not any(map(is_reachable, ("8.8.8.8", "172.32.0.1", "169.254.1.1", "fe80::1", "2001:db8::1")))


def test_check_is_called_by_what_it_asks() -> None:
    assert parse(HTTP).words == "http http://{container}:8080/"
    assert HealthCheck(kind=HealthKind.EXEC, command=("pg_isready", "-q")).words == "exec pg_isready -q"
    assert HealthCheck().words == "running"
