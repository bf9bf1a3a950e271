"""A Compose service is never lost either: its containers are all of one release, whatever fails at whatever point, and
the next `compose up` finds nothing to change.
"""

from functools import partial
from pathlib import Path

import pytest

from caissond.errors import CaissonError
from caissond.model.records import Outcome, Status, Verdict
from tests.flow.compose import COMPOSE_IMAGE, NAMES, ComposeWorld, broken_by, compose_labels
from tests.flow.device import CATALOG, World, package
from tests.flow.fake_docker import CRASHES
from tests.flow.faults import (
    Fault,
    Killed,
    Strike,
    Trial,
    Where,
    ask_to_stop,
    broken_among,
    cut_power,
    cut_power_quietly,
    end_dockerd,
    go_down,
    hang,
    kill,
    lift,
    live_restore,
    prune,
    refuse,
    settled_once_touched,
    settled_without_state,
)

GOOD, BAD = package(), package(crashes=True)
RELEASES = pytest.mark.parametrize("content", [GOOD, BAD], ids=["good", "crashing"])


def update(world: World, content: bytes) -> Verdict:
    verdict = world.update(world.write_package(content))
    assert isinstance(verdict, Verdict)
    return verdict


@RELEASES
def test_all_containers_of_a_scaled_service_change_together(folder: Path, content: bytes) -> None:
    world = ComposeWorld.of(folder)
    verdict = update(world, content)
    assert verdict.outcome is (Outcome.SUCCEEDED if content is GOOD else Outcome.ROLLED_BACK)
    assert set(world.releases().values()) == {"new" if content is GOOD else "old"}
    assert world.broken_promises() == []
    assert len(verdict.parts) == 1


def test_one_container_that_fails_its_gate_takes_all_back(folder: Path) -> None:
    world = ComposeWorld.of(folder)

    def crash_second(_number: int, what: str) -> None:
        if (
            what.startswith("start")
            and len(started := [c for c in world.docker.calls if c.startswith("start")]) == 2
        ):
            new = world.docker.containers[started[-1].partition(" ")[2]]
            new["State"].update(Status="exited", Running=False, ExitCode=1)

    world.docker.after = crash_second
    verdict = update(world, GOOD)
    lift(world)
    assert (verdict.outcome, verdict.code) == (Outcome.ROLLED_BACK, "gate.exited")
    assert world.broken_promises() == []


def test_release_that_runs_already_is_no_news(folder: Path) -> None:
    world = ComposeWorld.of(folder)
    update(world, GOOD)
    assert update(world, GOOD).outcome is Outcome.NOTHING_TO_DO


def test_container_that_somebody_made_anew_from_an_old_image_is_updated_again(folder: Path) -> None:
    world = ComposeWorld.of(folder)
    update(world, GOOD)
    by_hand = world.docker.named()[NAMES[1]]
    del world.docker.containers[by_hand["Id"]]
    world.docker.run(NAMES[1], world.old_image, policy=world.policy, labels=compose_labels(NAMES[1], "old"))
    assert update(world, GOOD).outcome is Outcome.SUCCEEDED
    assert set(world.releases().values()) == {"new"}


@RELEASES
def test_one_that_was_stopped_before_stays_so_and_the_others_are_gated(folder: Path, content: bytes) -> None:
    world = ComposeWorld.of(folder)
    world.docker.stop(NAMES[0], grace_s=0)
    verdict = update(world, content)
    expected = Outcome.SUCCEEDED if content is GOOD else Outcome.ROLLED_BACK
    assert (verdict.outcome, verdict.parts[0].ungated, world.running()) == (expected, False, [NAMES[1]])
    assert "update.ungated" not in [event.code for event in world.events]
    assert {one["Image"] == world.old_image for one in world.docker.named().values()} == {content is BAD}


def test_image_of_one_that_somebody_made_anew_is_kept_until_the_verdict(folder: Path) -> None:
    world = ComposeWorld.of(folder)
    del world.docker.containers[world.docker.named()[NAMES[1]]["Id"]]
    other = world.docker.add_image("example/by-hand:1")
    world.docker.run(NAMES[1], other, policy=world.policy, labels=compose_labels(NAMES[1], other))
    del world.docker.tagged["example/by-hand:1"]
    world.on_event = lambda event: world.docker.prune() if event.code == "update.checking" else None
    assert update(world, BAD).outcome is Outcome.ROLLED_BACK
    assert sorted(world.running()) == list(NAMES)
    assert world.docker.named()[NAMES[1]]["Image"] == other


@RELEASES
@pytest.mark.parametrize("where", list(Where))
def test_service_is_whole_after_a_kill_at_any_point(folder: Path, where: Where, content: bytes) -> None:
    assert broken_by(Fault(kill, where), folder, content) == {}


@RELEASES
@pytest.mark.parametrize("where", [Where.BEFORE_CALL, Where.AFTER_CALL])
@pytest.mark.parametrize("strike", [refuse, hang, go_down])
def test_service_is_whole_after_trouble_with_the_engine_at_any_point(
    folder: Path, strike: Strike, where: Where, content: bytes
) -> None:
    assert broken_by(Fault(strike, where), folder, content) == {}


@RELEASES
@pytest.mark.parametrize("strike", [live_restore, prune, cut_power, cut_power_quietly, end_dockerd])
def test_service_is_whole_after_a_restart_or_a_prune_at_any_point(
    folder: Path, strike: Strike, content: bytes
) -> None:
    assert broken_by(Fault(strike, Where.AFTER_CALL), folder, content, settled_once_touched) == {}


def test_service_is_whole_when_we_are_asked_to_stop(folder: Path) -> None:
    assert broken_by(Fault(ask_to_stop), folder, GOOD) == {}


@RELEASES
def test_service_is_whole_when_the_database_is_deleted_at_any_point(folder: Path, content: bytes) -> None:
    fault = Fault(kill, Where.AFTER_CALL)
    assert broken_by(fault, folder, content, settled_without_state) == {}


# what people do by hand


def add_third(world: ComposeWorld) -> None:
    world.docker.run(
        "shop-frontend-3",
        world.old_image,
        policy=world.policy,
        labels=compose_labels("shop-frontend-3", world.old_image),
    )


def test_update_of_a_service_that_is_scaled_up_meanwhile_takes_all_containers_at_the_next_attempt(
    folder: Path,
) -> None:
    world = ComposeWorld.of(folder)
    world.on_event = lambda event: add_third(world) if event.code == "update.checking" else None
    verdict = update(world, GOOD)
    assert (verdict.outcome, verdict.code, verdict.retry) == (Outcome.ROLLED_BACK, "update.interrupted", True)
    world.on_event = lambda _event: None
    assert update(world, GOOD).outcome is Outcome.SUCCEEDED
    assert {one["Image"] == world.old_image for one in world.docker.named().values()} == {False}


def test_release_before_outlives_the_same_release_once_more(folder: Path) -> None:
    """Of one container that somebody made anew from another image, the rest running the release already."""
    world = ComposeWorld.of(folder)
    update(world, GOOD)
    with world.device() as device:
        before = device.releases.installed("frontend")
    del world.docker.containers[world.docker.named()[NAMES[1]]["Id"]]
    world.docker.run(NAMES[1], world.old_image, policy=world.policy, labels=compose_labels(NAMES[1], "old"))
    update(world, GOOD)
    with world.device() as device:
        after = device.releases.installed("frontend")
    assert before is not None
    assert after is not None
    assert (after.previous_image, after.previous_reference) == (world.old_image, before.previous_reference)
    assert world.old_image in world.docker.images


def test_parked_container_goes_although_compose_has_made_the_others_anew(folder: Path) -> None:
    """As version 1 does: without Caisson's labels, and one is scaled away."""
    world = ComposeWorld.of(folder)

    def keep_parked(_number: int, what: str) -> None:
        if what.startswith("rm "):
            raise Killed

    world.docker.before = keep_parked
    with pytest.raises(Killed):
        update(world, GOOD)
    lift(world)
    new = world.docker.named()[NAMES[0]]
    for name in NAMES:
        del world.docker.containers[world.docker.named()[name]["Id"]]
    world.docker.run(
        NAMES[0], new["Image"], policy=world.policy, labels=compose_labels(NAMES[0], new["Image"])
    )
    world.settle()
    world.settle()
    assert list(world.docker.named()) == [NAMES[0]]


@pytest.mark.parametrize("content", [GOOD, BAD], ids=["good", "crashing"])
def test_power_cut_between_two_stops_brings_all_old_containers_back(folder: Path, content: bytes) -> None:
    """Docker alone, and with a policy of their own that would not."""

    def check(trial: Trial) -> list[str]:
        with trial.world.device() as device:
            records = device.journal.unfinished()
        stopping = any(
            name.endswith("/stop-old") and status is Status.DOING
            for record in records
            for name, status in record.statuses.items()
        )
        stopped = any(call.startswith("stop ") for call in trial.world.docker.calls)
        running = sorted(trial.world.running())
        return [f"{running} run"] if stopping and stopped and running != list(NAMES) else []

    fault = Fault(cut_power, Where.AFTER_CALL)
    make = partial(ComposeWorld.of, policy="no")
    assert broken_among(make, fault, folder, content, check, least=41) == {}


def test_stopped_container_keeps_its_policy_on_the_way_back(folder: Path) -> None:
    def make(root: Path) -> ComposeWorld:
        world = ComposeWorld.of(root)
        world.docker.stop(NAMES[0], grace_s=0)
        world.docker.calls.clear()
        return world

    def check(trial: Trial) -> list[str]:
        trial.settle()
        policies = {one["HostConfig"]["RestartPolicy"]["Name"] for one in trial.world.docker.named().values()}
        return [] if policies == {trial.world.policy} else [f"policies {policies}"]

    assert broken_among(make, Fault(refuse), folder, GOOD, check, least=41) == {}


def test_plain_container_that_compose_made_keeps_what_compose_wrote_on_it(folder: Path) -> None:
    """Its image name is not moved, so with another label the next `up` would bring the old image back."""
    world = World.make(folder)
    labels = compose_labels("shop-frontend-1", world.old_image)
    world.docker.containers[world.old]["Config"]["Labels"] = labels
    assert update(world, GOOD).outcome is Outcome.SUCCEEDED
    after = world.docker.named()["frontend"]["Config"]["Labels"]
    assert {name: after.get(name) for name in labels} == labels


# what is refused before anything is touched


def refused(world: ComposeWorld) -> str:
    before = sorted(world.docker.containers)
    result = world.update(world.write_package(GOOD))
    assert sorted(world.docker.containers) == before
    assert not isinstance(result, CaissonError)
    assert result.outcome is Outcome.REFUSED
    return result.code


@pytest.mark.parametrize(
    ("images", "code"),
    [
        ({"db": "example/db:1"}, "compose.unknown_service"),
        ({"frontend": ""}, "compose.no_image"),
        ({"frontend": f"example/shop@sha256:{64 * '0'}"}, "compose.image_pinned"),
        ({"frontend": COMPOSE_IMAGE, "worker": COMPOSE_IMAGE}, "package.reference_taken"),
    ],
)
def test_file_by_which_the_image_cannot_be_changed_refuses_the_update(
    folder: Path, images: dict[str, str], code: str
) -> None:
    world = ComposeWorld.of(folder)
    world.set_compose_file(images)
    assert refused(world) == code


def test_device_without_compose_refuses_the_update(folder: Path) -> None:
    world = ComposeWorld.of(folder)
    world.docker.environment = {"PATH": str(folder / "nothing")}
    assert refused(world) == "compose.unavailable"


def test_service_that_compose_never_made_is_refused(folder: Path) -> None:
    world = ComposeWorld.of(folder)
    for container in world.docker.containers.values():
        container["Config"]["Labels"]["com.docker.compose.project"] = "another"
    assert refused(world) == "service.missing"


def test_image_name_that_another_container_has_is_not_taken(folder: Path) -> None:
    world = ComposeWorld.of(folder)
    world.docker.run("batch", COMPOSE_IMAGE, policy="no")
    assert refused(world) == "package.reference_taken"


def test_image_name_of_a_compose_service_is_no_other_service_s_to_take(folder: Path) -> None:
    """Also when an update has made its containers, of which Docker shows no image name any more."""
    world = ComposeWorld.of(folder)
    other = CATALOG.partition("[[services]]")[2].replace('"frontend"', '"other"')
    world.paths.services.write_text(f"{world.paths.services.read_text()}[[services]]{other}")
    world.docker.add_image("example/other:1")
    world.docker.run("other", "example/other:1", policy="no")
    update(world, GOOD)
    content = package(reference=COMPOSE_IMAGE).replace(b'"frontend"', b'"other"   ')
    verdict = update(world, content)
    assert (verdict.outcome, verdict.code) == (Outcome.REFUSED, "package.reference_taken")


def test_package_may_not_take_the_image_name_of_another_service_of_the_file(folder: Path) -> None:
    world = ComposeWorld.of(folder)
    verdict = update(world, package(reference="example/db:1"))
    assert (verdict.outcome, verdict.code) == (Outcome.REFUSED, "package.reference_taken")


def test_container_of_compose_run_is_left_alone(folder: Path) -> None:
    world = ComposeWorld.of(folder)
    labels = compose_labels("shop-frontend-1", world.old_image) | {"com.docker.compose.oneoff": "True"}
    world.docker.add_image("example/tool:1", cmd=CRASHES)
    world.docker.run("shop-frontend-run-1", "example/tool:1", policy="no", labels=labels)
    assert update(world, GOOD).outcome is Outcome.SUCCEEDED
    assert "shop-frontend-run-1" in world.docker.named()
