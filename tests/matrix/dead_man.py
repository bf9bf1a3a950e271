"""The invariant of a boot on which caissond does not come: Docker alone brings every service up.

As long as not every new container of the package was started, none can have passed its gate for good: then it is the
old release that is back, all of it, under its own name. Afterwards it may be either, and both for a moment.
"""

from collections.abc import Iterable, Iterator

from tests.matrix.lab import Lab
from tests.matrix.processes import wait_until
from tests.matrix.scenario import Scenario

BOOT_S = 10.0
_STARTED = "docker POST containers/new/start"


def broken_without_caissond(lab: Lab, scenario: Scenario, events: Iterable[str]) -> list[str]:
    """What is not as it has to be after a power cut.

    Args:
        events: of the run that the power cut ended.
    """
    containers = [name for target in scenario.targets for name in target.containers]
    started = list(events).count(_STARTED)  # not one at which it was struck
    may_be_new = "new" in scenario.ends and started >= len(containers)
    look = _look_up if may_be_new else _look_old

    def broken() -> list[str]:
        return [f"without caissond: {sentence}" for name in containers for sentence in look(lab, name)]

    wait_until(lambda: not broken(), BOOT_S)
    return broken()


def _look_old(lab: Lab, name: str) -> Iterator[str]:
    container = lab.inspect(name)
    if container["Id"] != lab.first[name]:
        yield f"{name} is another container"
    if not container["State"]["Running"]:
        yield f"{name} is {container['State']['Status']}"


def _look_up(lab: Lab, name: str) -> Iterator[str]:
    """Under whichever name."""
    names = [one["Names"][0].lstrip("/") for one in lab.api.containers()]
    if not any(one == name or one.startswith(f"{name}-caisson-") for one in names):
        yield f"of {name} nothing runs, only {names}"
