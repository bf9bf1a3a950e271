"""Now, later or never: what a policy says under given circumstances."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from caissond.model.events import EVENTS
from caissond.model.service_policy import Policy, Window
from caissond.update.policy import Act, Decision
from caissond.update.timing import (
    LATER_CODES,
    Circumstances,
    is_open,
    next_start,
    plan_timing,
    plan_together,
)

NIGHT = Window(start="0 2 * * *", duration="2h", timezone="Europe/Berlin")  # type: ignore[arg-type]
SOAK = Policy(soak="24h")  # type: ignore[arg-type]
NOON = Circumstances(datetime(2026, 12, 1, 12, 0, tzinfo=UTC), is_clock_believable=True)


def decide(policy: Policy, given: Circumstances = NOON) -> Decision:
    return plan_timing("web", "1.2.3", policy, given)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_without_a_policy_it_is_always_time() -> None:
    assert decide(Policy()).act is Act.APPLY


def test_every_reason_to_wait_stands_in_the_table_of_events() -> None:
    assert {*LATER_CODES, "policy.monitor", "policy.pinned"} <= EVENTS.keys()


@pytest.mark.parametrize(
    ("policy", "code"),
    [(Policy(mode="monitor", windows=(NIGHT,)), "policy.monitor"), (Policy(pinned=True), "policy.pinned")],
)
def test_nobody_s_word_but_the_catalog_s_applies_what_it_forbids(policy: Policy, code: str) -> None:
    for given in (NOON, replace(NOON, by_hand=True), replace(NOON, is_approved=True)):
        assert (decide(policy, given).act, decide(policy, given).code) == (Act.NEVER, code)


@pytest.mark.parametrize(
    ("known_for", "act", "wait"),
    [(0, Act.LATER, 86400), (86399, Act.LATER, 1), (86400, Act.APPLY, None), (9e9, Act.APPLY, None)],
)
def test_release_soaks_until_it_has_been_known_long_enough(
    known_for: float, act: Act, wait: float | None
) -> None:
    decision = decide(SOAK, replace(NOON, known_for_s=known_for))
    assert (decision.act, decision.wait_s) == (act, wait)


def test_soaking_says_how_long_it_takes_yet() -> None:
    reason = decide(SOAK, replace(NOON, known_for_s=3600 * 20)).reason
    assert reason == "web 1.2.3: it soaks; 4h of 1d with the device on are left"


@pytest.mark.parametrize(
    ("now", "opens"),
    [
        ("2026-12-01 00:59:59", False),
        ("2026-12-01 01:00:00", True),
        ("2026-12-01 01:00:00.5", True),
        ("2026-12-01 02:59:59", True),
        ("2026-12-01 03:00:00", False),
        ("2026-07-01 00:00:00", True),
        ("2026-07-01 02:00:00", False),
        ("2026-03-29 00:59:59", False),
        ("2026-03-29 01:00:00", True),
        ("2026-03-29 02:59:59", True),
        ("2026-03-29 03:00:00", False),
        ("2026-10-25 00:00:00", True),
        ("2026-10-25 02:00:00", False),
    ],
)
def test_window_is_open_for_its_time_in_its_zone(now: str, *, opens: bool) -> None:
    """02:00 in Berlin is 01:00 UTC in winter; on the last Sunday of March it does not exist, in October twice."""
    assert is_open(NIGHT, utc(now)) is opens


def test_window_of_more_than_a_day_stays_open_over_midnight() -> None:
    weekend = Window(start="0 18 * * FRI", duration="2d12h")  # type: ignore[arg-type]
    assert is_open(weekend, utc("2026-12-06 23:00:00"))
    assert not is_open(weekend, utc("2026-12-07 06:00:00"))


def test_closed_window_says_when_it_opens_in_its_own_zone() -> None:
    decision = decide(Policy(windows=(NIGHT,)))
    assert (decision.act, decision.code, decision.wait_s) == (Act.LATER, "policy.window", 13 * 3600)
    assert decision.reason == "web 1.2.3: its window opens 2026-12-02 02:00 Europe/Berlin"


def test_of_several_windows_the_next_one_counts() -> None:
    later = Window(start="0 22 * * *", duration="1h")  # type: ignore[arg-type]
    evening = Window(start="0 18 * * *", duration="1h")  # type: ignore[arg-type]
    assert decide(Policy(windows=(later, evening))).wait_s == 6 * 3600
    assert next_start(later, NOON.now) == NOON.now + timedelta(hours=10)
    in_one = replace(NOON, now=NOON.now + timedelta(hours=10))
    assert decide(Policy(windows=(evening, later)), in_one).act is Act.APPLY


def test_no_window_is_open_while_the_clock_cannot_be_believed() -> None:
    in_1970 = Circumstances(utc("1970-01-01 01:30:00"), is_clock_believable=False)
    decision = decide(Policy(windows=(NIGHT,)), in_1970)
    assert (decision.act, decision.code) == (Act.LATER, "policy.clock")
    assert decide(Policy(), in_1970).act is Act.APPLY


def test_approved_release_waits_for_the_hold_file_only() -> None:
    policy = SOAK.model_copy(update={"windows": (NIGHT,)})
    approved = replace(NOON, is_approved=True)
    assert decide(policy, approved).act is Act.APPLY
    assert decide(policy, replace(NOON, by_hand=True)).act is Act.APPLY
    assert decide(policy, replace(approved, hold="/run/caisson/hold")).code == "policy.hold"


def test_one_service_that_must_not_be_updated_forbids_all_and_one_that_waits_lets_all_wait() -> None:
    now, later, much_later = (
        Decision(Act.APPLY),
        Decision(Act.LATER, "a", "", 5),
        Decision(Act.LATER, "b", "", 9),
    )
    never, refused, known = (
        Decision(Act.NEVER, "c"),
        Decision(Act.REFUSE, "d"),
        Decision(Act.SKIP, "release.already_installed"),
    )
    assert plan_together([now, later, much_later, never, refused]) is refused
    assert plan_together([now, later, never, known]) is never
    assert plan_together([now, later, much_later, known]) is much_later
    newer_came_along = Decision(Act.SKIP, "package.superseded")
    assert plan_together([now, newer_came_along]) is newer_came_along
    assert plan_together([known, now]) is now
    assert plan_together([known]) is known
