"""Fuzzing of everything that reads bytes from outside: `./dev fuzz 60`."""
