"""Caisson updates predefined Docker services on devices that have no network."""

from datetime import UTC, datetime

__version__ = "1.0.0"
BUILD_DATE = datetime(2026, 11, 21, tzinfo=UTC)
"""No clock that says an earlier time is believed. Moved on with every release."""
