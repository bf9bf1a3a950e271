"""What is remembered of packages on media: the same file does not get a second turn by being plugged in again.

Other settings or another catalog may judge it otherwise, so under those it does.
"""

import hashlib
from pathlib import Path
from typing import BinaryIO

from caissond import __version__
from caissond.errors import Refusal, SourceGone, Stopping
from caissond.model.records import Outcome
from caissond.package.staging import hash_file, open_regular
from caissond.package.validate import fingerprint, whole_window
from caissond.update.device import ByteProgress, Device


def has_signers(device: Device) -> bool:
    """Whether this device has been told whom to trust."""
    try:
        lines = device.paths.allowed_signers.read_text(errors="replace").splitlines()
    except OSError:
        return False
    return any(line.strip() and not line.lstrip().startswith("#") for line in lines)


def terms_of(device: Device) -> str:
    """A digest of what packages are judged by, besides themselves."""
    judged_by = (__version__, device.settings.trust, has_signers(device), device.catalog.model_dump_json())
    return hashlib.sha256(repr(judged_by).encode()).hexdigest()[:16]


class Handled:
    """The packages on media that had their turn."""

    def __init__(self, device: Device) -> None:
        self._device = device

    def had_its_turn(self, path: Path) -> bool:
        """Whether this very content was handled before. Only a file that looks like one is read to the end.

        Raises:
            Refusal: it cannot be opened.
            SourceGone: the medium does not answer.
        """
        with open_regular(path) as source:
            guess, terms = fingerprint(source), terms_of(self._device)
            if not self._device.releases.maybe_handled(guess, terms=terms):
                return False
            return self._device.releases.handled(self._hash(source), terms=terms)

    def remember(self, path: Path, sha256: str, outcome: Outcome) -> None:
        """It had its turn; what cannot be read any more is not remembered.

        Args:
            sha256: of the whole file; empty when it was not read to the end yet.
        """
        try:
            with open_regular(path) as source:
                digest, guess = sha256 or self._hash(source), fingerprint(source)
        except (Refusal, SourceGone, Stopping):
            return
        self._device.releases.remember_handled(
            digest, terms=terms_of(self._device), fingerprint=guess, outcome=outcome
        )

    def _hash(self, source: BinaryIO) -> str:
        window = whole_window(source)
        return hash_file(source, window, ByteProgress(self._device, "reading", window.size_bytes))
