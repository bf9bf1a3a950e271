"""The hostile corpus: every fault is refused with its own code, cheaply, and with a sentence fit to be shown.

It is written to the disk and read in another process, as a whole, by what `caisson package validate` does.
"""

import os
import random
import tomllib
from pathlib import Path

import pytest

from caissond.model.events import EVENTS
from caissond.model.text import has_hidden
from caissond.update.device import Device
from caissond.update.examine import Examination, examine
from fixtures.hostile_trust import EXPIRED, SECOND, STRANGER
from fixtures.invalid import EXPECTED, entry_in, faults, write_corpus
from fixtures.raw_package import package
from fixtures.raw_package_2 import MAKER, members_2, package_2, packed
from fixtures.signatures import Key
from tests.unit.package.corpus_reader import Reading, open_roots, run

MOST_MEMORY_BYTES = 150 << 20
MOST_SECONDS = 10


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus") / "invalid"
    write_corpus(folder)
    return folder


@pytest.fixture(scope="module")
def readings(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Reading]:
    return run(corpus, tmp_path_factory.mktemp("roots"))


@pytest.fixture(scope="module")
def devices(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Device]:
    return open_roots(tmp_path_factory.mktemp("devices"))


@pytest.mark.parametrize("fault", faults())
def test_fault_is_refused_with_its_code(readings: dict[str, Reading], fault: str) -> None:
    reading = readings[fault]
    assert reading.raised == ""
    assert reading.codes[:1] == [faults()[fault].code] == [reading.expected]


@pytest.mark.parametrize("fault", faults())
def test_refusal_is_in_the_table_and_can_be_shown(readings: dict[str, Reading], fault: str) -> None:
    reading = readings[fault]
    assert EVENTS.keys() >= set(reading.codes)
    for message in reading.messages:
        assert message.startswith("cannot ")
        assert len(message) < 600
        assert not has_hidden(message)


@pytest.mark.parametrize("fault", faults())
def test_fault_costs_little_time_and_memory(readings: dict[str, Reading], fault: str) -> None:
    assert readings[fault].seconds < MOST_SECONDS
    assert readings[fault].peak_bytes < MOST_MEMORY_BYTES


def test_every_folder_of_the_corpus_holds_one_thing_and_says_what_to_expect(corpus: Path) -> None:
    folders = {folder.name: folder for folder in corpus.iterdir()}
    assert folders.keys() == faults().keys()
    for folder in folders.values():
        expected = tomllib.loads((folder / EXPECTED).read_text())
        assert expected.keys() == {"code", "why", "allow_unsigned", "required_signatures"}
        assert expected["code"] in EVENTS
        assert os.path.lexists(entry_in(folder))


class Reader:
    """A device of the corpus, and a file on its medium."""

    def __init__(self, device: Device, path: Path) -> None:
        self._device, self.path = device, path

    def __call__(self, content: bytes, *, allow_unsigned: bool = False) -> Examination:
        self.path.write_bytes(content)
        return self.look(allow_unsigned=allow_unsigned)

    def look(self, *, allow_unsigned: bool = False) -> Examination:
        return examine(self._device, self.path, allow_unsigned=allow_unsigned, every_byte=True)


@pytest.fixture
def look(devices: dict[int, Device], tmp_path: Path) -> Reader:
    return Reader(devices[1], tmp_path / "x.edgepkg")


def test_packages_without_a_fault_are_accepted(look: Reader) -> None:
    assert look(package_2()).problems == []
    assert look(package_2(signatures=b""), allow_unsigned=True).problems == []
    assert look(package(), allow_unsigned=True).problems == []


@pytest.mark.parametrize("key", [STRANGER, EXPIRED])
def test_signature_that_does_not_count_does_no_harm(look: Reader, key: Key) -> None:
    manifest = members_2()["manifest.toml"]
    other = key.sshsig(manifest)
    assert look(package_2(signatures=MAKER.sshsig(manifest) + other)).problems == []
    assert look(package_2(signatures=other), allow_unsigned=True).problems == []


def test_two_signatures_by_two_keys_are_enough_where_two_are_asked_for(
    devices: dict[int, Device], tmp_path: Path
) -> None:
    manifest = members_2()["manifest.toml"]
    signatures = MAKER.sshsig(manifest) + SECOND.sshsig(manifest)
    found = Reader(devices[2], tmp_path / "x.edgepkg")(package_2(signatures=signatures))
    assert [signature.principals for signature in found.signatures] == [
        "maker@example.org",
        "second@example.org",
    ]
    assert found.problems == []


def test_no_byte_of_a_signed_package_can_be_changed_by_one_bit(look: Reader) -> None:
    """Every byte, so every block, header, signature, manifest, layer, and the zeros in between; one bit of each."""
    good, chance = packed(members_2()), random.Random(2)
    assert look(good).problems == []
    accepted = []
    with look.path.open("r+b", buffering=0) as file:
        for position, byte in enumerate(good):
            bit = 1 << chance.randrange(8)
            os.pwrite(file.fileno(), bytes([byte ^ bit]), position)
            if not look.look().problems:
                accepted.append((position, bit))
            os.pwrite(file.fileno(), bytes([byte]), position)
    assert accepted == []
    assert look.look().problems == []
