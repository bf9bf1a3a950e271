"""Untrusted bytes: what a package holds, and whether it is what it says it is."""
