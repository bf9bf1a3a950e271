"""`caisson package build`: the release engineer's command. It needs no device, no catalog and no state."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from caissond.cli.image_sources import image_finder
from caissond.cli.inspecting import inspect, verify
from caissond.cli.release_options import NamedImage, ReleaseOptions, plan_manifest, split_pair
from caissond.cli.session import ExitCode, Session
from caissond.cli.signing import SignKeys, convert, keygen, load_signers, sign, sign_with
from caissond.cli.work import ZstdLevel, hint_for_maker, interruptible, show_built
from caissond.errors import Refusal
from caissond.host.docker import Docker
from caissond.package.build import build_package
from caissond.package.compress import DEFAULT_LEVEL
from caissond.package.inputs import Input, parse_input
from caissond.package.writing import workshop
from caissond.wiring import load_settings

Strings = list[str]


def build(
    context: typer.Context,
    *,
    image: Annotated[
        Strings,
        typer.Option(
            metavar="SERVICE=SOURCE",
            help="An image for a service: a reference in the local engine, docker-archive:FILE[:REF], "
            "oci-archive:FILE[:REF] or oci:FOLDER[:REF]. May be repeated.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The .edgepkg file to write.")
    ],
    version: Annotated[
        str, typer.Option("--version", metavar="VERSION", help="The release's semantic version.")
    ],
    service_revision: Annotated[
        Strings,
        typer.Option(
            default_factory=list,
            show_default=False,
            metavar="[SERVICE=]REVISION",
            help="As in the device's catalog. May be repeated.",
        ),
    ],
    platform: Annotated[
        Strings,
        typer.Option(
            default_factory=list,
            show_default=False,
            metavar="OS/ARCH",
            help="Take the images for this platform only. May be repeated.",
        ),
    ],
    reference: Annotated[
        Strings,
        typer.Option(
            default_factory=list,
            show_default=False,
            metavar="SERVICE=REF",
            help="What the image is called on the device. May be repeated.",
        ),
    ],
    optional: Annotated[
        Strings,
        typer.Option(
            default_factory=list,
            show_default=False,
            metavar="SERVICE",
            help="Devices without this service pass it over. May be repeated.",
        ),
    ],
    device_type: Annotated[
        Strings,
        typer.Option(
            default_factory=list,
            show_default=False,
            metavar="TYPE",
            help="For devices of this type only. May be repeated.",
        ),
    ],
    created_at: Annotated[
        str,
        typer.Option(
            metavar="TIME", help="RFC 3339; default SOURCE_DATE_EPOCH, else when the newest image was made."
        ),
    ] = "",
    min_updater_version: Annotated[
        str | None, typer.Option(metavar="VERSION", help="The oldest Caisson that may apply it.")
    ] = None,
    allow_downgrade: Annotated[
        bool, typer.Option("--allow-downgrade", help="Let devices with a newer version go back to it.")
    ] = False,
    zstd_level: ZstdLevel = DEFAULT_LEVEL,
    sign_key: SignKeys,
) -> int:
    """Build a package from images. The same images give the same bytes, on any machine with the same zstd."""
    session: Session = context.obj
    sources = [_parse_source(text) for text in image]
    options = ReleaseOptions(
        version=version, created_at=created_at, revisions=service_revision, references=reference,
        platforms=platform, optional=optional, device_types=device_type, allow_downgrade=allow_downgrade,
        min_updater_version=min_updater_version,
    )  # fmt: skip
    signers = load_signers(sign_key)
    try:
        with (
            interruptible(),
            workshop(output) as folder,
            session.progress_bar() as bar,
            image_finder(_engine(session), folder, platform, bar) as finder,
        ):
            images = [
                NamedImage(service, found) for service, source in sources for found in finder.find(source)
            ]
            manifest = plan_manifest(options, images)
            built = build_package(
                manifest, [one.found for one in images], output, folder,
                level=zstd_level, sign=lambda content: sign_with(signers, content), bar=bar,
            )  # fmt: skip
    except Refusal as exc:
        session.complain(exc, hint=hint_for_maker(exc))
        return ExitCode.ERROR
    show_built(session, output, built, [signer.key.fingerprint for signer in signers])
    return ExitCode.DONE


def _parse_source(text: str) -> tuple[str, Input]:
    service, source = split_pair(text, "--image")
    try:
        return service, parse_input(source)
    except ValueError as exc:
        raise typer.BadParameter(f"{exc} in {text!r}", param_hint="--image") from exc


def _engine(session: Session) -> Docker:
    settings = load_settings(session.paths).docker
    return Docker(timeout_s=settings.timeout_secs, load_stall_s=settings.load_stall_secs)


def add_commands(app: typer.Typer) -> None:
    """Make them commands of `caisson package`."""
    commands: dict[str, Callable[..., int]] = {
        "build": build, "inspect": inspect, "verify": verify, "sign": sign, "convert": convert, "keygen": keygen,
    }  # fmt: skip
    for name, command in commands.items():
        app.command(name)(command)
