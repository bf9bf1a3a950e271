"""What is remembered of packages on media: the same package does not get a second turn by being plugged in again.

Other settings, signers or another catalog may judge it otherwise, so under those it does. Remembered is what was
judged, by what of it was in memory then: what the medium gives when it is asked once more may be something else.
"""

import hashlib
from typing import BinaryIO

from caissond import __version__
from caissond.errors import Refusal, SourceGone, Stopping
from caissond.model.records import Verdict
from caissond.package.staging import hash_file
from caissond.package.validate import (
    Package,
    fingerprint,
    hash_if_damaged,
    identity_of,
    whole_window,
)
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


def identify(source: BinaryIO, package: Package | None) -> str:
    """What a package is told from others by; for a file that is none, a guess.

    Raises:
        SourceGone: the medium does not answer.
    """
    try:
        return identity_of(source, package) if package else fingerprint(source)
    except Refusal:
        return fingerprint(source)


class Handled:
    """The packages on media that had their turn."""

    def __init__(self, device: Device) -> None:
        self._device = device

    def had_its_turn(self, source: BinaryIO, identity: str) -> bool:
        """Whether this package was handled before. Only one of which a copy was damaged is read to the end.

        Raises:
            SourceGone: the medium does not answer.
        """
        seen = self._device.releases.handled(identity, terms=terms_of(self._device))
        return bool(seen) and ("" in seen or self._hash(source) in seen)

    def remember(self, source: BinaryIO, package: Package | None, identity: str, verdict: Verdict) -> None:
        """It had its turn; what cannot be read any more, or is found whole when read again, is not remembered."""
        sha256: str | None = ""
        if verdict.code.startswith(_MAY_BE_THIS_COPY):
            try:
                sha256 = self._hash_if_damaged(source, package)
            except (Refusal, SourceGone, Stopping):
                return
        if sha256 is not None:
            self._device.releases.remember_handled(
                identity, terms=terms_of(self._device), sha256=sha256, outcome=verdict.outcome
            )

    def _hash_if_damaged(self, source: BinaryIO, package: Package | None) -> str | None:
        if package is None or package.manifest.format_version == 1:
            return self._hash(source)
        return hash_if_damaged(source, package, self._progress(source))

    def _hash(self, source: BinaryIO) -> str:
        return hash_file(source, whole_window(source), self._progress(source))

    def _progress(self, source: BinaryIO) -> ByteProgress:
        return ByteProgress(self._device, "reading", whole_window(source).size_bytes)
