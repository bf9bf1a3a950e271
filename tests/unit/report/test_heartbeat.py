"""The pulse: a working or waiting worker is alive, a silent one is not."""

from caissond.report.heartbeat import Heartbeat


def heartbeat_at(now: float) -> Heartbeat:
    return Heartbeat(clock=lambda: now)


def test_new_worker_is_alive() -> None:
    assert heartbeat_at(0).alive(1e9, 30)


def test_silent_worker_is_dead_after_the_limit() -> None:
    pulse = heartbeat_at(100)
    pulse.beat()
    assert pulse.alive(130, 30)
    assert not pulse.alive(130.1, 30)


def test_announced_silence_does_not_count() -> None:
    pulse = heartbeat_at(100)
    pulse.beat(600)
    assert pulse.alive(730, 30)
    assert not pulse.alive(730.1, 30)


def test_waiting_worker_may_be_silent_for_ever() -> None:
    pulse = heartbeat_at(100)
    pulse.beat()
    pulse.idle()
    assert pulse.alive(1e9, 30)


def test_next_sign_of_life_ends_an_announced_silence() -> None:
    pulse = heartbeat_at(100)
    pulse.beat(600)
    pulse.beat()
    assert not pulse.alive(200, 30)
