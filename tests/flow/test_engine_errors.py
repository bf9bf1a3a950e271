"""An engine that answers a request with an error: whatever it was asked, the package gets a verdict or another turn."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from caissond.errors import CaissonError, DockerError, HostUnavailable
from caissond.model.events import Event
from caissond.model.ids import UpdateId, claim_of, keep_tag
from caissond.model.records import Outcome
from caissond.update.old_container import REMADE_LABEL
from tests.flow.device import World, outcome, package
from tests.flow.fake_docker import Interfere, leave_alone
from tests.flow.faults import Fault, Killed, Trial, Where, broken_by, kill, lift, refuse

GOOD, BAD = package(), package(crashes=True)


@pytest.fixture
def folder() -> Iterator[Path]:
    with TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        yield Path(folder)


def _no_turn(trial: Trial) -> list[str]:
    """Before a turn begins an error is raised; in it there has to be a verdict, or others would not get theirs."""
    began = any(event.code == "package.received" for event in trial.world.events)
    return [trial.result.message] if began and isinstance(trial.result, CaissonError) else []


@pytest.mark.parametrize("where", [Where.BEFORE_CALL, Where.AFTER_CALL])
def test_refused_request_in_the_turn_of_a_package_is_a_verdict_on_it(folder: Path, where: Where) -> None:
    assert broken_by(Fault(refuse, where), folder, GOOD, _no_turn) == {}


def _refuse_old(world: World) -> Interfere:
    """What a dockerd does that was killed inside a start: this id is never started again."""

    def interfere(_number: int, what: str) -> None:
        if what == f"start {world.old}":
            raise DockerError(f"cannot start container {world.old}: id already in use", code="docker.error")

    return interfere


def _refuse_old_and_first_copy(world: World) -> Interfere:
    """The same happens with what is made in its place, once."""
    copies: list[str] = []
    refuse_old = _refuse_old(world)

    def interfere(number: int, what: str) -> None:
        refuse_old(number, what)
        name, _, container = what.partition(" ")
        if name == "start" and container in world.docker.containers:
            one = world.docker.containers[container]
            if REMADE_LABEL in (one["Config"].get("Labels") or {}):
                copies.append(container)
                if container == copies[0]:
                    raise DockerError(f"cannot {what}: id already in use", code="docker.error")

    return interfere


def _both(*all_of_them: Interfere) -> Interfere:
    def interfere(number: int, what: str) -> None:
        for one in all_of_them:
            one(number, what)

    return interfere


def test_old_container_that_can_never_be_started_again_is_made_again(folder: Path) -> None:
    world = World.make(folder)
    world.docker.before = _refuse_old(world)
    assert outcome(world.update(world.write_package(BAD))) is Outcome.ROLLED_BACK
    assert world.broken_promises() == []
    assert world.docker.named()["frontend"]["Id"] != world.old


def _still_refused(world: World) -> None:
    """caissond alone is started again."""
    world.docker.before, world.docker.after = _refuse_old(world), leave_alone


def _rebooted(world: World) -> None:
    """containerd is another one then, and takes the id again."""
    lift(world)
    world.docker.power_cut()


@pytest.mark.parametrize(
    ("come_back", "policy"),
    [
        *((_still_refused, policy) for policy in ("no", "unless-stopped", "always")),
        *((_rebooted, policy) for policy in ("unless-stopped", "always")),
    ],
)
@pytest.mark.parametrize("where", [Where.BEFORE_CALL, Where.AFTER_CALL])
def test_making_it_again_can_be_cut_off_anywhere(
    folder: Path, where: Where, come_back: Callable[[World], None], policy: str
) -> None:
    broken, point, struck = {}, 0, True
    while struck:
        point += 1
        world = World.make(folder / str(point), policy=policy)
        Fault(kill, where).arm(world, frozenset({point}))
        world.docker.before = _both(world.docker.before, _refuse_old(world))
        with suppress(Killed):
            world.update(world.write_package(BAD))
        struck = len(world.docker.calls) >= point  # a refused call strikes nothing after it
        is_open = _has_open_record(world)
        come_back(world)
        alone = (
            [] if world.running() or come_back is _still_refused or not is_open else ["nothing is revived"]
        )
        world.settle()
        if problems := [*alone, *world.broken_promises()]:
            broken[point] = problems
    assert point > 40
    assert broken == {}


def _alone(world: World) -> list[str]:
    """Promise 2: Docker has brought the old release back under its name, or its copy once there is nothing else."""
    up = world.running()
    is_well = "frontend" in up or (world.old not in world.docker.containers and up)
    return [] if is_well else [f"Docker alone brings back {up}"]


def _has_open_record(world: World) -> bool:
    with world.device() as device:
        return bool(device.journal.unfinished())


def _running_copies(world: World) -> set[str]:
    return {
        id
        for id, one in world.docker.containers.items()
        if one["State"]["Running"] and REMADE_LABEL in (one["Config"].get("Labels") or {})
    }


def _full() -> Interfere:
    """There is no room for one more container."""

    def interfere(_number: int, what: str) -> None:
        if what.startswith("create "):
            raise DockerError(f"cannot {what}: no space left on device", code="docker.error")

    return interfere


def test_copy_that_runs_is_not_given_up_for_an_original_that_cannot_be_started(folder: Path) -> None:
    """Though no second copy could be made: what runs when caissond is started again runs all the time."""
    broken, point, struck = {}, 0, True
    while struck:
        point += 1
        world = World.make(folder / str(point))
        Fault(kill, Where.AFTER_CALL).arm(world, frozenset({point}))
        world.docker.before = _refuse_old(world)
        with suppress(Killed):
            world.update(world.write_package(BAD))
        struck = len(world.docker.calls) >= point  # a refused call strikes nothing after it
        _still_refused(world)
        world.docker.before = _both(world.docker.before, _full())
        copies = _running_copies(world)
        world.settle()
        if copies - _running_copies(world):
            broken[point] = [world.docker.calls[point - 1]]
        _still_refused(world)
        world.settle()
        if problems := world.broken_promises():
            broken[point] = problems
    assert point > 40
    assert broken == {}


@pytest.mark.parametrize("is_pruned", [False, True])
def test_copy_that_can_never_be_started_is_made_again(folder: Path, is_pruned: bool) -> None:
    world = World.make(folder)
    if is_pruned:
        world.on_event = lambda event: world.docker.prune() if event.code == "update.checking" else None
    world.docker.before = _refuse_old_and_first_copy(world)
    assert outcome(world.update(world.write_package(BAD))) is Outcome.ROLLED_BACK
    assert world.version() == "old"
    world.settle()
    assert world.broken_promises() == []


def test_original_is_started_where_its_copy_cannot_be(folder: Path) -> None:
    world = World.make(folder)
    refuse_old = _refuse_old(world)
    world.docker.before = _both(refuse_old, _refuse_copies(world))
    assert outcome(world.update(world.write_package(BAD))) is Outcome.ROLLBACK_FAILED
    world.docker.before = _refuse_copies(world)
    world.settle()
    assert world.broken_promises() == []


def _refuse_copies(world: World) -> Interfere:
    def interfere(_number: int, what: str) -> None:
        name, _, container = what.partition(" ")
        one = world.docker.containers.get(container)
        if name == "start" and one and REMADE_LABEL in (one["Config"].get("Labels") or {}):
            raise DockerError(f"cannot {what}: failed to mount overlay", code="docker.error")

    return interfere


def test_copy_that_dies_is_in_nobodys_way(folder: Path) -> None:
    """The power goes when the copy runs beside its original, and Docker cannot remove the copy."""
    world = World.make(folder, policy="always")
    world.docker.before = _refuse_old(world)

    def cut(_number: int, what: str) -> None:
        if what.startswith(f"rm {world.old}"):
            raise Killed

    world.docker.before = _both(_refuse_old(world), cut)
    with suppress(Killed):
        world.update(world.write_package(BAD))
    (copy,) = _running_copies(world)
    _rebooted(world)
    world.docker.cannot_remove.add(copy)
    world.settle()
    assert world.version() == "old"
    world.docker.cannot_remove.clear()
    world.settle()
    assert world.broken_promises() == []


def test_old_release_that_can_be_made_anew_only_is_up_after_an_update_that_had_not_touched_it(
    folder: Path,
) -> None:
    """dockerd is killed in a load, and once more when what it took down is started."""
    world = World.make(folder)
    refuse_old = _refuse_old(world)

    def end_dockerd_once(_number: int, what: str) -> None:
        if what == "load":
            world.docker.before = refuse_old
            world.docker.end_alone()
            raise HostUnavailable("cannot load: the connection was lost", code="docker.unavailable")

    world.docker.before = end_dockerd_once
    world.update(world.write_package(GOOD))
    world.settle()
    assert world.broken_promises() == []


@pytest.mark.parametrize("policy", ["no", "unless-stopped", "always"])
def test_original_that_can_be_neither_started_nor_removed_is_left_behind(folder: Path, policy: str) -> None:
    world = World.make(folder, policy=policy)
    world.docker.before = _refuse_old(world)
    world.docker.cannot_remove.add(world.old)
    assert outcome(world.update(world.write_package(BAD))) is Outcome.ROLLED_BACK
    assert world.version() == "old"
    assert _without_the_dead(world) == []


def _prune_in_vain(world: World, code: str) -> None:
    """Somebody prunes when this is told, and Docker cannot remove the old container: it is dead from then on."""
    world.docker.cannot_remove.add(world.old)

    def on_event(event: Event) -> None:
        if event.code == code:
            world.docker.prune()

    world.on_event = on_event


def _without_the_dead(world: World) -> list[str]:
    """Once Docker can remove it after all, the next start clears it away."""
    assert world.docker.containers[world.old]["State"]["Dead"]
    world.docker.cannot_remove.clear()
    world.settle()
    return world.broken_promises()


def test_old_container_whose_removal_was_cut_off_is_made_again(folder: Path) -> None:
    world = World.make(folder)
    _prune_in_vain(world, "update.checking")
    assert outcome(world.update(world.write_package(BAD))) is Outcome.ROLLED_BACK
    assert world.version() == "old"
    assert _without_the_dead(world) == []


def test_commit_does_not_fail_for_an_old_container_whose_removal_was_cut_off(folder: Path) -> None:
    world = World.make(folder)
    _prune_in_vain(world, "update.checking")
    assert outcome(world.update(world.write_package(GOOD))) is Outcome.SUCCEEDED
    assert world.version() == "new"
    assert _without_the_dead(world) == []


def test_dead_container_keeps_nothing_else_from_being_cleared_away(folder: Path) -> None:
    """Neither another parked container nor a tag; and it is said which one stays."""
    world = World.make(folder)
    _prune_in_vain(world, "update.checking")
    world.update(world.write_package(GOOD))
    world.on_event = lambda _event: None
    second = world.docker.named()["frontend"]["Id"]
    world.docker.before = _refuse_to_remove(second)
    world.update(world.write_package(package(version="1.3.0")))
    lift(world)
    assert len(world.docker.containers) == 3
    tag = keep_tag(claim_of(world.paths.state_dir), UpdateId(str(uuid.uuid4())), "frontend")
    world.docker.tagged[tag] = world.old_image
    world.settle()
    assert second not in world.docker.containers
    assert tag not in world.docker.tagged
    (dead,) = (name for name in world.docker.named() if name.startswith("frontend-caisson-old-"))
    assert world.events[-1].text.startswith(f"{dead} stays: ")


def _refuse_to_remove(container: str) -> Interfere:
    def interfere(_number: int, what: str) -> None:
        if what.startswith(f"rm {container}"):
            raise DockerError(f"cannot {what}", code="docker.error")

    return interfere


@pytest.mark.parametrize("where", [Where.BEFORE_CALL, Where.AFTER_CALL])
@pytest.mark.parametrize("content", [GOOD, BAD])
def test_update_with_a_dead_old_container_can_be_cut_off_anywhere(
    folder: Path, where: Where, content: bytes
) -> None:
    broken, point, struck = {}, 0, True
    while struck:
        point += 1
        world = World.make(folder / str(point))
        _prune_in_vain(world, "update.checking")
        Fault(kill, where).arm(world, frozenset({point}))
        with suppress(Killed):
            world.update(world.write_package(content))
        struck = len(world.docker.calls) >= point  # a refused call strikes nothing after it
        lift(world)
        world.docker.power_cut()
        world.settle()
        world.docker.cannot_remove.clear()
        world.settle()
        if problems := world.broken_promises():
            broken[point] = problems
    assert point > 40
    assert broken == {}


def _note_syncs(world: World, what: Callable[[], object]) -> list[object]:
    """What was so at each sync."""
    seen: list[object] = []
    sync = world.docker.sync

    def noting() -> None:
        seen.append(what())
        sync()

    world.docker.sync = noting  # type: ignore[method-assign]
    return seen


def test_old_container_that_was_made_again_is_on_the_disk_before_the_record_is_closed(folder: Path) -> None:
    world = World.make(folder)
    synced = _note_syncs(world, lambda: _running_copies(world))

    def on_event(event: Event) -> None:
        if event.code == "update.checking":
            world.docker.prune()

    world.on_event = on_event
    world.update(world.write_package(BAD))
    assert synced[-1] == {world.docker.named()["frontend"]["Id"]}


def test_own_policy_is_on_the_disk_before_the_old_container_goes(folder: Path) -> None:
    """Also when the process was gone after it was set, and before it was synced."""
    world = World.make(folder)
    policy = _note_syncs(
        world,
        lambda: world.docker.named()["frontend"]["HostConfig"]["RestartPolicy"]["Name"],
    )

    def interfere(_number: int, what: str) -> None:
        if what.split()[0] == "update" and what.endswith(world.policy):
            raise Killed

    world.docker.after = interfere
    with suppress(Killed):
        world.update(world.write_package(GOOD))
    assert policy[-1] == "always"
    lift(world)
    world.settle()
    assert policy[-1] == world.policy
    assert world.broken_promises() == []
