"""The members of format 2: what people's tars write is read, and everything has its one place and spelling."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caissond.errors import CaissonError, Truncated
from caissond.package.layout import begins_as_format_2, read_layout
from caissond.package.source import Window
from caissond.package.validate import read_package
from fixtures.raw_package import END, MANIFEST, archive, entry, package
from fixtures.raw_package_2 import entries_of, members_2, package_2, packed
from tests.unit.package.reading import code_of, error_of, opened, read_content

MEMBERS = members_2()
ENTRIES = entries_of(MEMBERS)
FRONT = ["manifest.toml", "manifest.toml.sig", "oci-layout", "index.json"]


def without(*names: str) -> dict[str, bytes]:
    return {name: content for name, content in MEMBERS.items() if name not in names}


def begins(content: bytes) -> bool:
    return begins_as_format_2(io.BytesIO(content), Window(0, len(content)))


def layout_code(content: bytes) -> str | None:
    """The code that the members alone are refused with; None where they are taken."""
    error = error_of(lambda: read_layout(io.BytesIO(content), Window(0, len(content))))
    return error.code if error else None


def test_members_come_in_order_with_manifest_and_signatures_as_they_stand() -> None:
    package, _ = read_content(packed(MEMBERS))
    assert list(package.members) == [*FRONT, *(name for name in MEMBERS if name.startswith("blobs/"))]
    assert package.manifest_bytes == MEMBERS["manifest.toml"]
    assert package.signatures == MEMBERS["manifest.toml.sig"]


def test_unsigned_package_has_no_signatures_member() -> None:
    package, _ = read_content(package_2(signatures=b""))
    assert "manifest.toml.sig" not in package.members
    assert package.signatures == b""


def test_package_packed_by_hand_with_gnu_tar_is_read(tmp_path: Path) -> None:
    for name, content in MEMBERS.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    command = ["tar", "-cf", "x.edgepkg", "--format=ustar", *MEMBERS]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert code_of((tmp_path / "x.edgepkg").read_bytes()) == ""


def test_package_packed_with_pythons_tarfile_is_read() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in MEMBERS.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.uname = len(content), 1_700_000_000, "root"
            tar.addfile(member, io.BytesIO(content))
    assert code_of(buffer.getvalue()) == ""


@pytest.mark.parametrize(
    ("format", "code"),
    [
        (tarfile.GNU_FORMAT, "archive.not_ustar"),
        (tarfile.PAX_FORMAT, "archive.nested_entry"),  # it does not begin with its manifest
    ],
)
def test_gnu_and_pax_headers_are_refused(format: int, code: str) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        for name, content in MEMBERS.items():
            member = tarfile.TarInfo(name)
            member.size, member.pax_headers = len(content), {"mtime": "1.5"}
            tar.addfile(member, io.BytesIO(content))
    assert code_of(buffer.getvalue()) == code


def test_zeros_behind_the_end_are_padding() -> None:
    assert code_of(packed(MEMBERS) + bytes(9999)) == ""


@pytest.mark.parametrize("missing", ["oci-layout", "index.json"])
def test_package_without_its_layout_is_refused(missing: str) -> None:
    assert code_of(packed(without(missing))) == "archive.missing_layout"


@pytest.mark.parametrize("first", range(1, len(ENTRIES)))
def test_two_members_that_changed_places_are_refused(first: int) -> None:
    swapped = list(ENTRIES)
    swapped[first - 1 : first + 1] = swapped[first], swapped[first - 1]
    if first == 1:  # then its second entry is not at the root, for who reads it as format 1
        assert code_of(archive(*swapped)) == "archive.nested_entry"
    else:
        assert code_of(archive(*swapped)) == "archive.wrong_order"


@pytest.mark.parametrize("place", range(1, len(ENTRIES) + 1))
def test_surplus_member_is_refused_wherever_it_stands(place: int) -> None:
    surplus = archive(*ENTRIES[:place], entry("README"), *ENTRIES[place:])
    assert code_of(surplus) == "archive.unexpected_entry"


@pytest.mark.parametrize("place", range(1, len(ENTRIES)))
def test_byte_between_two_members_is_refused(place: int) -> None:
    dirty = list(ENTRIES)
    if not dirty[place].endswith(b"\0"):
        pytest.fail("the sample's member fills its block")
    dirty[place] = dirty[place][:-1] + b"\1"
    assert code_of(archive(*dirty)) == "archive.dirty_padding"


@pytest.mark.parametrize("version", ["2", "2  # a comment", "0x2", "0b10"])
def test_manifest_that_says_2_begins_format_2(version: str) -> None:
    assert begins(archive(entry("manifest.toml", f"format_version = {version}".encode())))


@pytest.mark.parametrize("text", [MANIFEST, b"format_version = '1'", b""])
def test_format_1_does_not_begin_format_2(text: bytes) -> None:
    assert not begins(package(manifest=text))


def test_manifest_that_cannot_be_read_is_told_from_what_stands_behind_it() -> None:
    broken = {**MEMBERS, "manifest.toml": b"format_version = "}
    assert begins(packed(broken))
    assert begins(packed({name: broken[name] for name in broken if not name.endswith(".sig")}))
    assert code_of(packed(broken)) == "manifest.parse_failed"


@pytest.mark.parametrize("version", ["3", '"2"', "-2", "99999999999999999999"])
def test_format_to_come_is_told_as_such(version: str) -> None:
    manifest = MEMBERS["manifest.toml"].replace(b"format_version = 2", f"format_version = {version}".encode())
    assert code_of(package_2(manifest=manifest)) == "manifest.unsupported_format_version"


def test_format_2_in_a_package_of_format_1s_shape_is_refused() -> None:
    assert code_of(package(manifest=MEMBERS["manifest.toml"])) == "archive.unexpected_entry"
    behind = archive(entry("image.tar", b"x"), entry("manifest.toml", MEMBERS["manifest.toml"]))
    assert code_of(behind) == "archive.wrong_order"


@pytest.mark.parametrize("now", [archive(), packed(without("manifest.toml")), packed(MEMBERS)[:-1024]])
def test_file_that_changed_after_the_first_look_is_refused(now: bytes) -> None:
    assert layout_code(now) in {"archive.missing_layout", "archive.missing_manifest", "archive.truncated"}


def test_file_that_became_format_1_after_the_first_look_is_refused() -> None:
    class Changing(io.FileIO):
        """The manifest says 2 when it is read for the first time, and 1 from then on."""

        reads = 0

        def read(self, size: int | None = -1, /) -> bytes:
            at, content = self.tell(), super().read(size) or b""
            self.reads += at == 512
            return MANIFEST.ljust(len(content), b"\n") if at == 512 and self.reads > 1 else content

    with opened(packed(MEMBERS)) as source:
        changing = Changing(source.fileno(), "rb", closefd=False)
        with pytest.raises(CaissonError) as caught:
            read_package(changing)
    assert caught.value.code == "package.changed"


@pytest.mark.parametrize("size_bytes", range(0, len(packed(MEMBERS)), 512))
def test_package_cut_at_any_block_is_truncated_never_invalid(size_bytes: int) -> None:
    with opened(packed(MEMBERS)[:size_bytes]) as source, pytest.raises(Truncated):
        read_package(source)


def test_package_cut_at_any_byte_of_its_first_pages_is_truncated() -> None:
    with opened(packed(MEMBERS)) as source:
        for size_bytes in range(4096, -1, -1):
            source.truncate(size_bytes)
            with pytest.raises(Truncated):
                read_package(source)


@given(st.permutations(range(len(ENTRIES))))
def test_no_order_but_the_one_is_accepted(order: list[int]) -> None:
    accepted = code_of(archive(*(ENTRIES[number] for number in order))) == ""
    assert accepted == (order == sorted(order))


@given(st.binary(max_size=2048))
def test_any_bytes_behind_a_good_beginning_raise_nothing_but_refusals(tail: bytes) -> None:
    assert code_of(ENTRIES[0] + tail) != ""
    assert code_of(b"".join(ENTRIES) + tail + END) in {
        "", "archive.entry_read_failed", "archive.trailing_data", "archive.truncated", "archive.invalid_entry_size",
        "archive.unsafe_entry_type", "archive.not_ustar", "archive.unexpected_entry",
    }  # fmt: skip
