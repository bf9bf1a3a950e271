"""The command line, run in this process on a root of its own; Docker is out of reach."""
