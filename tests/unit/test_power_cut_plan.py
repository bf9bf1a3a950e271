"""The power cuts of a seed: the same whoever asks, spread over the whole update, and all kinds of them."""

from collections import Counter

from tests.device.cuts.plan import Return, Way, plan_trial

TRIALS = [plan_trial(7, number) for number in range(1, 201)]


def test_number_of_a_seed_is_always_the_same_cut() -> None:
    assert plan_trial(7, 17) == TRIALS[16]
    assert plan_trial(8, 17) != TRIALS[16]


def test_instants_are_spread_over_the_update_and_a_little_more() -> None:
    twentieths = Counter(int(trial.fraction * 20) for trial in TRIALS)
    assert sorted(twentieths) == list(range(22))
    assert all(5 <= twentieths[number] <= 14 for number in range(21))
    few = Counter(int(trial.fraction * 2) for trial in TRIALS[:5])
    assert few[0] >= 2
    assert few[1] >= 2


def test_power_comes_back_in_every_way_and_each_fifth_time_without_caissond() -> None:
    assert {(trial.way, trial.good) for trial in TRIALS} == {
        (way, good) for way in Way for good in (True, False)
    }
    alone = [trial.number for trial in TRIALS if trial.back is Return.NO_CAISSON]
    assert alone == list(range(5, 201, 5))
    others = Counter(trial.back for trial in TRIALS)
    assert min(others[Return.STICK_IN], others[Return.STICK_LATER]) >= 20
    assert {trial.back for trial in TRIALS if trial.way is Way.INBOX} == {Return.NOTHING, Return.NO_CAISSON}
