"""What is remembered of packages on media: the same package does not get a second turn by being plugged in again.

Other settings, signers or another catalog may judge it otherwise, so under those it does.
"""

import hashlib
from pathlib import Path
from typing import BinaryIO

from caissond import __version__
from caissond.errors import Refusal, SourceGone, Stopping
from caissond.model.records import Verdict
from caissond.package.staging import hash_file, open_regular
from caissond.package.validate import fingerprint, identity_of, read_package, whole_window
from caissond.update.device import ByteProgress, Device
from caissond.update.trusting import read_trust_files

_MAY_BE_THIS_COPY = ("archive.", "image.")
"""Refusals that another copy of the same package may not deserve: this one may be damaged."""


def terms_of(device: Device) -> str:
    """A digest of what packages are judged by, besides themselves."""
    judged_by = (
        __version__,
        device.settings.trust,
        device.settings.device,
        read_trust_files(device.paths),
        device.catalog.model_dump_json(),
    )
    return hashlib.sha256(repr(judged_by).encode()).hexdigest()[:16]


class Handled:
    """The packages on media that had their turn."""

    def __init__(self, device: Device) -> None:
        self._device = device

    def had_its_turn(self, path: Path) -> bool:
        """Whether this package was handled before. Only one of which a copy was damaged is read to the end.

        Raises:
            Refusal: it cannot be opened.
            SourceGone: the medium does not answer.
        """
        with open_regular(path) as source:
            seen = self._device.releases.handled(_identity(source), terms=terms_of(self._device))
            return bool(seen) and ("" in seen or self._hash(source) in seen)

    def remember(self, path: Path, verdict: Verdict) -> None:
        """It had its turn; what cannot be read any more is not remembered."""
        try:
            with open_regular(path) as source:
                only_this_copy = verdict.code.startswith(_MAY_BE_THIS_COPY)
                identity, sha256 = _identity(source), self._hash(source) if only_this_copy else ""
        except (Refusal, SourceGone, Stopping):
            return
        terms = terms_of(self._device)
        self._device.releases.remember_handled(identity, terms=terms, sha256=sha256, outcome=verdict.outcome)

    def _hash(self, source: BinaryIO) -> str:
        window = whole_window(source)
        return hash_file(source, window, ByteProgress(self._device, "reading", window.size_bytes))


def _identity(source: BinaryIO) -> str:
    try:
        return identity_of(source, read_package(source))
    except Refusal:
        return fingerprint(source)
