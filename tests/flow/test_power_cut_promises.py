"""What is held against a device after a power cut sees what is broken. Not here: an open record, a stuck way back, a
database that is damaged but can be read.
"""

import re
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from caissond.model.ids import claim_of, keep_tag
from tests.device.cuts.facts import STATE_FOLDER, Facts
from tests.device.cuts.promises import (
    NEVER,
    allowed_without_caissond,
    broken_promises,
    broken_without_caissond,
    forgotten,
    repeated,
)
from tests.flow.device import World, package
from tests.flow.faults import Killed, cut_power

OLD, NEW = "1.0.0", "2.0.0"
BOTH = frozenset({OLD, NEW})
CONTAINER: dict[str, Any] = {
    "Name": "/web",
    "Image": "sha256:1",
    "State": {"Running": True, "Status": "running"},
    "Config": {"Env": ["PATH=/bin", "SITE=north", f"RELEASE={OLD}"], "Labels": {"site": "north"}},
    "HostConfig": {"RestartPolicy": {"Name": "unless-stopped"}, "Memory": 64 << 20},
    "Mounts": [{"Type": "volume", "Name": "web-data", "Destination": "/data"}],
}


@pytest.fixture
def whole(tmp_path: Path) -> Facts:
    """A device on which nothing is broken."""
    world = World.make(tmp_path)
    world.update(world.write_package(package()))
    return Facts(
        containers=[deepcopy(CONTAINER)],
        tags={f"example/web:{OLD}": "sha256:1"} | dict.fromkeys(_kept(world), "sha256:0"),
        untagged=[],
        version=OLD,
        filler="",
        note="kept",
        state=world.paths,
        leftovers=[],
    )


def _kept(world: World) -> list[str]:
    """The tag by which the release before the last one is kept, on a device whose state is where it is by default."""
    with world.device() as device:
        installed = device.releases.all_installed()
    return [keep_tag(claim_of(Path(STATE_FOLDER)), one.update_id, one.release.service) for one in installed]


def test_whole_device_keeps_all_promises(whole: Facts) -> None:
    assert broken_promises(whole, BOTH) == []
    assert broken_without_caissond(whole, frozenset({("web", OLD)})) == []


def with_container(**changes: object) -> Callable[[Facts], Facts]:
    """Its only container is otherwise: by the path of names in `docker inspect`, with two _ between them."""

    def change(facts: Facts) -> Facts:
        for path, value in changes.items():
            *above, last = path.split("__")
            target = facts.containers[0]
            for name in above:
                target = target[name]
            target[last] = value
        return facts

    return change


def with_facts(**changes: Any) -> Callable[[Facts], Facts]:
    return lambda facts: replace(facts, **changes)


def with_sql(statement: str) -> Callable[[Facts], Facts]:
    def change(facts: Facts) -> Facts:
        database = sqlite3.connect(facts.state.database)
        with database:
            database.execute(statement)
        database.close()
        return facts

    return change


def damage(facts: Facts) -> Facts:
    """A database was moved aside."""
    facts.state.database.with_name("state.db.damaged-1").touch()
    return facts


BROKEN = {
    "there are the containers": with_facts(containers=[CONTAINER, {**CONTAINER, "Name": "/web-parked"}]),
    "the service is exited": with_container(State={"Running": False, "Status": "exited"}),
    "it runs nothing that answers": with_facts(version=""),
    "its image is": with_container(Image="sha256:2"),
    "its environment is": with_container(Config__Env=["PATH=/bin", "SITE=north", f"RELEASE={NEW}"]),
    "its labels are": with_container(Config__Labels={}),
    "its policy is": with_container(HostConfig__RestartPolicy__Name="always"),
    "its mounts are": with_container(Mounts=[]),
    "a layer of its image": with_facts(filler="0" * 64),
    "its volume does not hold": with_facts(note=""),
    "there are the private tags": with_facts(
        tags={f"example/web:{OLD}": "sha256:1", "caisson.invalid/ingest-1:1": "sha256:3"}
    ),
    "there are the tags": with_facts(
        tags={f"example/web:{OLD}": "sha256:1", f"example/web:{NEW}": "sha256:2"}
    ),
    "the database was damaged": lambda facts: damage(facts),
    "there are images without a name": with_facts(untagged=["sha256:4"]),
    "the work folder holds": with_facts(leftovers=["/var/lib/caisson/work/1"]),
    "is said to be installed": with_facts(version=NEW),
    "audit": with_sql("DELETE FROM audit WHERE rowid = 2"),
}


@pytest.mark.parametrize("sentence", BROKEN)
def test_what_is_broken_is_seen(whole: Facts, sentence: str) -> None:
    assert sentence in " ".join(broken_promises(BROKEN[sentence](whole), BOTH))


@pytest.mark.parametrize(
    "broken",
    [
        with_facts(containers=[]),
        with_facts(containers=[CONTAINER, {**CONTAINER, "Name": "/web-caisson-new-1"}]),
        with_container(State={"Running": False}),
        with_container(Name="/web-caisson-new-1"),
        with_facts(version=NEW),
        with_facts(version=""),
    ],
)
def test_release_that_docker_alone_did_not_bring_back_is_seen(
    whole: Facts, broken: Callable[[Facts], Facts]
) -> None:
    assert broken_without_caissond(broken(whole), frozenset({("web", OLD)})) != []


def cut_after(world: World, last_call: str) -> World:
    """An update in which the power goes after such a call to the engine; without one it comes to its end."""

    def cut(_number: int, call: str) -> None:
        if call.split()[0] == last_call:
            cut_power(world)

    world.docker.after = cut
    with suppress(Killed):
        world.update(world.write_package(package(version=NEW)))
    return world


@pytest.mark.parametrize(
    ("last_call", "expected"),
    [
        ("start", {("web", OLD)}),
        ("rename", {("web", OLD), ("web", NEW), ("web-caisson-new", NEW)}),
        ("none", {("web", NEW)}),
    ],
)
def test_new_release_may_run_without_caissond_once_the_commit_is_begun(
    tmp_path: Path, whole: Facts, last_call: str, expected: set[tuple[str, str]]
) -> None:
    world = cut_after(World.make(tmp_path / "cut"), last_call)
    allowed = allowed_without_caissond(replace(whole, state=world.paths), NEW)
    assert {(re.sub("-[0-9a-f]{8}$", "", name), version) for name, version in allowed} == expected


@pytest.mark.parametrize("code", sorted(NEVER))
def test_what_caissond_may_not_have_to_say_is_seen(whole: Facts, code: str) -> None:
    assert broken_promises(whole, BOTH, ["media.done", code]) == [f"caissond says {code}"]


@pytest.mark.parametrize(
    ("said", "is_lost"),
    [
        (["update.started", "update.committed"], {"1.2.3": False, NEW: True}),
        (["update.started"], {"1.2.3": False, NEW: True}),
        (["update.rolled_back"], {"1.2.3": True, NEW: True}),
        (["package.received"], {"1.2.3": False, NEW: False}),
    ],
)
def test_what_was_said_before_the_cut_is_known_after_it(
    whole: Facts, said: list[str], is_lost: dict[str, bool]
) -> None:
    assert {version: bool(forgotten(whole, version, said)) for version in is_lost} == is_lost


@pytest.mark.parametrize("over", ["update.committed", "update.rolled_back"])
def test_what_was_over_before_the_cut_may_not_begin_again(over: str) -> None:
    assert repeated(["update.started", over], ["media.done"]) == []
    assert repeated(["update.started"], ["update.recovering", "update.started"]) == []
    (sentence,) = repeated(["update.started", over], ["update.started"])
    assert over in sentence


def test_update_that_nobody_has_settled_yet_is_not_forgotten(tmp_path: Path, whole: Facts) -> None:
    """As it is at a first boot without caissond."""
    world = cut_after(World.make(tmp_path / "cut"), "start")
    cut_off = replace(whole, state=world.paths)
    assert forgotten(cut_off, NEW, ["update.started"]) == []
    assert forgotten(cut_off, NEW, ["update.started", "update.committed"]) != []


def test_state_that_cannot_be_read_is_seen(whole: Facts) -> None:
    whole.state.database.write_bytes(b"SQLite format 3\0" + bytes(8192))
    (broken,) = broken_promises(whole, BOTH)
    assert "cannot be read" in broken
