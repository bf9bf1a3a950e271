"""The outside world of Docker."""
