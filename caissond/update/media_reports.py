"""What is left on media: receipts of the packages that came on them, and the inventory that a medium asks for.

Nothing of it ever changes a verdict. A medium that takes no receipt is told once, and not written to again until it is
plugged in anew.
"""

import os
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from caissond.errors import CaissonError
from caissond.model.records import Outcome, Verdict
from caissond.report.inventory import inventory_json, inventory_text, says_the_same
from caissond.report.receipts import receipt_json, receipt_stem, receipt_text
from caissond.report.stick import ANSWER_S, MAX_FILE_BYTES, MAX_FILES, Delivery, Outside, deliver, device_at
from caissond.report.stick_files import host_folder, read_ours
from caissond.update.conclude import has_receipt
from caissond.update.device import Device
from caissond.update.inventory import take_inventory

REQUESTS = ("caisson-inventory", "caisson-inventory.txt")
"""The second is what Windows makes of a new text document."""

MARGIN_S = 30.0
"""For starting the program, and putting the medium back when that hangs."""
_TOGETHER = MAX_FILES // 2
_NONE = "no receipt on the stick"
_CHANGED_NOTHING = frozenset({Outcome.REFUSED, Outcome.SKIPPED, Outcome.NOTHING_TO_DO})


def asks_for_inventory(place: Path) -> bool:
    """Whether the medium wants to know what this device has."""
    return any(os.path.lexists(place / name) for name in REQUESTS)


class MediaReports:
    """What is to be left on the media that are there. For one thread."""

    def __init__(self, device: Device, left_in: Iterable[Path] = ()) -> None:
        """
        Args:
            left_in: media that are there already, and may have been told everything before a restart.
        """
        self._device = device
        self._left_in = set(left_in)
        self._verdicts: dict[Path, list[Verdict]] = {}
        self._answered: set[Path] = set()
        self._failed: set[Path] = set()

    def forget(self, place: Path) -> None:
        """It went away."""
        self._answered.discard(place)
        self._left_in.discard(place)
        self._failed.discard(place)
        self._verdicts.pop(place, None)

    def owes(self, place: Path) -> bool:
        """Whether something may have to be written to the medium yet."""
        return self._device.settings.media.receipts or self._owes_inventory(place)

    def add(self, place: Path, verdict: Verdict) -> None:
        """A package from there had its turn."""
        if self._device.settings.media.receipts and has_receipt(verdict):
            self._verdicts.setdefault(place, []).append(verdict)

    def is_due(self, place: Path) -> bool:
        """An update is written down at once; what changed nothing, together."""
        waiting = self._verdicts.get(place, [])
        return len(waiting) >= _TOGETHER or any(
            verdict.outcome not in _CHANGED_NOTHING for verdict in waiting
        )

    def give_up(self, place: Path) -> None:
        """It was pulled out before its receipts were written."""
        if self._verdicts.pop(place, []) and place not in self._failed:
            self._failed.add(place)
            self._tell("media.receipt_failed", place, f"{_NONE}: it was removed")

    def write_receipts(self, place: Path, sequence: str) -> None:
        """Write those that wait.

        Args:
            sequence: what tells the medium that they came on from another one; empty where that is not known.
        """
        verdicts, host = self._verdicts.pop(place, []), socket.gethostname()
        files: dict[str, str] = {}
        for verdict in verdicts:
            stem = receipt_stem(verdict)
            files[f"{stem}.txt"] = receipt_text(verdict, device=host)
            files[f"{stem}.json"] = receipt_json(verdict, device=host)
        what = "the receipt is" if len(verdicts) == 1 else f"{len(verdicts)} receipts are"
        if files and self._deliver(place, sequence, files):
            self._tell("media.receipt", place, f"{what} in {_folder_words(host)}")

    def write_inventory(self, place: Path, sequence: str) -> bool:
        """Write the inventory, where it is asked for and is not there yet; whether it was asked for.

        Args:
            sequence: as for receipts.
        """
        if not self._owes_inventory(place):
            return False
        self._answered.add(place)
        inventory, host = take_inventory(self._device), socket.gethostname()
        files = {"inventory.txt": inventory_text(inventory), "inventory.json": inventory_json(inventory)}
        if place in self._left_in and _has_it_already(place, host, files["inventory.json"]):
            return True
        if self._deliver(place, sequence, files):
            self._tell("media.inventory", place, f"the inventory is in {_folder_words(host)}")
        return True

    def _owes_inventory(self, place: Path) -> bool:
        return place not in self._answered and asks_for_inventory(place)

    def _deliver(self, place: Path, sequence: str, files: Mapping[str, str]) -> bool:
        if place in self._failed:
            return False
        paths = self._device.paths
        self._device.beat(ANSWER_S + MARGIN_S)
        try:
            deliver(
                Delivery(place, socket.gethostname(), files, _device_at(place), sequence),
                Outside(paths.stick_socket, paths.media, paths.config),
            )
        except CaissonError as exc:
            self._failed.add(place)
            self._tell(exc.code, place, f"{_NONE}: {exc.message}")
            return False
        return True

    def _tell(self, code: str, place: Path, text: str) -> None:
        self._device.bus.tell(code, f"{place.name}: {text}", medium=place.name)


def _device_at(place: Path) -> str:
    """Its filesystem; of one that is gone `caisson-stick` says so."""
    with suppress(OSError):
        return device_at(place)
    return ""


def _has_it_already(place: Path, host: str, inventory: str) -> bool:
    with suppress(OSError, ValueError):
        there = read_ours(place, host, "inventory.json", limit_bytes=MAX_FILE_BYTES)
        return says_the_same(there.decode(), inventory)
    return False


def _folder_words(host: str) -> str:
    return f"caisson-receipts/{host_folder(host)}"
