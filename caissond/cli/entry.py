"""The entry point `caisson`: as little as possible, so that Ctrl-C while the rest is imported is no traceback."""

import sys


def main() -> None:
    """Run the command line, and end the process with its exit code."""
    try:
        from caissond.cli.app import run
    except KeyboardInterrupt:
        print("Cancelled.", file=sys.stderr)
        sys.exit(3)
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError as exc:
        sys.stdout = None  # or Python tries once more, and complains
        if code == 0:
            sys.exit(f"error: cannot write the answer: {exc.strerror}")
    sys.exit(code)
