"""`caisson package inspect` and `verify`: what a package is, without changing anything, without a catalog."""

from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from caissond import BUILD_DATE
from caissond.cli.describing import Contents, HostView, as_json, content_lines, shown_signature
from caissond.cli.session import ExitCode, Session
from caissond.cli.work import Refusing, count_bytes
from caissond.errors import CaissonError, Refusal, StoreError
from caissond.host.docker import Docker
from caissond.host.ingest import known_layers
from caissond.model.paths import Paths
from caissond.package.compress import MAX_LAYER_BYTES
from caissond.package.image import Image
from caissond.package.staging import open_regular
from caissond.package.trust import TrustStore, TrustTime, check_signatures, read_signatures
from caissond.package.validate import Package, check_layout, check_targets, read_package, read_target
from caissond.store.database import Database
from caissond.store.releases import Releases
from caissond.update.inventory import ARCHITECTURES
from caissond.update.trusting import load_trust_store, trust_time

PackagePath = Annotated[Path, typer.Argument(help="The .edgepkg file.")]
HOST_TIMEOUT_S = 5
"""Docker is asked as an extra only: nobody waits a minute for it."""


def inspect(context: typer.Context, package: PackagePath) -> int:
    """Show what is in a package: targets, layers, signers, and what this host would read of it."""
    session: Session = context.obj
    with Refusing(session), open_regular(package) as source:
        found = read_package(source)
        check_layout(source, found)
        images = tuple(read_target(source, found, target) for target in found.manifest.targets)
        store, problem = _trust_store(session)
        signatures = read_signatures(found.manifest_bytes, found.signatures, store, _trust_time(session))
        contents = Contents(package, found, images, signatures, _ask_host(images))
        session.show_json(as_json(contents))
        for line in content_lines(contents):
            session.say(line)
        if problem:
            session.complain(problem)
        return ExitCode.DONE
    return ExitCode.REFUSED


def verify(
    context: typer.Context,
    package: PackagePath,
    *,
    allowed_signers: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Whom to trust, in OpenSSH's format; default this device's."),
    ] = None,
    revoked_keys: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keys that are trusted no more; default this device's."),
    ] = None,
    allow_unsigned: Annotated[
        bool, typer.Option("--allow-unsigned", help="Be content with a package that nobody has signed.")
    ] = False,
) -> int:
    """Hash every byte of a package and check its signatures. Needs no Docker and no catalog."""
    session: Session = context.obj
    paths = _paths(session.paths, allowed_signers=allowed_signers, revoked_keys=revoked_keys)
    with Refusing(session), open_regular(package) as source:
        found = read_package(source)
        check_layout(source, found)
        _check_bytes(session, source, found)
        store, time = load_trust_store(paths), _trust_time(session)
        counting = check_signatures(
            found.manifest_bytes, found.signatures, store, time=time,
            services=dict.fromkeys(found.manifest.services, ()), required=1,
            allow_unsigned=allow_unsigned,
        )  # fmt: skip
        shown = [shown_signature(one) for one in counting]
        session.show_json({"package": str(package), "verified": True, "signatures": shown})
        session.say(f"Every byte of {package} is as its manifest says.")
        for one in counting:
            session.say(f"Good signature by {one.principals} ({one.key_type} {one.fingerprint})")
        if not counting:
            session.say("Nobody known to this device has signed it.")
        for one in read_signatures(found.manifest_bytes, found.signatures, store, time):
            if one.problem is not None:
                session.say(f"Does not count: {one.key_type} {one.fingerprint}: {one.problem.message}")
        return ExitCode.DONE
    session.show_json({"package": str(package), "verified": False})
    return ExitCode.REFUSED


def _check_bytes(session: Session, source: BinaryIO, package: Package) -> None:
    with session.progress_bar() as bar:
        progress = count_bytes("checking", package.size_bytes, bar)
        check_targets(source, package, limit_bytes=MAX_LAYER_BYTES, progress=progress)


def _paths(paths: Paths, **named: Path | None) -> Paths:
    for name, path in named.items():
        if path is not None:
            if not path.is_file():
                raise CaissonError(f"cannot read {str(path)!r}, expected a file", code="build.cannot_read")
            paths = replace(paths, **{name: path})  # type: ignore[arg-type]  # two of its paths
    return paths


def _trust_store(session: Session) -> tuple[TrustStore, Refusal | None]:
    """This device's; nobody is known where its files have a mistake."""
    try:
        return load_trust_store(session.paths), None
    except Refusal as exc:
        return TrustStore(), exc


def _trust_time(session: Session) -> TrustTime:
    """By this device's state where there is one that may be read."""
    now = datetime.now(UTC)
    with suppress(StoreError), closing(Database.read_only(session.paths.database)) as database:
        return trust_time(Releases(database), now)
    return TrustTime(now=now, floor=BUILD_DATE)


def _ask_host(images: Sequence[Image]) -> tuple[HostView, ...] | None:
    """What the engine here has of each image; None where there is no engine."""
    docker = Docker(timeout_s=HOST_TIMEOUT_S, load_stall_s=HOST_TIMEOUT_S)
    try:
        machine = docker.describe().get("Architecture")
        return tuple(_ask_for(docker, image, machine) for image in images)
    except CaissonError:
        return None
    finally:
        docker.close()


def _ask_for(docker: Docker, image: Image, machine: object) -> HostView:
    """An image for another kind of machine would not be read at all."""
    if ARCHITECTURES.get(str(machine), image.architecture) != image.architecture:
        return HostView(is_passed_over=True)
    known = known_layers(docker, [layer.diff_id for layer in image.layers])
    missing = {layer.offset: layer.size_bytes for layer in image.layers[known:]}
    return HostView(known_layers=known, missing_bytes=sum(missing.values()))
