"""Caisson updates predefined Docker services on devices that have no network."""

__version__ = "1.0.0"
