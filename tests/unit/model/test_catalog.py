"""The catalog is read as the Rust tool reads it, and what is wrong in it is said with file, line and expectation."""

import pytest

from caissond.errors import ConfigError
from caissond.model.catalog import Catalog, Compose, HealthCheck, HealthKind, parse_catalog

RUST_EXAMPLE = """\
catalog_version = 1

[[services]]
name = "frontend"
service_revision = "frontend-v1"
platform = "linux/amd64"
runtime_mode = "docker"

[services.docker]
container_name = "frontend"
image_reference = "example/frontend:current"

[services.health_check]
kind = "container_health"

[[services]]
name = "backend"
service_revision = "backend-v2"
platform = "linux/amd64"
runtime_mode = "compose"

[services.compose]
project = "caisson-stack"
file = "/srv/backend/compose.yaml"
service = "backend"

[services.rollback]
automatic = true
"""


def parse(text: str) -> Catalog:
    return parse_catalog(text, source="services.toml")


def problem(text: str) -> str:
    with pytest.raises(ConfigError) as refused:
        parse(text)
    assert refused.value.code == "catalog.invalid"
    return refused.value.message


def changed(old: str, new: str) -> str:
    assert old in RUST_EXAMPLE
    return RUST_EXAMPLE.replace(old, new, 1)


def test_example_of_the_rust_tool_is_read() -> None:
    frontend, backend = parse(RUST_EXAMPLE).services
    assert frontend.docker is not None
    assert frontend.docker.container_name == "frontend"
    assert frontend.health_check.kind is HealthKind.CONTAINER_HEALTH
    assert backend.compose is not None
    assert str(backend.compose.file) == "/srv/backend/compose.yaml"
    assert backend.rollback.automatic is True


def test_defaults_are_those_of_the_rust_tool() -> None:
    check = parse(changed('kind = "container_health"', "")).services[0].health_check
    assert (check.kind, check.timeout_secs, check.poll_interval_secs) == (HealthKind.RUNNING, 30, 1)
    assert check.stable_secs == 10


def test_service_is_found_by_its_exact_name() -> None:
    catalog = parse(RUST_EXAMPLE)
    assert catalog.find("backend") is catalog.services[1]
    assert catalog.find("Backend") is None


def test_unknown_key_is_reported_with_its_path_and_not_refused() -> None:
    text = "colour = 1\n" + changed("[services.health_check]", "[services.health_check]\ntimeout_sec = 9\n")
    assert parse(text).unknown_keys() == ["colour", "services.health_check.timeout_sec"]
    assert parse(RUST_EXAMPLE).unknown_keys() == []


@pytest.mark.parametrize(
    ("stable", "timeout", "expected"), [(10, 30, 10), (10, 12, 6), (30, 30, 15), (0, 30, 0)]
)
def test_stable_time_is_at_most_half_of_the_deadline(stable: float, timeout: int, expected: float) -> None:
    assert HealthCheck(stable_secs=stable, timeout_secs=timeout).stable_s == expected


MISTAKES = {
    "no automatic rollback": (
        ("automatic = true", "automatic = false"),
        "cannot use the catalog services.toml, line 28: services[1].rollback.automatic input should be True, "
        "but it is False",
    ),
    "no number": (
        ('kind = "container_health"', 'timeout_secs = "soon"'),
        "cannot use the catalog services.toml, line 14: services[0].health_check.timeout_secs input should be a valid "
        "integer, unable to parse string as an integer, but it is 'soon'",
    ),
    "no time at all": (
        ('kind = "container_health"', "timeout_secs = 0"),
        "cannot use the catalog services.toml, line 14: services[0].health_check.timeout_secs input should be greater "
        "than or equal to 1, but it is 0",
    ),
    "unknown kind": (
        ('kind = "container_health"', 'kind = "ping"'),
        "cannot use the catalog services.toml, line 14: services[0].health_check.kind input should be 'running', "
        "'container_health', 'http', 'tcp', 'exec' or 'completed', but it is 'ping'",
    ),
    "blank name": (
        ('name = "backend"', 'name = " "'),
        "cannot use the catalog services.toml, line 17: services[1].name must not be empty, but it is ' '",
    ),
    "missing platform": (
        ('platform = "linux/amd64"\n', ""),
        "cannot use the catalog services.toml, line 3: services[0].platform is missing",
    ),
    "runtime without its table": (
        ("[services.compose]", "[services.stack]"),
        "cannot use the catalog services.toml, line 16: services[1] runtime_mode is 'compose', so [services.compose] "
        "must be there",
    ),
    "both runtimes": (
        ("[services.rollback]", '[services.docker]\ncontainer_name="b"\nimage_reference="b:1"\n[services.rollback]'),
        "cannot use the catalog services.toml, line 16: services[1] must not have both [services.docker] and "
        "[services.compose]",
    ),
    "name of our own": (
        ('container_name = "frontend"', 'container_name = "web-caisson-old-0123abcd"'),
        "cannot use the catalog services.toml, line 3: services[0] container_name must not look like one of Caisson's "
        "own temporary names",
    ),
    "name no container can have": (
        ('container_name = "frontend"', 'container_name = "/frontend"'),
        "cannot use the catalog services.toml, line 3: services[0] container_name must be a container's name: letters, "
        "digits, and _ . - inside",
    ),
    "other version": (
        ("catalog_version = 1", "catalog_version = 2"),
        "cannot use the catalog services.toml, line 1: catalog_version input should be 1, but it is 2",
    ),
    "same service twice": (
        ('name = "backend"', 'name = "frontend"'),
        "cannot use the catalog services.toml:  service name 'frontend' must not stand twice",
    ),
    "endless number": (
        ("catalog_version = 1", f"catalog_version = 0x{'f' * 5000}"),
        "cannot use the catalog services.toml, line 1: catalog_version unable to parse input string as an integer, "
        "exceeded maximum size, but it is a number far too large",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_told_with_file_line_and_expectation(mistake: str) -> None:
    (old, new), expected = MISTAKES[mistake]
    assert problem(changed(old, new)) == expected


def test_two_services_must_not_share_a_container() -> None:
    first = RUST_EXAMPLE.split("[[services]]")[1]
    text = f"{RUST_EXAMPLE}\n[[services]]{first.replace('frontend', 'other', 1)}"
    assert "container_name 'frontend' must not stand twice" in problem(text)


def test_broken_toml_is_told_with_its_line() -> None:
    assert problem("catalog_version = 1\n[[services]\n").startswith("cannot use the catalog services.toml: ")
    assert "at line 2" in problem("catalog_version = 1\n[[services]\n")


def test_empty_file_says_what_is_missing() -> None:
    assert problem("") == "cannot use the catalog services.toml: catalog_version is missing"


def with_dependants(value: str) -> str:
    return changed("[services.docker]", f"[services.docker]\ndependants = {value}")


def test_dependants_are_read_in_their_order() -> None:
    docker = parse(with_dependants('["sidecar", "proxy"]')).services[0].docker
    assert docker is not None
    assert docker.dependants == ("sidecar", "proxy")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('["a b"]', "dependants must name other containers"),
        ('["x-caisson-old-01234567"]', "dependants must name other containers"),
        ('["sidecar", "sidecar"]', "must not stand twice"),
        ('"sidecar"', "tuple"),
    ],
)
def test_dependants_that_make_no_sense_are_refused(value: str, expected: str) -> None:
    assert expected in problem(with_dependants(value))


def with_compose(*keys: str) -> str:
    return changed("[services.compose]", "\n".join(["[services.compose]", *keys]))


def compose_of(text: str) -> Compose:
    compose = parse(text).services[1].compose
    assert compose is not None
    return compose


def test_compose_keys_of_ours_are_optional() -> None:
    compose = compose_of(RUST_EXAMPLE)
    assert (compose.more_files, compose.profiles, compose.env_file, compose.dependants) == ((), (), None, ())


def test_compose_keys_of_ours_are_read_in_their_order() -> None:
    text = with_compose(
        'more_files = ["site.yaml", "/srv/b.yaml"]', 'profiles = ["b", "a"]', 'env_file = "site.env"',
        'dependants = ["proxy", "x"]',
    )  # fmt: skip
    compose = compose_of(text)
    assert [str(file) for file in compose.more_files] == ["site.yaml", "/srv/b.yaml"]
    assert (compose.profiles, str(compose.env_file)) == (("b", "a"), "site.env")
    assert compose.dependants == ("proxy", "x")
    assert parse(text).unknown_keys() == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('project = "caisson-stack"', 'project = "Stack"', "project must be lower case letters"),
        ('project = "caisson-stack"', 'project = "-stack"', "project must be lower case letters"),
        ('project = "caisson-stack"', 'project = "stack\\n"', "project must be lower case letters"),
        ('service = "backend"', 'service = "back end"', "service must be a Compose service's name"),
        ('service = "backend"', 'service = "backend"\nprofiles = ["--all"]', "profiles must name profiles"),
        ('file = "/srv/backend/compose.yaml"', 'file = ""', "file must name a file"),
        ('file = "/srv/backend/compose.yaml"', 'file = "a\\u0000b"', "file must name a file"),
        ('service = "backend"', 'service = "backend"\nmore_files = ["."]', "must name a file"),
        ('service = "backend"', 'service = "backend"\ndependants = ["backend"]', "must name other services"),
        ('service = "backend"', 'service = "backend"\ndependants = ["a b"]', "must name other services"),
        (
            'service = "backend"',
            'service = "backend"\ndependants = ["x-caisson-old-01234567"]',
            "must name other services",
        ),
        ('service = "backend"', 'service = "backend"\ndependants = ["a", "a"]', "must not stand twice"),
    ],
)
def test_compose_keys_that_make_no_sense_are_refused(old: str, new: str, expected: str) -> None:
    assert expected in problem(changed(old, new))


def test_two_services_must_not_share_a_compose_service() -> None:
    second = RUST_EXAMPLE.split("[[services]]")[2]
    text = f"{RUST_EXAMPLE}\n[[services]]{second.replace('backend', 'other', 1)}"
    assert "compose service 'caisson-stack/backend' must not stand twice" in problem(text)
    assert len(parse(text.replace("caisson-stack", "other-stack", 1)).services) == 3


def test_services_are_levelled_by_what_they_come_after() -> None:
    catalog = parse(services({"a": ["b", "c"], "b": ["d"], "c": [], "d": []}))
    assert catalog.levels == (("c", "d"), ("b",), ("a",))


@pytest.mark.parametrize(
    ("after", "words"),
    [
        ({"a": ["b"], "b": ["a"]}, "must not go round in a circle"),
        ({"a": ["a"]}, "must not go round in a circle"),
        ({"a": ["x"]}, "names 'x', which is no service"),
    ],
)
def test_after_that_leads_nowhere_is_a_mistake(after: dict[str, list[str]], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse(services(after))


def services(after: dict[str, list[str]]) -> str:
    tables = [
        f'[[services]]\nname = "{name}"\nservice_revision = "1"\nplatform = "linux/amd64"\nruntime_mode = "docker"\n'
        f'after = {before}\n[services.docker]\ncontainer_name = "c-{name}"\nimage_reference = "{name}:1"\n'
        for name, before in after.items()
    ]
    return "\n".join(["catalog_version = 1", *tables])
