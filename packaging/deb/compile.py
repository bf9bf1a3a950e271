"""Compiles all modules of the installed Caisson: what postinst runs, with the interpreter that will use them.

A power cut must not leave a compiled file with a good head and a bad body, which Python would trust. So all of them are
written beside their places and synced before the first gets its name.
"""

import os
import sys
from importlib.util import MAGIC_NUMBER, cache_from_source
from marshal import dumps
from pathlib import Path

SUFFIX = ".new"


def compiled(source: Path) -> bytes:
    """What Python would write itself: PEP 3147, with the source's time and size (PEP 552)."""
    status = source.stat()
    code = compile(source.read_bytes(), str(source), "exec", dont_inherit=True)
    stamp = b"".join(number.to_bytes(4, "little") for number in (0, int(status.st_mtime), status.st_size))
    return MAGIC_NUMBER + stamp + dumps(code)


def compile_tree(folder: Path) -> None:
    """A module that does not compile is named and left as it is: who imports it gets to know, and no other is slower.

    Raises:
        OSError: no room.
    """
    places = []
    for source in sorted(folder.rglob("*.py")):
        try:
            content = compiled(source)
        except (SyntaxError, ValueError) as exc:  # ValueError: a null byte, before Python 3.12
            print(f"cannot compile {source}: {exc}", file=sys.stderr)
            continue
        place = Path(cache_from_source(str(source)))
        place.parent.mkdir(exist_ok=True)
        place.with_suffix(SUFFIX).write_bytes(content)
        places.append(place)
    os.sync()
    for place in places:
        place.with_suffix(SUFFIX).rename(place)


if __name__ == "__main__":
    os.umask(0o022)
    compile_tree(Path(sys.argv[1]))
