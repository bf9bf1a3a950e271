"""`caisson package sign`, `convert` and `keygen`: the release engineer's commands besides `build`."""

import shutil
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from caissond import BUILD_DATE
from caissond.cli.session import ExitCode, Session
from caissond.cli.work import Refusing, ZstdLevel, count_bytes, interruptible, show_built
from caissond.errors import CaissonError, Refusal
from caissond.package.build import build_package
from caissond.package.compress import DEFAULT_LEVEL
from caissond.package.inputs import InputImage
from caissond.package.resign import check_signable, good_signatures, missing_signatures, rewrite_signatures
from caissond.package.signing import Signer, generate_key, load_signer
from caissond.package.sshsig import MAX_SIGNATURES_BYTES, NAMESPACE
from caissond.package.staging import open_regular
from caissond.package.trust import TrustTime
from caissond.package.validate import check_layout, read_package, read_target
from caissond.package.writing import workshop

SignKeys = Annotated[
    list[Path],
    typer.Option(
        "--sign-key",
        default_factory=list,
        show_default=False,
        metavar="FILE",
        help="Sign with this OpenSSH private key; a public key's file asks the ssh-agent. May be repeated.",
    ),
]


def load_signers(paths: Iterable[Path]) -> tuple[Signer, ...]:
    """The signers whose keys are in these files, a key that is given twice once; asks for passphrases.

    Raises:
        CaissonError: `sign.*`.
    """
    signers = [load_signer(path, partial(_ask_passphrase, path)) for path in paths]
    return tuple({signer.key.blob: signer for signer in signers}.values())


def sign_with(signers: Iterable[Signer], content: bytes) -> bytes:
    """One armored signature by each of them."""
    return b"".join(signer.sign(content) for signer in signers)


def _ask_passphrase(path: Path) -> str:
    return str(typer.prompt(f"Passphrase of {path}", hide_input=True, err=True))


def sign(
    context: typer.Context,
    package: Annotated[
        Path, typer.Argument(help="The .edgepkg file; it is replaced once the new one is whole.")
    ],
    *,
    sign_key: SignKeys,
    signature: Annotated[
        list[Path],
        typer.Option(
            default_factory=list,
            show_default=False,
            metavar="FILE",
            help="Add this signature, made with ssh-keygen -Y sign -n caisson-package manifest.toml.",
        ),
    ],
) -> int:
    """Add signatures to a package. What it holds stays as it is, and so does its identity."""
    session: Session = context.obj
    if not (sign_key or signature):
        raise typer.BadParameter("expected --sign-key or --signature")
    with Refusing(session), interruptible(), open_regular(package) as source:
        found = read_package(source)
        check_signable(found)
        check_layout(source, found)
        good_signatures(found.manifest_bytes, found.signatures, _time())
        signers = load_signers(sign_key)
        offered = b"".join([*map(_read_signature, signature), sign_with(signers, found.manifest_bytes)])
        new = missing_signatures(found.signatures, offered)
        added = good_signatures(found.manifest_bytes, new, _time())
        if new:
            with workshop(package) as folder, session.progress_bar() as bar:
                rewrite_signatures(
                    source, found, found.signatures + new, package, folder,
                    time=_time(), progress=count_bytes("writing", found.size_bytes, bar),
                )  # fmt: skip
        present = good_signatures(found.manifest_bytes, found.signatures + new, _time())
        _say_signed(session, package, [one.fingerprint for one in present], added=len(added))
        return ExitCode.DONE
    return ExitCode.REFUSED


def _say_signed(session: Session, package: Path, keys: Sequence[str], *, added: int) -> None:
    session.show_json({"package": str(package), "added": added, "signed_by": keys})
    session.say(
        f"Added {added} signature{'s' if added > 1 else ''}." if added else "It is signed so already."
    )
    for key in keys:
        session.say(f"Signed by: {key}")


def _read_signature(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_SIGNATURES_BYTES + 1)
    except OSError as exc:
        raise CaissonError(f"cannot read {str(path)!r}: {exc.strerror}", code="build.cannot_read") from exc


def convert(
    context: typer.Context,
    old: Annotated[Path, typer.Argument(help="The package of format 1.")],
    new: Annotated[Path, typer.Argument(help="The package of format 2 to write.")],
    *,
    zstd_level: ZstdLevel = DEFAULT_LEVEL,
    sign_key: SignKeys,
) -> int:
    """Make a package of format 2 from one of format 1. It is the same release: same service, version and image."""
    session: Session = context.obj
    with (
        Refusing(session), interruptible(), open_regular(old) as source, workshop(new) as folder,
        session.progress_bar() as bar,
    ):  # fmt: skip
        package = read_package(source)
        if package.manifest.format_version != 1:
            raise Refusal("cannot convert a package that has format 2", code="build.format_2")
        signers = load_signers(sign_key)
        image = read_target(source, package, package.manifest.targets[0])
        found = InputImage(image, package.manifest.targets[0].reference, lambda _layer: nullcontext(source))
        manifest = package.manifest.model_copy(update={"format_version": 2})
        built = build_package(
            manifest, [found], new, folder,
            level=zstd_level, sign=lambda content: sign_with(signers, content), bar=bar,
        )  # fmt: skip
        show_built(session, new, built, [signer.key.fingerprint for signer in signers])
        return ExitCode.DONE
    return ExitCode.REFUSED


def keygen(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(help="Where the private key goes; the public one gets .pub behind it.")
    ],
    *,
    no_passphrase: Annotated[
        bool, typer.Option("--no-passphrase", help="Leave the private key open to whoever gets the file.")
    ] = False,
) -> int:
    """Make a signing key, on a machine that has no ssh-keygen."""
    session: Session = context.obj
    if program := shutil.which("ssh-keygen"):
        text = f"cannot make a key: {program} is there, use it: ssh-keygen -t ed25519 -f {file}"
        session.complain(CaissonError(text, code="build.use_ssh_keygen"))
        return ExitCode.USAGE
    key = generate_key(file, passphrase="" if no_passphrase else _new_passphrase())
    session.show_json({"private": str(file), "public": f"{file}.pub", "fingerprint": key.fingerprint})
    session.say(f"Made {file} and {file}.pub: {key.fingerprint}")
    session.say("Devices trust it with this line in allowed_signers, with a name of your choice in front:")
    public = " ".join(file.with_name(file.name + ".pub").read_text().split()[:2])
    session.say(f'release@example.com namespaces="{NAMESPACE}" {public}')
    return ExitCode.DONE


def _new_passphrase() -> str:
    return str(typer.prompt("Passphrase", hide_input=True, confirmation_prompt=True, err=True))


def _time() -> TrustTime:
    """For looking at signatures without a device: no signer is known, so no time matters."""
    return TrustTime(now=datetime.now(UTC), floor=BUILD_DATE)
