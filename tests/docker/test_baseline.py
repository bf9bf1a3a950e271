"""A check that failed before the update: told always, and with `baseline` not held against the new release."""

import pytest

from caissond.model.records import Outcome, Verdict
from fixtures.images import FOREVER, SICK, load_image
from tests.docker.rig import CRASHES, Rig
from tests.docker.test_cli import Command
from tests.docker.test_gate import SERVES, URL, ask, audited, run_old, update

SILENT = ":"
BASELINE = "baseline = true"


def text_of(rig: Rig, code: str) -> str:
    return next(event.text for event in rig.events if event.code == code)


def test_failing_service_gets_a_release_that_fails_as_it_did_and_that_is_told(rig: Rig) -> None:
    ask(rig, "http", URL, BASELINE)
    run_old(rig, SILENT)
    verdict = update(rig, SILENT)
    assert (verdict.outcome, rig.release()) == (Outcome.SUCCEEDED, "1.1.0")
    assert text_of(rig, "update.failing_before").endswith(
        ": connection refused; not held against the new release"
    )
    (receipt,) = rig.paths.receipts.glob("*.txt")
    told = f"failed before the update already: {verdict.parts[0].forgiven}"
    assert f"{rig.name} {told}" in receipt.read_text()
    assert f"Not asked: it {told}" in Command(rig)("history", "show", verdict.update_id)[1]
    assert "; not held against it: " in audited(rig, verdict, "health_check_started")[0]


def test_failing_service_is_held_to_its_check_unless_the_catalog_says_otherwise(rig: Rig) -> None:
    ask(rig, "http", URL, timeout_secs=2)
    run_old(rig, SILENT)
    verdict = update(rig, SILENT)
    assert (verdict.outcome, verdict.code) == (Outcome.ROLLED_BACK, "gate.timed_out")
    assert (verdict.parts[0].forgiven, rig.release()) == ("", "1.0.0")
    assert text_of(rig, "update.failing_before").endswith("the new release has to pass it all the same")


def test_release_that_mends_a_failing_service_passes(rig: Rig) -> None:
    ask(rig, "http", URL)
    run_old(rig, SILENT)
    assert update(rig, SERVES).outcome is Outcome.SUCCEEDED


def test_service_that_is_well_is_held_to_its_check_with_baseline_too(rig: Rig) -> None:
    ask(rig, "http", URL, BASELINE, timeout_secs=6)
    run_old(rig)
    verdict = update(rig, SILENT)
    assert (verdict.outcome, verdict.code) == (Outcome.ROLLED_BACK, "gate.timed_out")
    assert "update.failing_before" not in rig.codes()


def test_baseline_forgives_no_exit(rig: Rig) -> None:
    ask(rig, "http", URL, BASELINE)
    run_old(rig, SILENT)
    verdict = rig.update(rig.package("1.1.0", rig.image("1.1.0", cmd=CRASHES, healthcheck=None)))
    assert (verdict.outcome, verdict.code, rig.release()) == (Outcome.ROLLED_BACK, "gate.exited", "1.0.0")


def unhealthy_before(rig: Rig, *keys: str) -> Verdict:
    ask(rig, "container_health", *keys, timeout_secs=30, stable_secs=3)
    old = rig.image("1.0.0", cmd=FOREVER, healthcheck=SICK)
    load_image(rig.client, old.path)
    container = rig.client.containers.run(old.reference, name=rig.name, detach=True)
    while container.attrs["State"].get("Health", {}).get("Status") != "unhealthy":
        container.reload()
    return rig.update(rig.package("1.1.0", rig.image("1.1.0", healthcheck=SICK)))


def test_unhealthy_before_is_forgiven_too(rig: Rig) -> None:
    verdict = unhealthy_before(rig, BASELINE)
    assert (verdict.outcome, rig.release()) == (Outcome.SUCCEEDED, "1.1.0")
    assert verdict.parts[0].forgiven == "its health check says unhealthy"


def test_unhealthy_before_is_no_excuse_without_baseline(rig: Rig) -> None:
    verdict = unhealthy_before(rig)
    assert (verdict.outcome, verdict.code, rig.release()) == (Outcome.ROLLED_BACK, "gate.unhealthy", "1.0.0")


class PowerCut(BaseException):
    """Nothing is written down any more."""


@pytest.mark.parametrize("keys", [(), (BASELINE,)], ids=["without", "with baseline"])
def test_what_failed_before_is_remembered_over_a_restart(rig: Rig, keys: tuple[str, ...]) -> None:
    ask(rig, "http", URL, *keys)
    run_old(rig, SILENT)

    def cut() -> None:
        raise PowerCut

    rig.when("update.checking", cut)
    with pytest.raises(PowerCut):
        update(rig, SILENT)
    (verdict,) = rig.settle()
    assert (verdict.outcome, rig.release(), rig.container().status) == (
        Outcome.ROLLED_BACK, "1.0.0", "running",
    )  # fmt: skip
    assert bool(verdict.parts[0].forgiven) is bool(keys)


def test_way_back_asks_for_nothing_that_cannot_be_asked(rig: Rig) -> None:
    """The catalog was changed while the update was cut off."""
    ask(rig, "running")
    run_old(rig, network_mode="none")

    def cut() -> None:
        raise PowerCut

    rig.when("update.checking", cut)
    with pytest.raises(PowerCut):
        update(rig)
    ask(rig, "http", URL)
    (verdict,) = rig.settle()
    assert (verdict.outcome, rig.release(), rig.container().status) == (
        Outcome.ROLLED_BACK, "1.0.0", "running",
    )  # fmt: skip
