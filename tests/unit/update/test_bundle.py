"""The order of the steps of several services."""

from caissond.update.bundle import order_steps

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
