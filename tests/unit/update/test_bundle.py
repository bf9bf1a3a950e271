"""The order of the steps of several services."""

import pytest

from caissond.errors import Refusal
from caissond.model.records import Dependant, Part
from caissond.update.bundle import check_together, order_steps
from tests.unit.samples import before, release

STEPS = ("keep-old", "create-new", "stop-old", "start-new", "health-gate", "commit")


def test_one_service_has_its_steps_in_their_own_order() -> None:
    assert order_steps({"web": STEPS}, [["web", "db"]]) == tuple(f"web/{step}" for step in STEPS)


def test_services_stop_in_the_opposite_order_and_are_committed_together() -> None:
    assert order_steps({"web": STEPS, "db": STEPS}, [["db"], ["api"], ["web"]]) == (
        "db/keep-old", "db/create-new", "web/keep-old", "web/create-new",
        "web/stop-old", "db/stop-old",
        "db/start-new", "db/health-gate", "web/start-new", "web/health-gate",
        "db/still-well", "web/still-well", "db/commit", "web/commit",
    )  # fmt: skip


def test_services_of_one_level_are_watched_side_by_side() -> None:
    order = order_steps({"a": STEPS, "b": STEPS}, [["a", "b"]])
    assert order.index("b/start-new") < order.index("a/health-gate")


def part(service: str, *dependants: str, reference: str = "", number: int = 1) -> Part:
    needed = tuple(Dependant(name=name, before=before()) for name in dependants)
    brought = release(service=service, number=number)
    return Part(
        container_name=service,
        release=brought.model_copy(update={"reference": reference or f"example/{service}:2"}),
        before=before().model_copy(update={"dependants": needed}),
    )


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ((part("web", "sidecar"), part("db", "sidecar")), "sidecar depends on both"),
        ((part("web", "db"), part("db")), "db with web: it is made again as its dependant"),
        ((part("web", reference="a:1"), part("db", reference="a:1", number=2)), "a:1 for two images"),
    ],
)
def test_services_that_would_undo_each_other_are_not_updated_as_one(
    parts: tuple[Part, ...], words: str
) -> None:
    with pytest.raises(Refusal, match=words) as refused:
        check_together(parts)
    assert refused.value.code == "package.bundle_conflict"


def test_services_that_share_an_image_are_updated_as_one() -> None:
    check_together((part("web", "sidecar", reference="a:1"), part("db", reference="a:1")))
