"""The mount table as the kernel writes it, and which of its lines are media."""

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from caissond.intake.mounts import (
    Mount,
    find_media,
    lines_near,
    media_places,
    parse_mounts,
    read_mounts,
    resolve_roots,
    visible_mounts,
)
from caissond.intake.scan import Origin, Place

MEDIA = Path("/run/caisson/media")

DEVICE = """\
21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
22 21 0:21 / /run rw,nosuid,nodev shared:5 - tmpfs tmpfs rw,size=1000k
30 22 8:17 / /run/caisson/media/sdb1 ro,nosuid,nodev,noexec,relatime shared:9 - vfat /dev/sdb1 ro,fmask=0133
"""


def table(*lines: str) -> tuple[Mount, ...]:
    return parse_mounts("\n".join((DEVICE.rstrip(), *lines, "")).encode())


def points(places: tuple[Place, ...]) -> list[str]:
    return [str(place.path) for place in places]


def test_every_field_of_a_line_is_read() -> None:
    assert table()[2] == Mount(
        mount_id=30,
        parent_id=22,
        device="8:17",
        root="/",
        point=Path("/run/caisson/media/sdb1"),
        options=frozenset({"ro", "nosuid", "nodev", "noexec", "relatime"}),
        fs_type="vfat",
        source="/dev/sdb1",
        super_options=frozenset({"ro", "fmask=0133"}),
    )


def test_lines_with_many_or_no_optional_fields_are_read() -> None:
    plain = b"1 0 0:1 / /a rw - tmpfs t rw"
    many = b"2 1 0:2 / /b rw shared:1 master:2 propagate_from:3 unbindable - tmpfs t rw"
    assert [mount.fs_type for mount in parse_mounts(plain + b"\n" + many)] == ["tmpfs", "tmpfs"]


def test_empty_source_and_a_dash_as_source_are_read() -> None:
    content = b"1 0 0:1 / /a rw - tmpfs  rw\n2 1 0:2 / /b rw - tmpfs - rw\n"
    assert [mount.source for mount in parse_mounts(content)] == ["", "-"]


def test_line_that_is_none_does_not_hide_the_others() -> None:
    content = b"nonsense\n1 0 0:1 / /a rw - tmpfs t rw\nx 0 0:1 / /b rw - tmpfs t rw\n"
    assert [mount.point for mount in parse_mounts(content)] == [Path("/a")]


NAME = st.binary(min_size=1, max_size=20).filter(
    lambda name: b"/" not in name and b"\0" not in name and name != b"."
)
PATH = st.lists(NAME, max_size=4).map(lambda names: os.fsdecode(b"/" + b"/".join(names)))
WORD = (
    st.binary(min_size=1, max_size=12)
    .filter(lambda word: b"," not in word and b"\0" not in word)
    .map(os.fsdecode)
)
MOUNT = st.builds(
    Mount,
    mount_id=st.integers(0, 2**31),
    parent_id=st.integers(0, 2**31),
    device=st.from_regex(r"[0-9]{1,3}:[0-9]{1,5}", fullmatch=True).filter(str.isascii),
    root=PATH,
    point=PATH.map(Path),
    options=st.frozensets(WORD, min_size=1).map(
        lambda words: words | {"rw"}
    ),  # show_mountinfo: never a lone dash
    fs_type=WORD,
    source=st.just("") | WORD,
    super_options=st.frozensets(WORD, min_size=1),
)


def escaped(text: str) -> bytes:
    """As mangle() and seq_path() of the kernel do it."""
    return b"".join(b"\\%03o" % byte if byte in b" \t\n\\#" else bytes([byte]) for byte in os.fsencode(text))


def as_the_kernel_writes(mount: Mount, *optional: str) -> bytes:
    head = (str(mount.mount_id), str(mount.parent_id), mount.device, mount.root, str(mount.point))
    fields = (*head, ",".join(mount.options), *optional, "-", mount.fs_type, mount.source)
    return b" ".join(escaped(field) for field in (*fields, ",".join(mount.super_options)))


@given(mounts=st.lists(MOUNT), optional=st.lists(st.sampled_from(["shared:1", "master:2", "unbindable"])))
def test_what_the_kernel_writes_is_read_back(mounts: list[Mount], optional: list[str]) -> None:
    content = b"".join(as_the_kernel_writes(mount, *optional) + b"\n" for mount in mounts)
    assert parse_mounts(content) == tuple(mounts)


@given(st.binary())
def test_no_table_breaks_the_parser(content: bytes) -> None:
    media_places(parse_mounts(content), MEDIA, (Path("/"),))


@given(st.lists(MOUNT))
def test_one_mount_at_most_is_visible_at_a_path(mounts: list[Mount]) -> None:
    visible = [mount.point for mount in visible_mounts(mounts)]
    assert len(visible) == len(set(visible))


def test_own_table_has_one_root() -> None:
    assert [mount.point for mount in visible_mounts(read_mounts())].count(Path("/")) == 1


def test_lines_near_the_roots_are_all_that_count() -> None:
    odd = Path("/media/a b\\c")
    lines = (
        "21 1 8:1 / / rw - ext4 /dev/sda1 rw",
        "22 21 0:20 / /run rw - tmpfs run rw",
        "23 21 0:21 / /proc rw - proc proc rw",
        "24 22 0:22 / /run/cais rw - tmpfs t rw",
        "25 22 8:17 / /run/caisson/media/sdb1 ro - vfat /dev/sdb1 ro",
        "26 21 8:33 / /media/a\\040b\\134c ro - vfat /dev/sdc1 ro",
    )
    near = lines_near("\n".join(lines).encode(), (MEDIA, odd))
    assert [mount.mount_id for mount in parse_mounts(near)] == [21, 22, 25, 26]
    assert points(media_places(parse_mounts(near), MEDIA, (odd,))) == [str(odd), "/run/caisson/media/sdb1"]


def test_mount_below_the_media_folder_is_a_place() -> None:
    assert media_places(table(), MEDIA) == (
        Place(Path("/run/caisson/media/sdb1"), Origin.MEDIA, read_only=True),
    )


def test_media_folder_itself_and_its_neighbours_are_not() -> None:
    mounts = table(
        "31 22 0:40 / /run/caisson/media rw - tmpfs t rw",
        "32 22 8:33 / /run/caisson/media2/sdc1 ro - vfat /dev/sdc1 ro",
        "33 21 8:34 / /mnt ro - vfat /dev/sdc2 ro",
    )
    assert media_places(mounts, Path("/run/caisson/other")) == ()
    assert "/run/caisson/media" not in points(media_places(mounts, MEDIA))


def test_extra_root_counts_with_all_below_it() -> None:
    mounts = table(
        "33 21 8:33 / /mnt/usb rw - vfat /dev/sdc1 rw",
        "34 33 8:34 / /mnt/usb/second rw - vfat /dev/sdc2 rw",
    )
    assert points(media_places(mounts, MEDIA, (Path("/mnt/usb"),)))[:2] == ["/mnt/usb", "/mnt/usb/second"]


def test_only_a_read_only_filesystem_is_one_that_nobody_writes_to() -> None:
    mounts = table(
        "33 22 8:33 / /run/caisson/media/sdc1 rw - vfat /dev/sdc1 rw",
        "34 22 8:34 / /run/caisson/media/sdc2 rw - vfat /dev/sdc2 ro,errors=remount-ro",
        "35 22 8:35 / /run/caisson/media/sdc3 ro - vfat /dev/sdc3 rw",
    )
    found = {place.path.name: place.read_only for place in media_places(mounts, MEDIA)}
    assert found == {"sdb1": True, "sdc1": False, "sdc2": True, "sdc3": False}
    assert mounts[-1].read_only


def test_mount_on_top_wins() -> None:
    mounts = table("33 30 8:33 / /run/caisson/media/sdb1 rw - ext4 /dev/sdc1 rw")
    assert media_places(mounts, MEDIA) == (
        Place(Path("/run/caisson/media/sdb1"), Origin.MEDIA, read_only=False),
    )


def test_mount_tucked_beneath_another_does_not_win_for_being_the_last() -> None:
    beneath = "33 22 8:33 / /run/caisson/media/sdb1 rw - ext4 /dev/sdc1 rw"
    mounts = parse_mounts(DEVICE.replace("30 22", "30 33").encode() + beneath.encode())
    assert [mount.mount_id for mount in visible_mounts(mounts)] == [21, 22, 30]


def test_medium_hidden_by_a_mount_further_up_is_no_place() -> None:
    assert media_places(table("33 22 0:50 / /run/caisson rw - tmpfs t rw"), MEDIA) == ()


def test_medium_that_stands_twice_below_a_units_own_bind_mount_is_one_place() -> None:
    mounts = table(
        "33 22 0:21 /caisson /run/caisson rw - tmpfs tmpfs rw",
        "34 33 8:17 / /run/caisson/media/sdb1 ro - vfat /dev/sdb1 ro",
    )
    assert points(media_places(mounts, MEDIA)) == ["/run/caisson/media/sdb1"]
    assert 30 not in [mount.mount_id for mount in visible_mounts(mounts)]


def test_stick_mounted_in_two_places_is_looked_at_once() -> None:
    mounts = table("33 21 8:17 / /media/user/STICK ro - vfat /dev/sdb1 ro")
    assert points(media_places(mounts, MEDIA, (Path("/media"),))) == ["/media/user/STICK"]


def test_stick_that_was_pulled_out_is_no_place_though_its_mount_is_still_there() -> None:
    mounts = table("40 22 8:17 / /run/caisson/media/sdb1 ro - vfat /dev/sdb1 ro")
    assert media_places(mounts, MEDIA, sequence_of=lambda _: None) == ()


def test_stick_is_told_from_the_one_before_it() -> None:
    mounts = table("40 22 8:17 / /run/caisson/media/sdb1 ro - vfat /dev/sdb1 ro")
    (place,) = media_places(mounts, MEDIA, sequence_of={"8:17": "12"}.get)
    assert place.sequence == "12"


def test_two_folders_of_one_filesystem_are_two_places() -> None:
    mounts = table(
        "33 22 8:17 /one /run/caisson/media/one ro - vfat /dev/sdb1 ro",
        "34 22 8:17 /two /run/caisson/media/two ro - vfat /dev/sdb1 ro",
    )
    assert len(media_places(mounts, MEDIA)) == 3


def test_autofs_placeholder_is_no_place_until_something_is_mounted_on_it() -> None:
    placeholder = "33 22 0:60 / /run/caisson/media/auto rw - autofs systemd-1 rw"
    assert points(media_places(table(placeholder), MEDIA)) == ["/run/caisson/media/sdb1"]
    real = "34 33 8:33 / /run/caisson/media/auto ro - vfat /dev/sdc1 ro"
    assert "/run/caisson/media/auto" in points(media_places(table(placeholder, real), MEDIA))


def test_table_without_a_root_is_one_of_a_chroot() -> None:
    mounts = parse_mounts(b"30 22 8:17 / /run/caisson/media/sdb1 ro - vfat /dev/sdb1 ro\n")
    assert points(media_places(mounts, MEDIA)) == ["/run/caisson/media/sdb1"]


def test_folder_that_is_not_there_has_no_media(tmp_path: Path) -> None:
    assert find_media(tmp_path / "media", (tmp_path / "extra",)) == ()


def test_root_that_leads_nowhere_has_no_media(tmp_path: Path) -> None:
    circle = tmp_path / "circle"
    circle.symlink_to(circle)
    assert find_media(tmp_path / "media", (circle, Path("/media/\0"))) == ()
    assert resolve_roots((circle, tmp_path)) == (tmp_path,)
