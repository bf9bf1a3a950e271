"""What the release engineer's commands have in common: stopping cleanly, refusals, progress, and what was built."""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.filesize import decimal

from caissond.cli.applying import STOP_SIGNALS
from caissond.cli.session import Session
from caissond.errors import Refusal
from caissond.model.manifest import Target
from caissond.package.build import Bar, Built
from caissond.package.compress import MAX_LEVEL
from caissond.package.manifest_text import format_time

ZstdLevel = Annotated[
    int,
    typer.Option(
        "--zstd-level",
        metavar="LEVEL",
        min=1,
        max=MAX_LEVEL,
        help="How hard to pack: 19 is slow and a little smaller.",
    ),
]


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C, SIGTERM and a broken connection end the command, and whatever is half done is removed."""

    def stop(_number: int, _frame: object) -> None:
        raise typer.Abort

    before = {number: signal.signal(number, stop) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_HINTS = {
    "manifest": "correct what was typed for it",
    "archive": "make the input again: docker save, skopeo copy, or docker buildx build --output type=oci",
    "image": "make the input again: docker save, skopeo copy, or docker buildx build --output type=oci",
}


def hint_for_maker(error: Refusal) -> str | None:
    """What the maker of a package can do, who is not told to ask its maker; None where the table says it."""
    return _HINTS.get(error.code.partition(".")[0])


class Refusing:
    """Tells a refusal and swallows it: what stands behind the block is reached only then."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        if isinstance(error, Refusal):
            self._session.complain(error)
            return True
        return False


def count_bytes(phase: str, total_bytes: int, bar: Bar) -> Callable[[int], None]:
    """Adds up bytes for a progress bar."""
    done_bytes = 0

    def progress(more_bytes: int) -> None:
        nonlocal done_bytes
        done_bytes += more_bytes
        bar(phase, done_bytes, max(total_bytes, done_bytes))

    return progress


def show_built(session: Session, output: Path, built: Built, signers: Sequence[str]) -> None:
    """What was built, for people or for scripts."""
    document = {
        "package": str(output),
        "size_bytes": built.size_bytes,
        "layers": built.layers,
        "layer_uses": built.layer_uses,
        "signed_by": list(signers),
        "manifest": built.manifest.model_dump(mode="json"),
    }
    session.show_json(document)
    session.say(f"Built {output}: {decimal(built.size_bytes)}")
    session.say(f"Version: {built.manifest.version}, made {format_time(built.manifest.created_at)}")
    for target in built.manifest.targets:
        session.say(target_line(target))
    shared = f", used {built.layer_uses} times" if built.layer_uses > built.layers else ""
    session.say(f"Layers: {built.layers}{shared}")
    session.say(f"Signed by: {', '.join(signers) or 'nobody yet'}")


def target_line(target: Target) -> str:
    """One target in one line; sizes where the manifest has them."""
    text = f"Target: {target.service} revision {target.service_revision} on {target.platform}: {target.reference}"
    if target.size_bytes is not None and target.unpacked_bytes is not None:
        text += f" ({decimal(target.size_bytes)}, unpacked {decimal(target.unpacked_bytes)})"
    return f"{text}, optional" if target.optional else text
