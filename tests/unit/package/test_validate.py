"""The verdict on a package's bytes, both formats behind one set of functions."""

import errno
import fcntl
import io
import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caissond.errors import Refusal, SourceGone
from caissond.package.validate import (
    check_layout,
    check_targets,
    fingerprint,
    identity_of,
    is_whole_file,
    read_package,
    read_target,
)
from fixtures.raw_package import LAYER, image, package
from fixtures.raw_package_2 import (
    APP_LAYER,
    GZIP,
    IMAGE,
    MAKER,
    TAR,
    ZSTD,
    RawImage,
    image_2,
    index_entry,
    index_json,
    layer,
    manifest_2,
    members_2,
    package_2,
    packed,
    target_table,
)
from fixtures.signatures import ed25519
from tests.unit.package.reading import LIMIT_BYTES, code_of, error_of, opened, read_content, read_whole

BOTH = [package(), package_2()]
PLAIN = image_2(layer(LAYER, TAR), layer(APP_LAYER, TAR))


@contextmanager
def refused(code: str) -> Iterator[None]:
    with pytest.raises(Refusal) as caught:
        yield
    assert caught.value.code == code


def lying(**fields: object) -> bytes:
    """A package whose manifest.toml says something else of its image."""
    return package_2(manifest=manifest_2(target_table(IMAGE, **fields)))


def identity(content: bytes) -> str:
    with opened(content) as source:
        return identity_of(source, read_package(source))


@pytest.mark.parametrize("content", BOTH)
def test_progress_counts_every_byte_of_the_layers(content: bytes) -> None:
    counted: list[int] = []
    with opened(content) as source:
        found = read_package(source)
        images = check_targets(source, found, limit_bytes=LIMIT_BYTES, progress=counted.append)
    assert sum(counted) == sum(layer.size_bytes for image in images for layer in image.layers)


def test_layer_that_targets_share_is_read_once() -> None:
    images = PLAIN, image_2(layer(LAYER, TAR))
    targets = target_table(images[0]), target_table(images[1], service='"backend"')
    counted: list[int] = []
    with opened(package_2(*images, manifest=manifest_2(*targets))) as source:
        check_targets(source, read_package(source), limit_bytes=LIMIT_BYTES, progress=counted.append)
    assert sum(counted) == len(LAYER) + len(APP_LAYER)


def test_layer_that_targets_share_counts_for_each_of_them() -> None:
    images = PLAIN, image_2(layer(LAYER, TAR))
    targets = target_table(images[0]), target_table(images[1], service='"backend"', unpacked_bytes=1)
    assert code_of(package_2(*images, manifest=manifest_2(*targets))) == "image.too_large"


@pytest.mark.parametrize("content", BOTH)
def test_layers_are_read_by_nobody_but_the_check(content: bytes) -> None:
    with opened(content) as source:
        found = read_package(source)
        (target,) = found.manifest.targets
        at = read_target(source, found, target).layers[0].offset
        os.pwrite(source.fileno(), b"\xff" * 8, at)
        check_layout(source, found)
        read_target(source, found, target)
        with refused("image.layer_mismatch"):
            check_targets(source, found, limit_bytes=LIMIT_BYTES, progress=lambda _: None)


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("manifest_digest", f'"sha256:{"0" * 64}"', "image.missing_blob"),
        ("manifest_digest", f'"sha256:{"0" * 63}A"', "manifest.parse_failed"),
        ("config_digest", f'"sha256:{"0" * 64}"', "image.config_digest_mismatch"),
        ("size_bytes", IMAGE.size_bytes + 1, "image.size_mismatch"),
        ("size_bytes", IMAGE.size_bytes - 1, "image.size_mismatch"),
        ("unpacked_bytes", IMAGE.unpacked_bytes + 1, "image.size_mismatch"),
        ("unpacked_bytes", IMAGE.unpacked_bytes - 1, "image.too_large"),
        ("platform", '"linux/arm64"', "image.platform_mismatch"),
        ("platform", '"linux/amd64/v2"', "image.platform_mismatch"),
        ("platform", '"windows/amd64"', "image.platform_mismatch"),
        ("platform", '"linux"', "image.platform_mismatch"),
    ],
)
def test_manifest_that_says_something_else_of_its_image_is_refused(
    field: str, value: object, code: str
) -> None:
    assert code_of(lying(**{field: value})) == code


def test_layers_may_not_unpack_to_more_than_there_is_room_for() -> None:
    with opened(package_2()) as source:
        read_whole(source, IMAGE.unpacked_bytes)
        with refused("image.too_large"):
            read_whole(source, IMAGE.unpacked_bytes - 1)


def test_target_may_be_for_the_platform_without_its_variant() -> None:
    arm = image_2(platform="linux/arm/v7")
    one = package_2(arm, manifest=manifest_2(target_table(arm, platform='"linux/arm"')))
    other = package_2(arm, manifest=manifest_2(target_table(arm, platform='"linux/arm/v6"')))
    assert (code_of(one), code_of(other)) == ("", "image.platform_mismatch")


def test_identity_tells_manifests_signatures_and_images_apart() -> None:
    other_config = image_2(config=IMAGE.config + b" ")
    resigned = members_2()["manifest.toml"]
    contents = [
        package_2(),
        package_2(signatures=b""),
        package_2(signatures=ed25519("other").sshsig(resigned)),
        package_2(other_config),
        package(),
        package(image=image(named="x.json")),
    ]
    assert len({identity(content) for content in contents}) == len(contents) - 1  # the name is no content
    assert identity(package_2()) == identity(package_2())


@pytest.mark.parametrize("content", BOTH)
def test_fingerprint_tells_files_apart_by_their_ends(content: bytes) -> None:
    other = content[:-1] + b"\1"
    with opened(content) as one, opened(other) as two, opened(content + b"\0") as three:
        assert len({fingerprint(one), fingerprint(two), fingerprint(three)}) == 3


class Vanishing(io.FileIO):
    """A medium that is pulled out after so many reads."""

    left = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.EIO, "gone")
        return super().read(size) or b""


@pytest.mark.parametrize("content", BOTH)
def test_medium_that_vanishes_at_any_read_is_gone_and_nothing_else(content: bytes) -> None:
    with opened(content) as source:
        for reads in range(1000):
            medium = Vanishing(source.fileno(), "rb", closefd=False)
            medium.left = reads
            error = error_of(partial(read_whole, medium))
            if error is None:
                break
            assert (type(error), error.code) == (SourceGone, "media.gone")
    assert reads > 10


class Changing(io.FileIO):
    """A file that somebody writes to while it is read: now and then a byte is another one."""

    chance = random.Random(0)

    def read(self, size: int | None = -1, /) -> bytes:
        content = bytearray(super().read(size) or b"")
        if content and self.chance.random() < 0.1:
            content[self.chance.randrange(len(content))] ^= 1 << self.chance.randrange(8)
        return bytes(content)


@pytest.mark.parametrize("content", BOTH)
def test_file_that_changes_while_it_is_read_raises_nothing_but_refusals(content: bytes) -> None:
    codes = set()
    with opened(content) as source:
        for _ in range(400):
            changing = Changing(source.fileno(), "rb", closefd=False)
            if error := error_of(partial(read_whole, changing)):
                codes.add(error.code)
    assert len(codes) > 5


@given(st.data())
def test_changed_package_raises_nothing_but_refusals(data: st.DataObject) -> None:
    original = data.draw(st.sampled_from(BOTH))
    at = data.draw(st.integers(0, len(original) - 1))
    change = data.draw(st.binary(min_size=1, max_size=16))
    how = data.draw(st.sampled_from(["replace", "insert", "remove"]))
    behind = at if how == "insert" else at + len(change)
    with suppress(Refusal):
        read_content(original[:at] + (b"" if how == "remove" else change) + original[behind:])


_LAYERS = st.builds(
    lambda content, kind: layer(content * 3, kind),
    st.binary(min_size=1, max_size=2000),
    st.sampled_from([TAR, GZIP, ZSTD]),
)
_PLATFORMS = st.sampled_from(["linux/amd64", "linux/arm64", "linux/arm/v7", "linux/riscv64"])
_IMAGES = st.builds(
    lambda layers, platform: image_2(*layers, platform=platform),
    st.lists(_LAYERS, min_size=1, max_size=4), _PLATFORMS,
)  # fmt: skip


@given(st.lists(_IMAGES, min_size=1, max_size=3), st.booleans())
def test_every_well_made_package_is_accepted(images: list[RawImage], signed: bool) -> None:
    targets = [target_table(image, service=f'"s{number}"') for number, image in enumerate(images)]
    distinct = {image.manifest: image for image in images}
    content = package_2(
        *images, manifest=manifest_2(*targets), index=index_json(*map(index_entry, distinct.values())),
        **({} if signed else {"signatures": b""}),
    )  # fmt: skip
    found, read = read_content(content)
    assert [image.config for image in read] == [image.config for image in images]
    assert bool(found.signatures) == signed


def test_signed_members_are_exactly_what_ssh_keygen_would_sign() -> None:
    found, _ = read_content(packed(members_2()))
    assert found.signatures == MAKER.sshsig(found.manifest_bytes)


def test_file_that_somebody_has_open_for_writing_is_not_whole_yet(tmp_path: Path) -> None:
    """As a file server does it: it holds a lease, and opening the file answers EAGAIN."""
    path = tmp_path / "a.edgepkg"
    path.write_bytes(package())
    assert is_whole_file(path)
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    try:
        with path.open("r+b") as writer:
            fcntl.fcntl(writer, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            assert not is_whole_file(path)
    finally:
        signal.signal(signal.SIGIO, before)
