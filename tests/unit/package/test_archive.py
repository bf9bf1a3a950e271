"""The tar walk: what it takes from every tar writer of the field, and what it says of files cut or changed."""

import errno
import io
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caissond.errors import CaissonError, Refusal, SourceGone, Truncated
from caissond.package.archive import Member, MemberKind, Profile, Window, is_whole, read_members, read_small
from fixtures.raw_package import BLOCK, END, USTAR, archive, entry, package, pax, record

GOOD = package()


def read_package(source: BinaryIO, window: Window) -> tuple[Member, ...]:
    return read_members(source, window, Profile.PACKAGE)


def members_of(content: bytes, profile: Profile = Profile.PACKAGE) -> tuple[Member, ...]:
    return read_members(io.BytesIO(content), Window(0, len(content)), profile)


def whole(content: bytes) -> bool:
    return is_whole(io.BytesIO(content), Window(0, len(content)))


def code_of(content: bytes, profile: Profile = Profile.PACKAGE) -> str:
    """The code of the refusal; empty for what is accepted."""
    try:
        members_of(content, profile)
    except CaissonError as exc:
        return exc.code
    return ""


def written_by_tarfile(files: dict[str, bytes], format: int, mtime: float = 0.0) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(content), int(mtime)
            member.pax_headers = {"mtime": str(mtime)} if format == tarfile.PAX_FORMAT else {}
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


class CountingSource(io.BytesIO):
    """Zeros for ever behind its content, as a sparse file has them; counts what is read."""

    bytes_read = 0

    def read(self, size: int | None = -1, /) -> bytes:
        content = super().read(size)
        self.bytes_read += len(content)
        return content


class FailingSource(io.BytesIO):
    """A stick that was pulled out: the first `good` bytes are still in the page cache."""

    def __init__(self, content: bytes, good: int, number: int) -> None:
        super().__init__(content)
        self.good, self.number = good, number

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() >= self.good:
            raise OSError(self.number, "gone")
        return super().read(size)


def test_members_of_a_package_come_in_order_with_their_offsets() -> None:
    manifest, image = members_of(GOOD)
    assert (manifest.name, manifest.kind, manifest.offset) == ("manifest.toml", MemberKind.FILE, BLOCK)
    assert GOOD[image.offset :].startswith(b"layer.tar\0")
    assert image.window == Window(image.offset, image.size_bytes)


def test_other_entries_at_the_root_are_listed_and_harmless() -> None:
    assert [member.name for member in members_of(package(entry("LIESMICH", b"x")))][2:] == ["LIESMICH"]


def test_window_inside_a_larger_file_is_read_in_its_place() -> None:
    content = b"x" * 777 + GOOD + b"y" * 5000
    found = read_members(io.BytesIO(content), Window(777, len(GOOD)), Profile.PACKAGE)
    assert [member.offset - 777 for member in found] == [member.offset for member in members_of(GOOD)]


def test_walk_reads_headers_only() -> None:
    source = CountingSource(package(image=bytes(20 << 20)))
    read_members(source, Window(0, len(source.getvalue())), Profile.PACKAGE)
    assert source.bytes_read == 4 * BLOCK


def test_image_of_10_gib_is_walked_without_reading_it(tmp_path: Path) -> None:
    size = 10 << 30
    head = entry("manifest.toml") + entry("image.tar", size=b"\x80\0\0\0" + size.to_bytes(8, "big"))
    with (tmp_path / "large").open("w+b") as file:
        file.write(head)
        file.truncate(len(head) + size + len(END))
        found = read_members(file, Window(0, len(head) + size + len(END)), Profile.PACKAGE)
    assert found[1].size_bytes == size


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@given(manifest=st.binary(max_size=2000), image=st.binary(min_size=1, max_size=2000), mtime=st.floats(0, 4e9))
def test_what_python_writes_is_read_as_python_reads_it(
    format: int, manifest: bytes, image: bytes, mtime: float
) -> None:
    files = {"manifest.toml": manifest, "image.tar": image, "notes": b""}
    content = written_by_tarfile(files, format, mtime)
    found = members_of(content)
    assert {one.name: content[one.offset : one.window.end] for one in found} == files
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        assert [(one.name, one.offset_data) for one in tar] == [(one.name, one.offset) for one in found]


@pytest.mark.parametrize("format", ["v7", "oldgnu", "gnu", "ustar", "posix"])
def test_what_gnu_tar_writes_is_accepted(format: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.toml").write_bytes(b"a" * 600)
    (tmp_path / "image.tar").write_bytes(b"b" * 20_000)
    tar = shutil.which("tar") or "tar"
    command = [tar, f"--format={format}", "-cf", "-", "manifest.toml", "image.tar"]
    content = subprocess.run(command, cwd=tmp_path, check=True, stdout=subprocess.PIPE).stdout
    found = {one.name: content[one.offset : one.window.end] for one in members_of(content)}
    assert found == {"manifest.toml": b"a" * 600, "image.tar": b"b" * 20_000}


def test_names_too_long_for_ustar_are_refused_from_gnu_and_pax_writers() -> None:
    for format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        assert code_of(written_by_tarfile({"a" * 150: b""}, format)) == "archive.unsafe_entry_type"


def test_ustar_prefix_is_part_of_a_name() -> None:
    long = "/".join(["d" * 60, "e" * 60, "f" * 60])
    content = written_by_tarfile({long: b"x"}, tarfile.USTAR_FORMAT)
    assert [member.name for member in members_of(content, Profile.IMAGE)] == [long]


def test_times_that_gnu_tar_keeps_in_the_prefix_field_are_no_name() -> None:
    old = entry("notes", magic=b"ustar  \0", prefix=b"14621436450\x0014621436450")
    assert [member.name for member in members_of(package(old))][2:] == ["notes"]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("notes/", ""),
        ("notes//", ""),
        ("notes/.", ""),
        (" ", ""),
        ("a\\b", ""),
        ("...", ""),
        ("", "archive.empty_entry_path"),
        (".", "archive.invalid_entry_path"),
        ("..", "archive.invalid_entry_path"),
        ("../", "archive.invalid_entry_path"),
        ("/", "archive.invalid_entry_path"),
        ("//", "archive.invalid_entry_path"),
        ("/.", "archive.invalid_entry_path"),
        ("./.", "archive.invalid_entry_path"),
        ("./a", "archive.nested_entry"),
        ("/a", "archive.nested_entry"),
        ("a/..", "archive.nested_entry"),
        ("../..", "archive.nested_entry"),
    ],
)
def test_names_are_taken_as_the_rust_tool_takes_them(name: str, code: str) -> None:
    assert code_of(package(entry(name))) == code


def test_checks_come_in_the_order_of_the_rust_tool() -> None:
    """Name before duplicate before type before size: each entry has all faults from its own on."""
    bad = b"not a size\0\0"
    assert code_of(package(entry("a/b", type=b"2", size=bad))) == "archive.nested_entry"
    assert code_of(package(entry("image.tar", type=b"2", size=bad))) == "archive.duplicate_entry"
    assert code_of(package(entry("notes", type=b"2", size=bad))) == "archive.unsafe_entry_type"
    assert code_of(package(entry("notes", size=bad))) == "archive.invalid_entry_size"


def test_first_fault_of_the_file_is_the_one_that_is_told() -> None:
    assert code_of(archive(entry("manifest.toml", b"#" * 70_000), entry("a/b"))) == "manifest.too_large"
    assert code_of(archive(entry("image.tar"), entry("a/b"))) == "image.empty_archive"


def test_manifest_of_exactly_64_kib_is_accepted() -> None:
    assert code_of(package(manifest=b"#" * 65536)) == ""


def test_thousand_entries_are_accepted_and_one_more_is_not() -> None:
    extra = [entry(f"extra{number}") for number in range(999)]
    assert code_of(package(*extra[:998])) == ""
    assert code_of(package(*extra)) == "archive.too_many_entries"


@pytest.mark.parametrize("key", ["mtime", "atime", "ctime", "uid", "gid", "uname", "gname", "comment"])
def test_harmless_pax_header_is_accepted(key: str) -> None:
    assert code_of(package(pax(record(key, "1.5")) + entry("notes"))) == ""


def test_pax_header_that_runs_past_the_end_is_truncated_and_not_read() -> None:
    head = pax(record("mtime", "1"))[:BLOCK]
    assert code_of(head + b"short") == "archive.truncated"
    inner = Window(0, BLOCK)
    with pytest.raises(Truncated):
        read_members(io.BytesIO(head + GOOD), inner, Profile.PACKAGE)


@pytest.mark.parametrize("profile", list(Profile))
def test_zero_padding_up_to_a_mebibyte_is_accepted(profile: Profile) -> None:
    assert code_of(GOOD + bytes(1 << 20), profile) == ""
    assert code_of(GOOD + bytes((1 << 20) + 1), profile) == "archive.trailing_data"


def test_image_may_hold_directories_and_symlinks() -> None:
    content = archive(
        entry("blobs/", type=b"5"), entry("blobs/a", b"x"), entry("b/l", type=b"2", link=b"../a")
    )
    kinds = {one.name: (one.kind, one.link) for one in members_of(content, Profile.IMAGE)}
    assert kinds == {
        "blobs": (MemberKind.DIRECTORY, ""),
        "blobs/a": (MemberKind.FILE, ""),
        "b/l": (MemberKind.SYMLINK, "../a"),
    }


@pytest.mark.parametrize("name", ["./a", "/a", "a/../b", "a//b", "a/./b", "..", "a/.."])
def test_image_names_are_never_normalised(name: str) -> None:
    assert code_of(archive(entry(name)), Profile.IMAGE) == "archive.invalid_entry_path"


def marker_end(content: bytes) -> int:
    """Where the second zero block of a well-formed archive ends."""
    last = max(members_of(content), key=lambda member: member.offset)
    return last.offset + -(-last.size_bytes // BLOCK) * BLOCK + len(END)


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_truncated_archive_is_never_called_invalid(format: int) -> None:
    content = written_by_tarfile({"manifest.toml": b"a" * 700, "image.tar": b"b" * 3000}, format, 1.5)
    for cut in range(0, len(content), BLOCK):
        complete = cut >= marker_end(content)
        assert code_of(content[:cut]) == ("" if complete else "archive.truncated")
        assert whole(content[:cut]) is complete


@given(cut=st.integers(0, len(GOOD) - 1))
def test_archive_cut_at_any_byte_is_never_called_invalid(cut: int) -> None:
    with pytest.raises(Truncated):
        members_of(GOOD[:cut])
    assert not whole(GOOD[:cut])


def test_file_shorter_than_it_was_said_to_be_is_truncated() -> None:
    for cut in range(0, len(GOOD), BLOCK):
        with pytest.raises(Truncated):
            read_members(io.BytesIO(GOOD[:cut]), Window(0, len(GOOD)), Profile.PACKAGE)


@pytest.mark.parametrize("number", range(3))
def test_no_changed_header_byte_gives_other_members(number: int) -> None:
    """The checksum field itself has bytes that nobody reads; every other change is refused."""
    start = [0, members_of(GOOD)[1].offset - BLOCK, 0][number]
    for position in range(start, start + BLOCK):
        for change in (0x01, 0x10, 0x80, 0xFF)[number:]:
            changed = bytearray(GOOD)
            changed[position] ^= change
            if code_of(bytes(changed)) == "":
                assert members_of(bytes(changed)) == members_of(GOOD)
                assert 148 <= position - start < 156


@given(st.data())
def test_changed_package_raises_nothing_but_our_errors(data: st.DataObject) -> None:
    changed = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(GOOD) - 1))
        changed[position : position + data.draw(st.integers(0, 12))] = data.draw(st.binary(max_size=12))
    for profile in Profile:
        code_of(bytes(changed), profile)
    whole(bytes(changed))


@given(st.lists(st.sampled_from([*"0125xgLKS\0"]), max_size=4), st.data())
def test_random_headers_with_a_good_checksum_raise_nothing_but_our_errors(
    types: list[str], data: st.DataObject
) -> None:
    blocks = [
        entry(
            data.draw(st.binary(max_size=20)),
            data.draw(st.binary(max_size=40)),
            type=type.encode(),
            size=data.draw(st.none() | st.binary(min_size=12, max_size=12)),
            link=data.draw(st.binary(max_size=20)),
            magic=data.draw(st.sampled_from([USTAR, b"ustar  \0", bytes(8)])),
        )
        for type in types
    ]
    for profile in Profile:
        code_of(archive(*blocks), profile)


@pytest.mark.parametrize(
    "content",
    [GOOD, archive(), archive(entry("a/b")), GOOD + b"x", GOOD + GOOD, b"no tar at all" * 100, package(entry(""))],
    ids=["good", "empty", "nested", "garbage", "second", "text", "no name"],
)  # fmt: skip
def test_whole_file_is_whole_however_bad(content: bytes) -> None:
    assert whole(content)


def test_bad_file_that_still_grows_is_not_whole() -> None:
    assert not whole(archive(entry("blobs/sha256/abc", b"x" * 5000))[:3000])


@pytest.mark.parametrize(
    "number",
    [errno.EIO, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.ENOMEDIUM],
    ids=lambda number: errno.errorcode[number],
)
@pytest.mark.parametrize("walk", [read_package, is_whole])
def test_pulled_stick_is_an_ordinary_event(number: int, walk: Callable[[BinaryIO, Window], object]) -> None:
    source = FailingSource(GOOD, BLOCK, number)
    with pytest.raises(SourceGone) as caught:
        walk(source, Window(0, len(GOOD)))
    assert caught.value.code == "media.gone"


def test_damaged_file_system_is_told_apart_from_a_pulled_stick() -> None:
    with pytest.raises(SourceGone) as caught:
        is_whole(FailingSource(GOOD, 0, errno.EUCLEAN), Window(0, len(GOOD)))
    assert caught.value.code == "media.unreadable"


def test_mistake_of_our_own_is_not_taken_for_a_pulled_stick() -> None:
    with pytest.raises(OSError, match="gone"):
        is_whole(FailingSource(GOOD, 0, errno.EBADF), Window(0, len(GOOD)))


def test_small_member_is_read_whole_or_not_at_all() -> None:
    member = Member("a", MemberKind.FILE, 3, 4)
    assert read_small(io.BytesIO(b"xxxdatayyy"), member, 4) == b"data"
    with pytest.raises(Truncated):
        read_small(io.BytesIO(b"xxxdat"), member, 4)
    with pytest.raises(Refusal, match="at most 3") as caught:
        read_small(io.BytesIO(b"xxxdatayyy"), member, 3, code="manifest.too_large")
    assert caught.value.code == "manifest.too_large"


def test_source_that_hands_out_few_bytes_at_a_time_is_read_all_the_same() -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, 100))

    assert read_members(Slow(GOOD), Window(0, len(GOOD)), Profile.PACKAGE) == members_of(GOOD)
