"""What a unit's sandbox forbids, laid on a process that there is no systemd for: the system calls (systemd.exec(5)).

python -m tests.docker.sandbox UNIT COMMAND...      runs the command under it
"""

import ctypes
import os
import subprocess
import sys
from errno import EPERM
from functools import cache
from pathlib import Path

_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | EPERM
_MASKED_EQUAL, _EQUAL = 7, 4
"""libseccomp: seccomp.h."""
_WRITE, _EXECUTE = 2, 4
_FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}
_NO_NEW_PRIVILEGES = 38


class _Argument(ctypes.Structure):
    _fields_ = (
        ("number", ctypes.c_uint),
        ("operation", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


def confine(unit: Path) -> None:
    """Allow this process and its children only what SystemCallFilter, RestrictAddressFamilies and
    MemoryDenyWriteExecute of the unit leave.
    """
    settings = _settings(unit)
    assert ("MemoryDenyWriteExecute", "yes") in settings
    families = next(value for key, value in settings if key == "RestrictAddressFamilies").split()
    rules = [(call, None) for call in _allowed(settings) - {"mmap", "mprotect", "pkey_mprotect", "socket"}]
    writes_or_runs = [(2, _MASKED_EQUAL, _WRITE | _EXECUTE, value) for value in (0, _WRITE, _EXECUTE)]
    _load(
        [
            *rules,
            *(("mmap", argument) for argument in writes_or_runs),
            *((call, (2, _MASKED_EQUAL, _EXECUTE, 0)) for call in ("mprotect", "pkey_mprotect")),
            *(("socket", (0, _EQUAL, _FAMILIES[family], 0)) for family in families),
        ]
    )


def _settings(unit: Path) -> list[tuple[str, str]]:
    lines = (line.partition("=") for line in unit.read_text().splitlines())
    return [(key, value) for key, _, value in lines if not key.startswith("#")]


def _allowed(settings: list[tuple[str, str]]) -> set[str]:
    allowed = set(_calls("@default"))
    for value in (value for key, value in settings if key == "SystemCallFilter"):
        named = set().union(*(_calls(name) for name in value.removeprefix("~").split()))
        allowed = allowed - named if value.startswith("~") else allowed | named
    return allowed | _calls("@default")


@cache
def _calls(name: str) -> frozenset[str]:
    """The system calls of a group of systemd's."""
    if not name.startswith("@"):
        return frozenset({name})
    command = ["systemd-analyze", "syscall-filter", "--no-pager", name]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[1:]
    names = (line.strip() for line in lines)
    return frozenset().union(*(_calls(name) for name in names if name and not name.startswith("#")))


def _load(rules: list[tuple[str, tuple[int, int, int, int] | None]]) -> None:
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(_REFUSE)))
    for call, argument in rules:
        number = library.seccomp_syscall_resolve_name(call.encode())
        if number >= 0:  # what another architecture calls something
            arguments = (_Argument * 1)(_Argument(*argument)) if argument else None
            library.seccomp_rule_add_array(
                context, ctypes.c_uint32(_ALLOW), number, 1 if argument else 0, arguments
            )
    assert ctypes.CDLL(None).prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
    assert library.seccomp_load(context) == 0


if __name__ == "__main__":
    confine(Path(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
