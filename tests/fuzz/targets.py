"""What is fuzzed: functions of bytes that may refuse them, and must do nothing else.

Each has seeds: what good and hostile fixtures look like to it. To add a target, add a row to `TARGETS`.
"""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from caissond.errors import CaissonError
from caissond.model.manifest import parse_manifest
from caissond.model.text import has_hidden
from caissond.package.archive import Profile, is_whole, read_members
from caissond.package.compression import BrokenStream, Compression, unpack
from caissond.package.image_json import parse_config, parse_manifests
from caissond.package.oci_json import check_layout_file, parse_index, parse_oci_manifest
from caissond.package.signers import parse_allowed_signers, parse_revoked_keys
from caissond.package.source import Window
from caissond.package.ssh_keys import UnsupportedKey
from caissond.package.sshsig import parse_signature, split_signatures
from caissond.package.validate import check_layout, check_targets, fingerprint, identity_of, read_package
from fixtures.hostile import hostile_packages
from fixtures.hostile_fault import Fault
from fixtures.hostile_manifest import manifest_faults
from fixtures.hostile_tar import tar_faults
from fixtures.hostile_trust import ALLOWED_SIGNERS, GOOD, MANIFEST, REVOKED_KEYS
from fixtures.raw_package import BLOCK, LAYER, config, image, package
from fixtures.raw_package import MANIFEST as MANIFEST_1
from fixtures.raw_package_2 import (
    GZIP,
    HEAD,
    IMAGE,
    LAYOUT,
    RawImage,
    RawLayer,
    digest,
    index_entry,
    index_json,
    layer,
    members_2,
    package_2,
    packed,
)
from fixtures.signatures import armor, ecdsa, rsa_key, sk_ed25519

LIMIT_BYTES = 8 << 20
MOST_SEED_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Target:
    """Something that reads bytes."""

    read: Callable[[bytes], None]
    """Any exception but a `CaissonError` is a finding."""
    seeds: Callable[[], Iterator[bytes]]
    most_bytes: int = 16 << 10


def try_target(target: Target, content: bytes) -> None:
    """Hand these bytes to the target.

    Raises:
        Exception: a finding; also where a refusal cannot be shown.
    """
    try:
        target.read(content)
    except CaissonError as exc:
        check_refusal(exc)


def check_refusal(error: CaissonError) -> None:
    """Whether a refusal is one sentence that can be shown."""
    assert error.message.startswith("cannot "), error.message
    assert not has_hidden(error.message), error.message
    assert len(error.message) < 600, len(error.message)


class Medium:
    """One file in memory, filled anew for every package."""

    def __init__(self) -> None:
        self._file: BinaryIO = os.fdopen(os.memfd_create("fuzz"), "r+b", buffering=0)

    def holding(self, content: bytes) -> BinaryIO:
        self._file.truncate(0)
        self._file.seek(0)
        self._file.write(content)
        return self._file


def _read_package(medium: Medium, content: bytes) -> None:
    source = medium.holding(content)
    fingerprint(source)
    is_whole(source, Window(0, len(content)))
    found = read_package(source)
    check_layout(source, found)
    identity_of(source, found)
    check_targets(source, found, limit_bytes=LIMIT_BYTES, progress=lambda _: None)


def _read_tar(medium: Medium, content: bytes) -> None:
    """A package whose headers have right checksums: else nothing behind the first changed byte would be seen."""
    _read_package(medium, with_checksums(content))


def with_checksums(content: bytes) -> bytes:
    """The archive with a right checksum in every block that has the magic of ustar."""
    blocks = bytearray(content)
    for start in range(0, len(blocks) - BLOCK + 1, BLOCK):
        if blocks[start + 257 : start + 262] == b"ustar":
            blocks[start + 148 : start + 156] = b" " * 8
            blocks[start + 148 : start + 156] = b"%06o\0 " % sum(blocks[start : start + BLOCK])
    return bytes(blocks)


def _read_inner_tar(content: bytes) -> None:
    source = io.BytesIO(with_checksums(content))
    read_members(source, Window(0, len(content)), Profile.IMAGE)


_SEPARATOR = b"\n%%\n"


def _read_parts(medium: Medium, content: bytes) -> None:
    """An image from parts, with digests that fit: manifest.toml, index.json, OCI manifest, config, layer."""
    toml, index, manifest, config, stored, *_ = [*content.split(_SEPARATOR), *[b""] * 5]
    one = RawLayer(stored, GZIP, digest(LAYER), len(LAYER))
    manifest = manifest.replace(b"$CONFIG", digest(config).encode()).replace(
        b"$LAYER", digest(stored).encode()
    )
    image = RawImage(manifest, config, (one,))
    fitting = {b"$MANIFEST": digest(manifest), b"$CONFIG": digest(config), b"$SIZE": str(image.size_bytes)}
    for name, value in fitting.items():
        toml, index = toml.replace(name, value.encode()), index.replace(name, value.encode())
    index = index.replace(b"$LENGTH", str(len(manifest)).encode())
    _read_package(medium, packed(members_2(image, manifest=toml, signatures=b"", index=index)))


def _part_seeds() -> Iterator[bytes]:
    stored = layer(media_type=GZIP).stored
    one = f'"size":{len(stored)},"digest":"$LAYER","mediaType":"{GZIP}"'
    config_type = IMAGE.manifest.split(b'"config":{"mediaType":"')[1].split(b'"')[0].decode()
    text = config(architecture="amd64")
    manifest = (
        f'{{"schemaVersion":2,"config":{{"mediaType":"{config_type}","digest":"$CONFIG","size":{len(text)}}},'
        f'"layers":[{{{one}}}]}}'
    )
    index = index_json(index_entry(IMAGE)).replace(digest(IMAGE.manifest).encode(), b"$MANIFEST")
    index = index.replace(f'"size":{len(IMAGE.manifest)}'.encode(), b'"size":$LENGTH')
    toml = (
        f'{HEAD}[[targets]]\nservice="a"\nservice_revision="b"\nplatform="linux/amd64"\n[targets.image]\n'
        'reference="example/frontend:2.0.0"\nmanifest_digest="$MANIFEST"\nconfig_digest="$CONFIG"\n'
        f"size_bytes=$SIZE\nunpacked_bytes={len(LAYER)}\n"
    )
    yield _SEPARATOR.join([toml.encode(), index, manifest.encode(), text, stored])


def _read_json(content: bytes) -> None:
    """All that reads JSON, each on the same bytes."""
    refusals = []
    for parse in (parse_index, parse_oci_manifest, check_layout_file, parse_config, parse_manifests):
        try:
            parse(content)
        except CaissonError as exc:
            refusals.append(exc)
    for refusal in refusals:
        raise refusal


def _json_seeds() -> Iterator[bytes]:
    yield from (index_json(index_entry(IMAGE)), IMAGE.manifest, LAYOUT, IMAGE.config)
    yield b'[{"Config":"a.json","RepoTags":["a:1"],"Layers":["a/layer.tar"]}]'
    yield config(config={"Healthcheck": {"Test": ["CMD", "true"]}}, variant="v8")


def _read_signatures(content: bytes) -> None:
    """The armored form, and the same bytes as the binary inside; what can be read is also verified."""
    for blob in (content, *_blobs(content)):
        with suppress(CaissonError):
            signature = parse_signature(blob)
            with suppress(UnsupportedKey):
                signature.check(MANIFEST)
    split_signatures(content)


def _blobs(content: bytes) -> tuple[bytes, ...]:
    try:
        return split_signatures(content)
    except CaissonError:
        return ()


def _signature_seeds() -> Iterator[bytes]:
    keys = (sk_ed25519(), ecdsa(), rsa_key())
    armored = [GOOD, *(key.sshsig(MANIFEST) for key in keys)]
    yield from armored
    yield b"".join(armored)
    yield from (split_signatures(one)[0] for one in armored)
    yield armor(b"SSHSIG")


def _read_signers(content: bytes) -> None:
    parse_allowed_signers(content.decode(errors="replace"))
    parse_revoked_keys(content)


def _signer_seeds() -> Iterator[bytes]:
    yield ALLOWED_SIGNERS.encode()
    yield REVOKED_KEYS.encode()
    key = ecdsa().line
    yield f'"a b",c*,!d namespaces="x,y*",valid-after="20260101",valid-before="202701011200Z" {key}\n# x\n'.encode()
    yield f"* cert-authority {key}\n".encode()


def _read_layer(content: bytes) -> None:
    """A stream, by its first byte packed in one of three ways; unpacked as far as a layer may be."""
    ways = tuple(Compression)
    way = ways[content[0] % len(ways)] if content else Compression.NONE
    size_bytes = 0
    with suppress(BrokenStream):
        for piece in unpack(iter([content[1:]]), way):
            assert len(piece) <= 1 << 20 or way is Compression.NONE
            size_bytes += len(piece)
            if size_bytes > LIMIT_BYTES:
                return


def _layer_seeds() -> Iterator[bytes]:
    ways = tuple(Compression)
    yield bytes([ways.index(Compression.GZIP)]) + layer(media_type=GZIP).stored * 2
    yield bytes([ways.index(Compression.ZSTD)]) + layer().stored * 2
    yield bytes([ways.index(Compression.ZSTD)]) + b"\x50\x2a\x4d\x18\x02\0\0\0ab" + layer().stored


def _small(faults: dict[str, Fault]) -> Iterator[bytes]:
    contents = (fault.content for fault in faults.values() if isinstance(fault.content, bytes))
    yield from (content for content in contents if len(content) < MOST_SEED_BYTES)


def _package_seeds() -> Iterator[bytes]:
    yield from (package(), package_2(), package_2(signatures=b""))
    yield from _small(tar_faults())
    yield from (content for content, _ in hostile_packages().values() if len(content) < MOST_SEED_BYTES)


def _manifest_seeds() -> Iterator[bytes]:
    yield from (MANIFEST_1, MANIFEST)
    for content in _small(manifest_faults()):
        size_bytes = int(content[124:135], 8)
        yield content[BLOCK : BLOCK + size_bytes]


def targets() -> dict[str, Target]:
    """Every target by its name."""
    medium = Medium()
    return {
        "package": Target(partial(_read_tar, medium), _package_seeds, 32 << 10),
        "image_tar": Target(_read_inner_tar, lambda: iter([image()])),
        "layout": Target(partial(_read_parts, medium), _part_seeds),
        "manifest": Target(lambda content: _ignore(parse_manifest(content)), _manifest_seeds, 8 << 10),
        "json": Target(_read_json, _json_seeds, 4 << 10),
        "sshsig": Target(_read_signatures, _signature_seeds, 4 << 10),
        "signers": Target(_read_signers, _signer_seeds, 4 << 10),
        "layer": Target(_read_layer, _layer_seeds, 4 << 10),
    }


def _ignore(_result: object) -> None:
    """What was read is of no interest here."""
