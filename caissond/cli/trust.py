"""`caisson trust list`, `check` and `reset-time`."""

import os
import stat
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

import typer

from caissond import BUILD_DATE
from caissond.cli.looking import device_to_look_at
from caissond.cli.session import ExitCode, Session
from caissond.errors import Refusal
from caissond.model.ids import new_update_id
from caissond.model.paths import Paths
from caissond.model.records import AuditKind
from caissond.package.patterns import is_allowed
from caissond.package.signers import Signer
from caissond.package.trust import TrustStore, TrustTime, signer_problem
from caissond.store.database import Database
from caissond.store.history import History
from caissond.store.lock import hold_lock
from caissond.store.releases import Releases
from caissond.update.device import Device
from caissond.update.trusting import load_trust_store, parse_trust_files, trust_time

app = typer.Typer(
    help="See whom this device trusts, and check that it is written down right.", rich_markup_mode=None
)

_COLUMNS = ("PRINCIPALS", "TYPE", "FINGERPRINT", "VALID", "NAMESPACES", "SERVICES", "STATUS")
_NOBODY = "Nobody is trusted: there are no allowed signers."
_OTHERS = stat.S_IWGRP | stat.S_IWOTH


@app.command("list")
def list_signers(context: typer.Context) -> ExitCode:
    """List the allowed signers."""
    session: Session = context.obj
    with device_to_look_at(session) as device:
        try:
            store = load_trust_store(device.paths)
        except Refusal as exc:
            session.complain(exc)
            return ExitCode.REFUSED
        time = trust_time(device.releases, device.now())
        known = [_describe(device, signer, store, time) for signer in store.signers]
    session.show_json(known)
    session.show_table(_COLUMNS, [_row(one) for one in known], empty=_NOBODY)
    return ExitCode.DONE


@app.command("check")
def check(context: typer.Context) -> ExitCode:
    """Check the files that say whom to trust, and the clock. Mistakes are those that make all packages be refused."""
    session: Session = context.obj
    with device_to_look_at(session) as device:
        mistakes, store, warnings = _mistakes(device.paths)
        warnings += [*_writable(device.paths), *(_warnings(device, store) if not mistakes else ())]
    for mistake in mistakes:
        session.complain(mistake)
    for warning in warnings:
        session.complain(warning, word="warning")
    session.show_json(
        {"mistakes": _as_json(mistakes), "warnings": _as_json(warnings), "signers": len(store.signers)}
    )
    if mistakes:
        session.say(f"Mistakes: {len(mistakes)}. Every package is refused until they are corrected.")
        return ExitCode.REFUSED
    session.say(f"No mistakes. Allowed signers: {len(store.signers)}, revoked keys: {len(store.revoked)}.")
    return ExitCode.DONE


@app.command("reset-time")
def reset_time(context: typer.Context) -> None:
    """Forget the newest time that a committed release has shown. For after a package with a date in the future."""
    session: Session = context.obj
    who = f"caisson trust reset-time, process {os.getpid()}"
    with (
        hold_lock(session.paths.lock, who=who),
        closing(Database(session.paths.database, may_replace=False)) as database,
    ):
        releases = Releases(database)
        old = max(BUILD_DATE, releases.time_floor() or BUILD_DATE)
        text = (
            f"no clock before {_date(old)} was believed; now none before {_date(BUILD_DATE)}, the build date"
        )
        at = datetime.now(UTC)
        History(database).audit(new_update_id(), AuditKind.TIME_FLOOR_RESET, text, at=at)
        releases.reset_time_floor()
    session.show_json({"old": old.isoformat(), "new": BUILD_DATE.isoformat()})
    session.say(text[:1].upper() + text[1:] + ".")


def _describe(device: Device, signer: Signer, store: TrustStore, time: TrustTime) -> dict[str, object]:
    return {
        "line": signer.line,
        "principals": signer.principals,
        "key_type": signer.key.key_type,
        "fingerprint": signer.key.fingerprint,
        "valid_after": signer.valid_after.isoformat() if signer.valid_after else None,
        "valid_before": signer.valid_before.isoformat() if signer.valid_before else None,
        "namespaces": signer.namespaces,
        "services": _services_of(device, signer),
        "status": _status(signer, store, time),
    }


def _services_of(device: Device, signer: Signer) -> list[str]:
    """The services that it may sign for, were it not for its status."""
    return [
        service.name
        for service in device.catalog.services
        if not service.signers or is_allowed(signer.principals, service.signers)
    ]


def _status(signer: Signer, store: TrustStore, time: TrustTime) -> str:
    if signer.key.blob in store.revoked:
        return "revoked"
    problem = signer_problem(signer, time)
    return problem.code.removeprefix("trust.") if problem else "ok"


def _row(described: dict[str, object]) -> tuple[str, ...]:
    services = described["services"]
    assert isinstance(services, list)
    return (
        str(described["principals"]),
        str(described["key_type"]),
        str(described["fingerprint"]),
        _validity(described["valid_after"], described["valid_before"]),
        str(described["namespaces"] or "any"),
        ", ".join(services) or "none",
        str(described["status"]).replace("_", " "),
    )


def _validity(after: object, before: object) -> str:
    words = [f"from {after}" if after else "", f"until {before}" if before else ""]
    return " ".join(word.replace("+00:00", "Z") for word in words if word) or "always"


def _mistakes(paths: Paths) -> tuple[list[Refusal], TrustStore, list[Refusal]]:
    """All that makes packages be refused; else whom the files name, and the lines that were passed over."""
    try:
        parsed, revocations = parse_trust_files(paths)
    except Refusal as exc:
        return [exc], TrustStore(), []
    mistakes = [mistake.refusal() for mistake in (*parsed.mistakes, *revocations.mistakes)]
    passed_over = [
        Refusal(f"passing over allowed_signers, line {one.line}: {one.text}", code=one.code)
        for one in parsed.passed_over
    ]
    return mistakes, TrustStore(parsed.signers, revocations.revoked), passed_over


def _warnings(device: Device, store: TrustStore) -> Iterator[Refusal]:
    time = trust_time(device.releases, device.now())
    if not time.is_believed:
        text = f"the clock says {_date(time.now)}, but it is {_date(time.floor)} or later"
        yield Refusal(text, code="trust.clock_behind")
    if not store.signers:
        yield Refusal("nobody is trusted: there are no allowed signers", code="trust.no_signers")
        return
    for signer in store.signers:
        if problem := signer_problem(signer, time):
            yield Refusal(f"allowed_signers, line {signer.line}: {problem}", code=problem.code)
    yield from _unsignable(device, store, time)


def _unsignable(device: Device, store: TrustStore, time: TrustTime) -> Iterator[Refusal]:
    """Services for which no package can get the signatures it needs."""
    required = device.settings.trust.required_signatures
    good = [one for one in store.signers if _status(one, store, time) == "ok"]
    for service in device.catalog.services:
        keys = {one.key.blob for one in good if service.name in _services_of(device, one)}
        if len(keys) < required:
            text = f"no package for {service.name} can be trusted: it needs {required} keys, {len(keys)} may sign"
            yield Refusal(text, code="trust.too_few_signatures")


def _writable(paths: Paths) -> Iterator[Refusal]:
    """Files, and their folders, that somebody besides root and ourselves may write to."""
    files = (paths.allowed_signers, paths.revoked_keys, paths.config, paths.services)
    for path in dict.fromkeys((*files, *(file.parent for file in files))):
        with suppress(FileNotFoundError):
            if _is_writable_by_others(path):
                yield Refusal(f"others may write to {path}", code="trust.writable_by_others")


def _is_writable_by_others(path: Path) -> bool:
    status = path.stat()
    return bool(status.st_mode & _OTHERS) or status.st_uid not in (0, os.getuid())


def _as_json(problems: list[Refusal]) -> list[dict[str, str]]:
    return [{"code": problem.code, "message": problem.message} for problem in problems]


def _date(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
