"""The same verdict as `ssh-keygen -Y verify`, over more than 2,000 signatures; where not, stricter, and said why.

Never more lenient: what ssh-keygen refuses is refused here. Every reason to be stricter stands in `case.STRICTER`, and
each has to be seen, so that the list does not outlive what it describes.
"""

import os
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from caissond.errors import Refusal
from caissond.package.trust import TrustTime, check_signatures, parse_trust_store
from tests.flow import signers_cases, sshsig_cases
from tests.flow.case import LONG_AGO, STRICTER, Case

GROUPS = (
    sshsig_cases.forms, sshsig_cases.cuts, sshsig_cases.flips, sshsig_cases.armors, sshsig_cases.numbers,
    signers_cases.principals, signers_cases.options, signers_cases.times, signers_cases.revocations,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What was said of a case."""

    case: Case
    theirs: bool
    ours: bool


def ssh_keygen_accepts(folder: Path, case: Case) -> bool:
    """What the real one says; it has to be a verdict and not an accident."""
    folder.mkdir()
    for name, content in (("s", case.signature), ("f", case.signers.encode()), ("r", case.revoked)):
        (folder / name).write_bytes(content)
    command = [
        "ssh-keygen",
        "-Y",
        "verify",
        "-f",
        "f",
        "-I",
        case.principal,
        "-n",
        "caisson-package",
        "-s",
        "s",
    ]
    command += [f"-Overify-time={case.when:%Y%m%d%H%M%S}Z", *(["-r", "r"] if case.revoked else [])]
    done = subprocess.run(
        command, input=case.content, cwd=folder, capture_output=True, timeout=30,
        env={"PATH": os.environ["PATH"], "TZ": case.zone},
    )  # fmt: skip
    assert done.returncode in (0, 255), done.stderr
    return done.returncode == 0


def we_accept(case: Case) -> bool:
    os.environ["TZ"] = case.zone
    time.tzset()
    try:
        store = parse_trust_store(case.signers, case.revoked)
        counting = check_signatures(
            case.content, case.signature, store, time=TrustTime(case.when, LONG_AGO),
            services={"frontend": (case.principal,)}, required=1, allow_unsigned=False,
        )  # fmt: skip
    except Refusal:
        return False
    return len(counting) == 1


@contextmanager
def its_own_zone() -> Iterator[None]:
    """The zone is the process's own: put it back."""
    before = os.environ.get("TZ")
    try:
        yield
    finally:
        os.environ.pop("TZ", None)
        if before is not None:
            os.environ["TZ"] = before
        time.tzset()


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> list[Verdicts]:
    """Every case, judged by both. That takes some ten seconds: once is enough."""
    cases = [case for group in GROUPS for case in group()]
    place = tmp_path_factory.mktemp("cases")
    folders = [place / str(number) for number in range(len(cases))]
    with ThreadPoolExecutor(max_workers=2) as pool:
        theirs = list(pool.map(ssh_keygen_accepts, folders, cases))
    with its_own_zone():
        return [Verdicts(case, their, we_accept(case)) for case, their in zip(cases, theirs, strict=True)]


def test_there_are_enough_cases_and_enough_of_both_kinds(verdicts: list[Verdicts]) -> None:
    assert len({one.case.name for one in verdicts}) == len(verdicts) > 2000
    assert 300 < sum(one.theirs for one in verdicts) < len(verdicts) - 1000


def test_never_more_lenient_than_ssh_keygen(verdicts: list[Verdicts]) -> None:
    assert [one.case.name for one in verdicts if one.ours and not one.theirs] == []


def test_stricter_than_ssh_keygen_only_for_a_listed_reason(verdicts: list[Verdicts]) -> None:
    stricter = [one.case for one in verdicts if one.theirs and not one.ours]
    assert [case.name for case in stricter if case.stricter not in STRICTER] == []


def test_every_listed_reason_is_seen(verdicts: list[Verdicts]) -> None:
    assert {one.case.stricter for one in verdicts if one.theirs and not one.ours} == STRICTER.keys()
