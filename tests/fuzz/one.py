"""One target under atheris: `python -m tests.fuzz.one TARGET [libFuzzer's options]`."""

import sys

import atheris

with atheris.instrument_imports(include=["caissond", "tomllib", "json"]):
    from tests.fuzz.targets import targets, try_target


def main() -> None:
    target = targets()[sys.argv[1]]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], lambda content: try_target(target, content))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
