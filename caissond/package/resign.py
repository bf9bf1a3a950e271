"""Signatures added to a package that is there: everything but `manifest.toml.sig` stays as it is, byte for byte."""

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from caissond.errors import Refusal
from caissond.package.header import BLOCK_BYTES
from caissond.package.layout import LAYOUT_NAME
from caissond.package.layout_writer import format_front
from caissond.package.source import Window, read_chunks
from caissond.package.sshsig import armored, parse_signature, split_signatures
from caissond.package.staging import private_file, write_private
from caissond.package.trust import Signature, TrustStore, TrustTime, read_signatures
from caissond.package.validate import Package, check_layout, read_package
from caissond.package.writing import put_in_place

_ABOUT_SIGNERS = frozenset({"trust.unknown_signer", "trust.unsupported_key"})


def check_signable(package: Package) -> None:
    """Whether a package can bear signatures.

    Raises:
        Refusal: `build.format_1`.
    """
    if package.manifest.format_version == 1:
        raise Refusal("cannot sign a package of format 1", code="build.format_1")


def good_signatures(content: bytes, signatures: bytes, time: TrustTime) -> tuple[Signature, ...]:
    """The signatures, whoever made them, when every one is of these bytes.

    Raises:
        Refusal: `trust.malformed_signature`, `trust.bad_signature`, `trust.wrong_namespace`; what would refuse the
            package everywhere, whatever stood beside it.
    """
    found = read_signatures(content, signatures, TrustStore(), time)
    for one in found:
        if one.problem and one.problem.code not in _ABOUT_SIGNERS:
            raise one.problem
    return found


def missing_signatures(present: bytes, offered: bytes) -> bytes:
    """Those of the offered signatures that are by other keys than what is there, each key once, armored.

    Raises:
        Refusal: `trust.malformed_signature`.
    """
    seen = {parse_signature(blob).key.blob for blob in split_signatures(present)}
    missing = b""
    for signature in map(parse_signature, split_signatures(offered)):
        if signature.key.blob not in seen:
            seen.add(signature.key.blob)
            missing += armored(
                signature.key.blob, signature.signature,
                namespace=signature.namespace, hash_name=signature.hash_name,
            )  # fmt: skip
    return missing


def rewrite_signatures(
    source: BinaryIO,
    package: Package,
    signatures: bytes,
    output: Path,
    folder: Path,
    *,
    time: TrustTime,
    progress: Callable[[int], None],
) -> tuple[Signature, ...]:
    """Write the package with these signatures, read it back, and put it in place.

    Args:
        source: the package, open.
        signatures: all that it is to have, one armored block behind the other.
        folder: private, beside the output; see `writing.workshop`.
        progress: told how many more bytes were copied.

    Returns:
        The signatures it has now.

    Raises:
        Refusal: `archive.*`, `image.*`, `trust.malformed_signature` (too many of them), `host.*`.
        SourceGone: the source cannot be read.
        CaissonError: `build.cannot_write`.
    """
    begin = package.members[LAYOUT_NAME].offset - BLOCK_BYTES
    finished = folder / output.name
    with private_file(finished) as descriptor:
        write_private(finished, descriptor, format_front(package.manifest_bytes, signatures))
        for chunk in read_chunks(source, Window(begin, package.size_bytes - begin), progress):
            write_private(finished, descriptor, chunk)
    found = _read_back(finished, package, time)
    put_in_place(finished, output)
    return found


def _read_back(path: Path, before: Package, time: TrustTime) -> tuple[Signature, ...]:
    with path.open("rb", buffering=0) as source:
        after = read_package(source)
        check_layout(source, after)
    if after.manifest_bytes != before.manifest_bytes:
        raise AssertionError("the manifest changed while the package was signed")
    return good_signatures(after.manifest_bytes, after.signatures, time)
