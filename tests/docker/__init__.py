"""Tests on a real Docker engine: as root a private one, else the running one."""
