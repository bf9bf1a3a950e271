"""What an admin of a scenario's device has written: the settings, the catalog, and the Compose file. Pure."""

from caissond.update.containers import COMPOSE_LABEL
from fixtures.packages import PLATFORM
from tests.matrix.scenario import Scenario
from tests.matrix.strikes import Strike
from tests.matrix.target import OLD, PROJECT, Release, Target, reference

COMPOSE_FILE = "compose.yaml"
"""Beside the catalog."""


def settings_of(scenario: Scenario) -> str:
    timeout_s = 2 if scenario.strike is Strike.HANG else 20
    return (
        "[trust]\nallow_unsigned = true\n"
        f"[docker]\ntimeout_secs = {timeout_s}\nload_stall_secs = {5 * timeout_s}\n"
    )


def catalog_of(scenario: Scenario) -> str:
    return "catalog_version = 1\n" + "".join(_entry(scenario, target) for target in scenario.targets)


def compose_file_of(scenario: Scenario) -> str:
    """Its Compose services, and the bystander."""
    composed = {target.name: target.image_name for target in scenario.targets if target.is_composed}
    services = {**composed, "db": reference("db", OLD)}
    return "services:\n" + "".join(
        f"  {name}:\n    image: {image}\n    network_mode: host\n" for name, image in services.items()
    )


def compose_labels(container: str, image_id: str) -> dict[str, str]:
    """What Compose writes on a container of this name, `project-service-number`."""
    project, service, number = container.rsplit("-", 2)
    words = {
        "project": project, "service": service, "container-number": number, "oneoff": "False",
        "image": image_id, "config-hash": "0123",
    }  # fmt: skip
    return {COMPOSE_LABEL + key: value for key, value in words.items()}


def _entry(scenario: Scenario, target: Target) -> str:
    return f"""\
[[services]]
name = "{target.name}"
service_revision = "1"
platform = "{PLATFORM}"
runtime_mode = "{"compose" if target.is_composed else "docker"}"
after = {_quoted(target.after)}
{_runtime(target)}
dependants = {_quoted(target.dependants)}
[services.health_check]
kind = "{_kind(scenario, target)}"
timeout_secs = 6
poll_interval_secs = 0.1
stable_secs = 0.25
"""


def _runtime(target: Target) -> str:
    if target.is_composed:
        return (
            f'[services.compose]\nproject = "{PROJECT}"\nfile = "{COMPOSE_FILE}"\nservice = "{target.name}"'
        )
    first = target.containers[0]
    return f'[services.docker]\ncontainer_name = "{first}"\nimage_reference = "{target.image_name}"'


def _kind(scenario: Scenario, target: Target) -> str:
    if target.runs_once:
        return "completed"
    return "container_health" if scenario.release is Release.SICK else "running"


def _quoted(names: tuple[str, ...]) -> str:
    return str(list(names)).replace("'", '"')
