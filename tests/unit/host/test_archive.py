"""Docker gets an archive of our own making, with verified layers in it and not one name from the package."""

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caissond.errors import CaissonError
from caissond.host.archive import Content, write_archive
from caissond.host.loads import Load

TAG = "caisson.invalid/ingest:0123abcd-u"
CONFIG = b'{"the": "config"}'
CONFIG_NAME = f"{hashlib.sha256(CONFIG).hexdigest()}.json"


def members_of(layers: Sequence[bytes], *, known: int = 0) -> dict[str, bytes]:
    """What tar finds in the archive of these layers, of which some are known; all of it."""
    diff_ids = tuple(f"sha256:{number}" for number in range(known + len(layers)))
    contents = [Content(len(layer), [layer[:7], layer[7:]]) for layer in layers]
    archive = b"".join(write_archive(Load(CONFIG, diff_ids, known, is_last=True), contents, TAG))
    assert len(archive) % 512 == 0
    assert archive.endswith(bytes(1024))
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
        files = {member.name: tar.extractfile(member) for member in tar}
        return {name: file.read() for name, file in files.items() if file}


def manifest_of(members: dict[str, bytes]) -> dict[str, object]:
    (entry,) = json.loads(members["manifest.json"])
    assert isinstance(entry, dict)
    return entry


@given(st.lists(st.binary(max_size=2000), max_size=5))
def test_any_layers_come_out_as_they_went_in(layers: list[bytes]) -> None:
    assert list(members_of(layers).values())[1:-1] == layers


def test_names_are_made_from_digests_and_numbers_alone() -> None:
    assert list(members_of([b"a", b"b"])) == [CONFIG_NAME, "000-0.tar", "001-1.tar", "manifest.json"]


def test_one_image_is_named_with_one_tag() -> None:
    assert manifest_of(members_of([b"a"])) == {
        "Config": CONFIG_NAME,
        "RepoTags": [TAG],
        "Layers": ["000-0.tar"],
    }


def test_known_layers_are_named_and_not_there() -> None:
    members = members_of([b"a"], known=2)
    assert list(members) == [CONFIG_NAME, "002-2.tar", "manifest.json"]
    assert manifest_of(members)["Layers"] == ["000-0.tar", "001-1.tar", "002-2.tar"]


@pytest.mark.parametrize("said_bytes", [0, 4, 6, 600])
def test_layer_of_another_length_than_said_ends_the_archive(said_bytes: int) -> None:
    """What follows it would be read as something else."""
    load = Load(CONFIG, ("sha256:1",), 0, is_last=True)
    with pytest.raises(CaissonError) as caught:
        list(write_archive(load, [Content(said_bytes, [b"ab", b"cde"])], TAG))
    assert caught.value.code == "host.io_error"
