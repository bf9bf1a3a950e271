"""The order of the steps when several services are updated as one.

All images are in before the first service is touched. Then what comes after others is stopped first and started last,
and not before those have passed their gates; nothing is committed before all have. The undos run the opposite way, so
that on the way back, too, nobody is started before what it comes after.
"""

from collections.abc import Iterable, Mapping, Sequence

from caissond.errors import Refusal
from caissond.model.records import Part
from caissond.model.reference import full_reference

STILL_WELL = "still-well"
"""Only with several services: the first that passed its gate may have fallen over while the last was watched."""
_STOP = ("stop-dependants", "stop-old")
_START = ("start-new", "start-dependants")
_LATER = (*_STOP, *_START, "health-gate", STILL_WELL, "commit")

Levels = Sequence[Sequence[str]]
"""Services, those of one level next to each other; each level comes after the ones before it."""


def order_steps(steps: Mapping[str, Sequence[str]], levels: Levels) -> tuple[str, ...]:
    """The names of all steps, `service/step`, in the order in which they are done.

    Args:
        steps: of each service, in its own order.
        levels: names all of these services, and may name others.
    """
    order = [service for level in levels for service in level if service in steps]
    assert set(order) == set(steps), "a service without a level"

    def of(services: Iterable[str], *wanted: str) -> list[str]:
        return [f"{service}/{step}" for service in services for step in steps[service] if step in wanted]

    names = [
        f"{service}/{step}" for service in order for step in steps[service] if step not in _LATER
    ]  # fmt: skip
    names += of(reversed(order), *_STOP)
    for level in levels:
        here = [service for service in level if service in steps]
        names += of(here, *_START) + of(here, "health-gate")
    if len(order) > 1:
        names += [f"{service}/{STILL_WELL}" for service in order]
    return (*names, *of(order, "commit"))


def check_together(parts: Sequence[Part]) -> None:
    """Whether these can be updated as one.

    Raises:
        Refusal: `package.bundle_conflict`.
    """
    containers = {name: part.release.service for part in parts for name in part.names}
    images: dict[str, str] = {}
    dependants: dict[str, str] = {}
    for part in parts:
        service, reference = part.release.service, part.release.reference
        for dependant in (dependant for one in part.each for dependant in one.before.dependants):
            if dependant.name in dependants:
                text = f"cannot update {dependants[dependant.name]} with {service}: {dependant.name} depends on both"
                raise Refusal(text, code="package.bundle_conflict")
            dependants[dependant.name] = service
            if dependant.name in containers:
                text = f"cannot update {containers[dependant.name]} with {service}: it is made again as its dependant"
                raise Refusal(text, code="package.bundle_conflict")
        for name in {reference, part.compose_reference} - {""}:
            if images.setdefault(full_reference(name), part.release.digest) != part.release.digest:
                raise Refusal(f"cannot use {name} for two images at once", code="package.bundle_conflict")
