"""Hints: something may have come, look. Many sources hint, one worker waits; a hint given twice is one hint."""

import threading


class Hints:
    """A signal that gathers its reasons until somebody takes them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._reasons: set[str] = set()
        self._closed = False

    def hint(self, reason: str) -> None:
        """Say that looking is worth it, and why. Never blocks."""
        with self._changed:
            self._reasons.add(reason)
            self._changed.notify_all()

    def wait(self, timeout_s: float | None) -> frozenset[str]:
        """Every reason given since the last call, as soon as there is one.

        Args:
            timeout_s: how long to wait for the first; None: for ever.

        Returns:
            Empty after the timeout, or when closed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._reasons or self._closed, timeout_s)
            taken = frozenset(self._reasons)
            self._reasons.clear()
            return taken

    def close(self) -> None:
        """Let nobody wait any more, now and later."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        with self._changed:
            return self._closed
