"""The row of the history says what happened to the service, and nothing a package can forge."""

import pytest

from caissond.errors import Refusal
from caissond.model.events import EVENTS
from caissond.model.ids import UpdateId
from caissond.model.manifest import Manifest, Target
from caissond.model.records import Failure, Outcome, Record, Status
from caissond.update.verdicts import (
    is_about_package,
    is_unsettled,
    outcome_of,
    verdict_on,
    verdict_without_update,
)
from tests.unit.samples import NOW, UPDATE, before, installed, record
from tests.unit.samples import verdict as verdict_of

STEPS = ("web/keep-old", "web/stop-old", "web/commit")
FAILURE = Failure(step="web/start-new", code="gate.exited", message="cannot keep it", verdict=True)
STUCK = Failure(step="web/stop-old", code="docker.error", message="cannot start it")


def finished(*statuses: str, failure: Failure | None = None, stuck: tuple[Failure, ...] = ()) -> Record:
    named = dict(zip(STEPS, map(Status, statuses), strict=True))
    return record(*STEPS).model_copy(update={"statuses": named, "failure": failure, "stuck": stuck})


@pytest.mark.parametrize(
    ("ended", "outcome"),
    [
        (finished("done", "done", "done"), Outcome.SUCCEEDED),
        (finished("undone", "pending", "pending", failure=FAILURE), Outcome.FAILED),
        (finished("undone", "undone", "pending", failure=FAILURE), Outcome.ROLLED_BACK),
        (finished("undone", "undone", "undone", failure=FAILURE), Outcome.ROLLED_BACK),
        (finished("undone", "stuck", "pending", failure=FAILURE, stuck=(STUCK,)), Outcome.ROLLBACK_FAILED),
        (finished("stuck", "pending", "pending", failure=FAILURE, stuck=(STUCK,)), Outcome.ROLLBACK_FAILED),
    ],
    ids=["done", "before the stop", "after the stop", "after the commit", "stuck", "stuck before the stop"],
)
def test_outcome_is_what_became_of_the_service(ended: Record, outcome: Outcome) -> None:
    assert outcome_of(ended) is outcome
    assert {part.outcome for part in verdict_on(ended, finished_at=NOW).parts} == {outcome}


def test_verdict_names_release_package_and_reason() -> None:
    ended = finished("undone", "undone", "pending", failure=FAILURE)
    verdict = verdict_on(ended, finished_at=NOW)
    assert (verdict.services, verdict.versions) == ("web", "1.2.3")
    assert (verdict.code, verdict.message) == ("gate.exited", "cannot keep it")
    assert verdict.hint == EVENTS["gate.exited"].hint != ""
    assert (verdict.package, verdict.source, verdict.retry) == ("web-1.2.3.edgepkg", "inbox", False)


def test_what_is_stuck_is_told_before_what_failed_first() -> None:
    ended = finished("undone", "stuck", "pending", failure=FAILURE, stuck=(STUCK,))
    assert verdict_on(ended, finished_at=NOW).code == "docker.error"


def test_old_release_that_runs_but_is_not_well_leaves_nothing_to_be_undone() -> None:
    ended = finished("undone", "stuck", "pending", failure=FAILURE, stuck=(FAILURE,))
    assert not is_unsettled(ended)
    assert is_unsettled(ended.model_copy(update={"stuck": (FAILURE, STUCK)}))
    assert verdict_on(ended, finished_at=NOW).outcome is Outcome.ROLLBACK_FAILED


@pytest.mark.parametrize(
    ("outcome", "code", "retry", "expected"),
    [
        (Outcome.SUCCEEDED, "", False, True),
        (Outcome.NOTHING_TO_DO, "release.already_installed", False, True),
        (Outcome.REFUSED, "image.layer_mismatch", False, True),
        (Outcome.ROLLED_BACK, "gate.exited", False, True),
        (Outcome.ROLLED_BACK, "gate.exited", True, False),
        (Outcome.REFUSED, "host.disk_full", False, False),
        (Outcome.REFUSED, "service.missing", False, False),
        (Outcome.FAILED, "docker.error", False, False),
        (Outcome.POSTPONED, "docker.unavailable", True, False),
    ],
)
def test_verdict_on_the_host_s_faults_is_not_held_against_the_package(
    outcome: Outcome, code: str, retry: bool, expected: bool
) -> None:
    row = verdict_of(UPDATE, outcome=outcome).model_copy(update={"code": code, "retry": retry})
    assert is_about_package(row) is expected


def test_interrupted_update_gets_another_attempt() -> None:
    cut_off = FAILURE.model_copy(update={"interrupted": True, "verdict": False})
    assert verdict_on(finished("undone", "pending", "pending", failure=cut_off), finished_at=NOW).retry


def test_good_update_needs_no_words() -> None:
    verdict = verdict_on(finished("done", "done", "done"), finished_at=NOW)
    assert (verdict.code, verdict.message, verdict.hint, verdict.retry) == ("", "", "", False)


def test_part_tells_what_ran_before_and_whether_the_gate_was_asked() -> None:
    known = before(was_running=False, known=installed("1.0.0"))
    ended = record(*STEPS, old=known).model_copy(update={"statuses": dict.fromkeys(STEPS, Status.DONE)})
    (part,) = verdict_on(ended, finished_at=NOW).parts
    assert (part.previous_version, part.previous_reference) == ("1.0.0", "example/web:1.0.0")
    assert part.ungated


def refused(package: str, *, message: str = "cannot", outcome: Outcome = Outcome.REFUSED) -> str:
    targets = tuple(
        Target(service="web", service_revision="1", platform=name, reference="web:1") for name in "pq"
    )
    manifest = Manifest(format_version=1, version="1.0.0", created_at=NOW, targets=targets)
    verdict = verdict_without_update(
        UpdateId(UPDATE), package, outcome, Refusal(message, code="trust.unsigned"), source="inbox",
        manifest=manifest, identity="", started_at=NOW, finished_at=NOW,
    )  # fmt: skip
    assert verdict.services == "web"
    assert verdict.retry is (outcome is Outcome.POSTPONED)
    return verdict.model_dump_json()


def test_names_and_words_from_outside_are_made_fit_to_be_shown() -> None:
    row = refused("a\x1b[2J\udc80.edgepkg", message="cannot \u202eread")
    assert '"package":"a?[2J?.edgepkg"' in row
    assert '"message":"cannot ?read"' in row


def test_postponed_package_gets_another_turn() -> None:
    refused("a.edgepkg", outcome=Outcome.POSTPONED)


def test_package_without_a_manifest_has_no_parts() -> None:
    verdict = verdict_without_update(
        UPDATE, "a", Outcome.REFUSED, Refusal("cannot", code="archive.read_failed"), source="media",
        manifest=None, identity="", started_at=NOW, finished_at=NOW,
    )  # fmt: skip
    assert (verdict.parts, verdict.services) == ((), "")


@pytest.mark.parametrize(
    ("code", "again"),
    [
        ("trust.unsigned", True),
        ("trust.expired", False),
        ("trust.not_yet_valid", False),
        ("image.layer_mismatch", True),
        ("image.no_healthcheck", False),
        ("package.downgrade", True),
        ("package.reference_taken", False),
        ("package.changed", False),
        ("host.disk_full", False),
    ],
)
def test_only_what_would_be_said_again_is_remembered(code: str, again: bool) -> None:
    refusal = verdict_without_update(
        UPDATE, "a", Outcome.REFUSED, Refusal("cannot", code=code), source="media",
        manifest=None, identity="", started_at=NOW, finished_at=NOW,
    )  # fmt: skip
    assert is_about_package(refusal) is again
