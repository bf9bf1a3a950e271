"""Hints: none is lost, a hundred are one, and closing lets everybody go."""

import threading
import time

from caissond.intake.queue import Hints


def test_hints_given_before_anybody_waits_are_not_lost() -> None:
    hints = Hints()
    hints.hint("inbox")
    hints.hint("media")
    hints.hint("inbox")
    assert hints.wait(0) == {"inbox", "media"}


def test_hint_is_taken_once() -> None:
    hints = Hints()
    hints.hint("inbox")
    hints.wait(0)
    assert hints.wait(0) == frozenset()


def test_hint_from_another_thread_ends_the_wait_at_once() -> None:
    hints = Hints()
    threading.Timer(0.05, hints.hint, ["media"]).start()
    assert hints.wait(None) == {"media"}


def test_wait_without_a_hint_ends_at_its_timeout() -> None:
    started = time.monotonic()
    assert Hints().wait(0.05) == frozenset()
    assert time.monotonic() - started >= 0.05


def test_close_ends_a_wait_and_every_later_one() -> None:
    hints = Hints()
    threading.Timer(0.05, hints.close).start()
    assert hints.wait(None) == frozenset()
    assert hints.wait(None) == frozenset()
    assert hints.closed


def test_hint_that_came_before_close_is_still_handed_out() -> None:
    hints = Hints()
    hints.hint("reload")
    hints.close()
    assert hints.wait(None) == {"reload"}
