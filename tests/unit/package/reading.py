"""A package's bytes as an open file, read from end to end as `caisson package validate` does, but for the device."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from caissond.errors import CaissonError
from caissond.package.image import Image
from caissond.package.validate import Package, check_layout, check_targets, read_package

LIMIT_BYTES = 64 << 20


@contextmanager
def opened(content: bytes) -> Iterator[BinaryIO]:
    """A file in memory with this content."""
    with os.fdopen(os.memfd_create("package"), "r+b", buffering=0) as file:
        file.write(content)
        yield file


def read_whole(source: BinaryIO, limit_bytes: int = LIMIT_BYTES) -> tuple[Package, tuple[Image, ...]]:
    """Everything but signatures and this device's own wishes."""
    package = read_package(source)
    check_layout(source, package)
    return package, check_targets(source, package, limit_bytes=limit_bytes, progress=lambda _: None)


def read_content(content: bytes) -> tuple[Package, tuple[Image, ...]]:
    with opened(content) as source:
        return read_whole(source)


def error_of(action: Callable[[], object]) -> CaissonError | None:
    """What the action raises on purpose; None where it does not."""
    try:
        action()
    except CaissonError as exc:
        return exc
    return None


def code_of(content: bytes) -> str:
    """The code of the refusal; empty for what is accepted."""
    error = error_of(lambda: read_content(content))
    return error.code if error else ""
