"""Which hooks a device has: the executables in `/etc/caisson/hooks.d`, in the order of their names.

A hook runs as root and outside the daemon's sandbox, so only root's own files count, in a folder of root's own. Nothing
but the standard library is imported here: each event starts a process of its own (`report.hook_unit`).
"""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_LEFT_BY_PROGRAMS = re.compile(r".*\.(bak|old|orig|rej|new|swp|tmp|save|dpkg-.*|rpm(save|new|orig)|ucf-.*)")
_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class HookFiles:
    """What is in the folder."""

    hooks: tuple[Path, ...] = ()
    ignored: tuple[tuple[str, str], ...] = ()
    """Path and reason of what looks like a hook and is not run."""


def find_hooks(folder: Path) -> HookFiles:
    """The hooks that are to be run. What is hidden, a backup or not executable is none, and is not spoken of."""
    problem = _problem_with(folder, is_folder=True)
    if problem is not None:
        return HookFiles(ignored=((str(folder), problem),) if problem else ())
    problems = [(path, _problem_with(path, is_folder=False)) for path in _named_like_hooks(folder)]
    return HookFiles(
        hooks=tuple(path for path, problem in problems if problem is None),
        ignored=tuple((str(path), problem) for path, problem in problems if problem),
    )


def _named_like_hooks(folder: Path) -> Iterator[Path]:
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 (names, also of what is not there any more)
    except OSError:
        return
    for name in names:
        if _NAME.fullmatch(name) and not _LEFT_BY_PROGRAMS.fullmatch(name):
            yield folder / name


def _problem_with(path: Path, *, is_folder: bool) -> str | None:
    """Why it is not used; an empty text when nobody has to be told."""
    try:
        found = path.lstat()
    except OSError:
        return ""
    if not stat.S_IXUSR & found.st_mode:
        return ""
    wanted = stat.S_ISDIR if is_folder else stat.S_ISREG
    if not wanted(found.st_mode):
        return "" if stat.S_ISDIR(found.st_mode) else "it is a link or a special file"
    if found.st_uid not in (0, os.geteuid()):
        return "it does not belong to root"
    return "others than root may write to it" if found.st_mode & _BY_OTHERS else None
