"""What the LEDs say: from events to states, and from states to rhythms."""

import re

import pytest

from caissond.model.events import EVENTS, Event
from caissond.model.records import Outcome
from caissond.report.led_patterns import RHYTHMS, SHOWN, Role, State, choose_blink, led_table, plan_writes
from caissond.report.led_states import (
    SUCCESS_SEEN_S,
    SUCCESS_SHOWN_S,
    Resting,
    Situation,
    after_event,
    after_rest,
    state_for,
)

ALL_TRIGGERS = frozenset({"none", "timer", "heartbeat", "pattern"})
REST = "rest"


def situation_after(*happened: str | Event | Resting, now: float = 0.0) -> Situation:
    """The situation after events, by their code or with `=outcome`, and rests."""
    situation = Situation()
    for what in happened:
        if isinstance(what, Resting) or what == REST:
            situation = after_rest(situation, what if isinstance(what, Resting) else Resting(), now)
        else:
            situation = after_event(situation, what if isinstance(what, Event) else parse(str(what)), now)
    return situation


def parse(text: str) -> Event:
    """`code`, `code@medium` or `code=outcome`."""
    match = re.fullmatch(r"([\w.]+)(?:@(\w+))?(?:=(\w+))?", text)
    assert match is not None
    code, medium, outcome = match.groups()
    assert code in EVENTS
    return Event(
        code, "", {name: value for name, value in (("medium", medium), ("outcome", outcome)) if value}
    )


def status(*happened: str | Event | Resting) -> State:
    return state_for(Role.STATUS, situation_after(*happened))


UPDATE = ("package.received", "update.started", "update.loading")
DONE = "update.committed=succeeded"


@pytest.mark.parametrize(
    ("happened", "state"),
    [
        ((), State.WORKING),
        (("daemon.started", REST), State.IDLE),
        ((REST, "media.found@sda1"), State.READING),
        ((REST, "media.found@sda1", *UPDATE), State.READING),
        ((REST, "media.found@sda1", *UPDATE, "media.done@sda1", "update.checking"), State.SAFE),
        ((REST, "media.found@sda1", *UPDATE, DONE, "media.done@sda1", REST), State.SUCCESS),
        ((REST, "media.found@sda1", "media.done@sda1", REST), State.SAFE),
        ((REST, "media.found@sda1", "media.empty@sda1", REST), State.SAFE),
        ((REST, "media.found@sda1", "media.unreadable@sda1", REST), State.READING),
        ((REST, "media.found@sda1", "media.unreadable@sda1", "media.done@sda1", REST), State.FAILURE),
        ((REST, "media.found@sda1", "media.done@sda1", "media.gone@sda1", REST), State.IDLE),
        ((REST, *UPDATE), State.WORKING),
        ((REST, *UPDATE, DONE, REST), State.SUCCESS),
        ((REST, "package.received", "trust.unsigned=refused", REST), State.FAILURE),
        ((REST, *UPDATE, "update.rolled_back=rolled_back", REST), State.FAILURE),
        ((REST, *UPDATE, "update.rollback_failed=rollback_failed", REST), State.ATTENTION),
        ((REST, "package.received", "update.postponed=postponed", REST), State.IDLE),
        ((REST, "package.received", "release.already_installed=nothing_to_do", REST), State.SUCCESS),
        (("daemon.waiting",), State.ATTENTION),
        (("daemon.waiting", "docker.answered", REST), State.IDLE),
        ((REST, "daemon.failed", REST), State.ATTENTION),
        ((REST, "daemon.failed", *UPDATE, DONE, REST), State.SUCCESS),
        ((Resting(config_problem=True),), State.ATTENTION),
        ((Resting(unsettled=True),), State.ATTENTION),
        ((Resting(provisioned=False),), State.NOT_PROVISIONED),
        (("media.found@sda1", Resting(provisioned=False)), State.READING),
        (("media.found@sda1", "media.done@sda1", Resting(provisioned=False)), State.NOT_PROVISIONED),
        (("media.found@sda1", "media.done@sda1", Resting(config_problem=True)), State.ATTENTION),
    ],
)  # fmt: skip
def test_one_led_alone_tells(happened: tuple[str | Resting, ...], state: State) -> None:
    assert status(*happened) is state


def test_one_led_alone_can_tell_every_state() -> None:
    assert SHOWN[Role.STATUS] == set(State)


def test_of_several_packages_the_worst_outcome_is_shown() -> None:
    bad, good = ("package.received", "gate.exited=rolled_back"), ("package.received", DONE)
    assert status(REST, *bad, *good, REST) is status(REST, *good, *bad, REST) is State.FAILURE


def test_outcome_of_the_time_before_is_forgotten_with_the_next_package() -> None:
    assert status(REST, "package.received", "gate.exited=failed", REST, "package.received", DONE, REST) is (
        State.SUCCESS
    )


def test_one_stick_may_be_removed_while_the_other_is_read() -> None:
    happened = (REST, "media.found@sda1", "media.found@sdb1", "media.done@sda1")
    assert status(*happened) is State.READING
    assert status(*happened, "media.done@sdb1") is State.SAFE


def test_success_goes_with_its_stick_and_failure_stays() -> None:
    stick = (REST, "media.found@sda1", "package.received")
    done = situation_after(*stick, DONE, "media.done@sda1")
    gone = after_event(done, parse("media.gone@sda1"), SUCCESS_SEEN_S)
    assert state_for(Role.STATUS, after_rest(gone, Resting(), SUCCESS_SEEN_S)) is State.IDLE
    bad = (*stick, "gate.exited=rolled_back", "media.done@sda1", "media.gone@sda1", REST)
    assert status(*bad) is State.FAILURE


STICK = (REST, "media.found@sdb1", "package.received")


@pytest.mark.parametrize("fault", ["media.unsupported@sdb", "media.not_mounted@sdb", "media.unreadable@sdb1"])
def test_success_is_shown_though_another_part_of_its_stick_is_of_no_use(fault: str) -> None:
    assert status(*STICK, DONE, "media.done@sdb1", fault, REST) is State.SUCCESS
    assert status(*STICK, fault, DONE, "media.done@sdb1", REST) is State.SUCCESS
    assert status(REST, "media.found@sdb1", "media.empty@sdb1", fault, REST) is State.FAILURE


def test_success_of_one_stick_does_not_hide_that_another_is_of_no_use() -> None:
    assert status(*STICK, DONE, "media.done@sdb1", "media.unsupported@sdc", REST) is State.FAILURE


def test_truncated_package_beside_a_good_one_is_a_failure() -> None:
    assert status(*STICK, DONE, "media.incomplete@sdb1", "media.done@sdb1", REST) is State.FAILURE


def test_success_is_shown_though_the_stick_was_pulled_while_the_gate_ran() -> None:
    stick = (REST, "media.found@sda1", "package.received", "media.done@sda1")
    assert status(*stick, DONE, "media.gone@sda1", REST) is State.SUCCESS


def test_stick_that_is_wanted_again_is_not_to_be_removed() -> None:
    stick = (REST, "media.found@sda1", "package.received", "media.done@sda1", "media.needed@sda1")
    assert status(*stick) is State.READING


def test_success_from_the_inbox_is_not_shown_for_ever() -> None:
    situation = situation_after(REST, "package.received", DONE, REST)
    assert state_for(Role.STATUS, after_rest(situation, Resting(), SUCCESS_SHOWN_S - 1)) is State.SUCCESS
    assert state_for(Role.STATUS, after_rest(situation, Resting(), SUCCESS_SHOWN_S)) is State.IDLE


def test_further_leds_show_their_own_and_are_off_otherwise() -> None:
    def shown(*happened: str) -> dict[Role, State]:
        return {role: state_for(role, situation_after(*happened)) for role in Role if role is not Role.STATUS}

    off = dict.fromkeys((Role.MEDIA, Role.SUCCESS, Role.FAULT), State.OFF)
    stick = (REST, "media.found@sda1")
    assert shown(REST) == off
    assert shown(*stick) == off | {Role.MEDIA: State.READING}
    assert shown(*stick, "package.received", DONE, "media.done@sda1", REST) == off | {
        Role.MEDIA: State.SAFE,
        Role.SUCCESS: State.SUCCESS,
    }
    assert shown(REST, "package.received", "gate.exited=rolled_back", REST) == off | {
        Role.FAULT: State.FAILURE
    }


def test_every_outcome_and_every_event_can_happen() -> None:
    situation = Situation()
    for code in EVENTS:
        situation = after_event(situation, Event(code, ""), 0)
    for outcome in Outcome:
        situation = after_event(situation, Event("update.committed", "", {"outcome": outcome.value}), 0)
    assert state_for(Role.STATUS, after_rest(situation, Resting(), 0)) in State


# the table


@pytest.mark.parametrize(
    "triggers", [ALL_TRIGGERS, ALL_TRIGGERS - {"pattern", "heartbeat"}], ids=["all", "timer"]
)
def test_every_state_has_a_rhythm_of_its_own(triggers: frozenset[str]) -> None:
    blinks = [choose_blink(state, triggers) for state in State]
    assert None not in blinks
    assert len(set(blinks)) == len(State)


def test_kernel_without_triggers_can_show_on_and_off_only() -> None:
    shown = {state for state in State if choose_blink(state, frozenset({"none"}))}
    assert shown == {State.OFF, State.SUCCESS}


def test_pattern_jumps_between_on_and_off_and_does_not_fade() -> None:
    blink = RHYTHMS[State.NOT_PROVISIONED].blink
    assert plan_writes(blink, 255) == (
        ("trigger", "pattern"),
        ("pattern", "255 100 255 0 0 200 0 0 255 100 255 0 0 2600 0 0"),
    )


def test_led_table_tells_every_state() -> None:
    assert all(state.value in led_table() for state in State)
