"""New files on the release engineer's disk: whole and synced under their name, or not there at all.

Everything temporary stands in one folder beside the output, so that the last step is a rename.
"""

import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from caissond.errors import CaissonError, Refusal
from caissond.package.staging import EXTENSION


@contextmanager
def workshop(output: Path) -> Iterator[Path]:
    """A new private folder beside the output, gone at the end whatever happened.

    Raises:
        Refusal: `package.invalid_extension`, `package.not_a_file`; the output could never be put there.
        CaissonError: `build.cannot_write`.
    """
    _check_output(output)
    folder = output.parent / f".{output.stem}-{secrets.token_hex(4)}.tmp"
    with _writing(output):
        folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def put_in_place(finished: Path, output: Path) -> None:
    """Sync a finished file and give it its name, in place of what had it before. It may then be read by whom the
    umask lets.

    Raises:
        CaissonError: `build.cannot_write`.
    """
    with _writing(output):
        finished.chmod(0o666 & ~_umask())
        _sync(finished, os.O_RDONLY)
        finished.replace(output)
        with suppress(PermissionError):  # a folder that one may write to but not read
            _sync(output.parent, os.O_RDONLY | os.O_DIRECTORY)


def _check_output(output: Path) -> None:
    if output.suffix != EXTENSION:
        raise Refusal(
            f"cannot write {str(output)!r}, expected a name that ends in {EXTENSION}",
            code="package.invalid_extension",
        )
    with _writing(output):
        if os.path.lexists(output) and not stat.S_ISREG(output.lstat().st_mode):
            raise Refusal(
                f"cannot write {str(output)!r}, something else has its name", code="package.not_a_file"
            )


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise CaissonError(f"cannot write {str(path)!r}: {exc.strerror}", code="build.cannot_write") from exc
