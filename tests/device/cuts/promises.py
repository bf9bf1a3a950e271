"""What has to be so once caissond has settled after a power cut, as sentences about what is not."""

from collections.abc import Collection, Iterator
from contextlib import closing
from functools import cache
from pathlib import Path

from caissond.errors import CaissonError
from caissond.model.ids import TAG_DOMAIN, claim_of, keep_tag, new_name
from caissond.model.records import Outcome, Status
from caissond.report.bus import Bus
from caissond.update.device import Device as State
from caissond.wiring import look_at_device
from fixtures.machine.ready import RELEASES
from fixtures.machine.releases import FIRST_VERSION, SERVICE, Release, filler_digest, reference
from tests.device.cuts.facts import STATE_FOLDER, Facts

NEVER = frozenset(
    {
        "daemon.failed",
        "store.failed",
        "store.corrupt",
        "store.rebuilt",
        "store.audit_broken",
        "update.step_stuck",
    }
)
"""What caissond may not have to say after a power cut."""


def broken_promises(facts: Facts, allowed: frozenset[str], said: Collection[str] = ()) -> list[str]:
    """What is not as it has to be.

    Args:
        allowed: versions of which one has to run.
        said: the codes of what caissond has said since the power came back.
    """
    try:
        state = look_at_device(facts.state, Bus([]))
        with closing(state.database):
            found = [*_of_service(facts, allowed), *_of_images(facts, state), *_of_state(facts, state)]
    except CaissonError as exc:
        found = [f"the state cannot be read: {exc.message}"]
    return [*found, *(f"caissond says {code}" for code in sorted(NEVER.intersection(said)))]


def forgotten(facts: Facts, version: str, said: Collection[str]) -> list[str]:
    """What caissond had said before the power went, and what is no longer so.

    Args:
        said: the codes of what it had said.
    """
    known = outcomes_of(facts, version)
    lost = []
    if (
        "update.started" in said
        and not outcomes_of(facts, version, retries=True)
        and not _is_open(facts, version)
    ):
        lost.append("an update had begun, and nothing is known of it")
    if "update.committed" in said and Outcome.SUCCEEDED not in known:
        lost.append(f"it had said that {version} is committed, the history says {known}")
    if "update.rolled_back" in said and Outcome.ROLLED_BACK not in known:
        lost.append(f"it had said that {version} was rolled back, the history says {known}")
    return lost


def repeated(before: Collection[str], after: Collection[str]) -> list[str]:
    """What was over before the power went, and was begun once more.

    Args:
        before: the codes of what caissond had said until then.
        after: what it has said since the power came back.
    """
    over = [code for code in ("update.committed", "update.rolled_back") if code in before]
    return [f"it had said {code}, and has applied it once more" for code in over if "update.started" in after]


def _is_open(facts: Facts, version: str) -> bool:
    """Whether an update to it was cut off and nobody has settled it yet."""
    state = look_at_device(facts.state, Bus([]))
    with closing(state.database):
        return any(
            part.release.version == version for record in state.journal.unfinished() for part in record.parts
        )


def broken_without_caissond(facts: Facts, allowed: frozenset[tuple[str, str]]) -> list[str]:
    """Promise 2: Docker alone has brought a release back.

    Args:
        allowed: containers and the versions that they may run, of which one has to.
    """
    running = [one["Name"].lstrip("/") for one in facts.containers if one["State"]["Running"]]
    if [(name, facts.version) for name in running] not in [[one] for one in allowed]:
        answer = f"{facts.version or 'nothing'} answers, of {running}"
        return [f"without caissond {answer}, expected {' or '.join(map(str, sorted(allowed)))}"]
    return []


def allowed_without_caissond(facts: Facts, version: str) -> frozenset[tuple[str, str]]:
    """What Docker alone may have brought back of an update to this version (docs/restart-policies.md): the old release
    until the commit was begun, then either, the new one maybe not yet under the service's name, then the new one.
    """
    old, new = (SERVICE, FIRST_VERSION), (SERVICE, version)
    if Outcome.SUCCEEDED in outcomes_of(facts, version):
        return frozenset({new})
    state = look_at_device(facts.state, Bus([]))
    with closing(state.database):
        for record in state.journal.unfinished():
            (commit,) = [status for step, status in record.statuses.items() if step.endswith("/commit")]
            if commit is Status.DONE:
                return frozenset({new})
            if commit in (Status.DOING, Status.UNDOING):
                return frozenset({old, new, (new_name(SERVICE, record.update_id), version)})
    return frozenset({old})


def _of_service(facts: Facts, allowed: frozenset[str]) -> Iterator[str]:
    """One container, running, wholly one release, with all that the service had."""
    names = [one["Name"] for one in facts.containers]
    if names != [f"/{SERVICE}"]:
        yield f"there are the containers {names}"
        return
    (container,) = facts.containers
    config, host = container["Config"], container["HostConfig"]
    if not container["State"]["Running"]:
        yield f"the service is {container['State']['Status']}"
    if facts.version not in allowed:
        yield f"it runs {facts.version or 'nothing that answers'}, expected {sorted(allowed)}"
    if container["Image"] != facts.tags.get(reference(facts.version)):
        yield f"its image is {container['Image']}, {facts.version} is {facts.tags.get(reference(facts.version))}"
    if not {"SITE=north", f"RELEASE={facts.version}"} <= set(config["Env"]) or len(config["Env"]) != 3:
        yield f"its environment is {config['Env']}"
    if config["Labels"].get("site") != "north":
        yield f"its labels are {config['Labels']}"
    if host["RestartPolicy"]["Name"] != "unless-stopped" or host["Memory"] != 64 << 20:
        yield f"its policy is {host['RestartPolicy']['Name']}, its memory {host['Memory']}"
    if facts.filler != _fillers().get(facts.version):
        yield "a layer of its image does not hold what it held in the package"
    mounts = [(one["Type"], one.get("Name"), one["Destination"]) for one in container["Mounts"]]
    if mounts != [("volume", "web-data", "/data")]:
        yield f"its mounts are {mounts}"
    if facts.note != "kept":
        yield "its volume does not hold what it had written"


def _of_images(facts: Facts, state: State) -> Iterator[str]:
    claim = claim_of(Path(STATE_FOLDER))
    expected = {
        keep_tag(claim, known.update_id, known.release.service) for known in state.releases.all_installed()
    }
    private = {tag for tag in facts.tags if tag.startswith(TAG_DOMAIN)}
    if private != expected:
        yield f"there are the private tags {sorted(private)}, expected {sorted(expected)}"
    public = set(facts.tags) - private
    if public != {reference(FIRST_VERSION), reference(facts.version)}:
        yield f"there are the tags {sorted(public)}"
    if facts.untagged:
        yield f"there are images without a name: {facts.untagged}"


def _of_state(facts: Facts, state: State) -> Iterator[str]:
    if state.journal.unfinished():
        yield "a record is not closed"
    try:
        state.history.verify()
    except CaissonError as exc:
        yield exc.message
    with state.database.read() as connection:
        (integrity,) = connection.execute("PRAGMA integrity_check").fetchone()
    if integrity != "ok":
        yield f"the database: {integrity}"
    installed = state.releases.installed(SERVICE)
    known = installed.release.version if installed else FIRST_VERSION
    if known != facts.version:
        yield f"{known} is said to be installed, {facts.version} runs"
    if moved := sorted(path.name for path in state.paths.state_dir.glob("*.damaged-*")):
        yield f"the database was damaged: {moved}"
    if any(verdict.unsettled for verdict in state.history.newest()):
        yield "a way back is stuck"
    if any(Path(path).is_relative_to(Path(STATE_FOLDER, "work")) for path in facts.leftovers):
        yield f"the work folder holds {facts.leftovers}"


def outcomes_of(facts: Facts, version: str, *, retries: bool = False) -> list[Outcome]:
    """How a release ended, each time that it had its turn to the end; the newest first.

    Args:
        retries: also when it is to be tried again.
    """
    state = look_at_device(facts.state, Bus([]))
    with closing(state.database):
        return [
            verdict.outcome
            for verdict in state.history.newest()
            if version in [part.version for part in verdict.parts] and (retries or not verdict.retry)
        ]


@cache
def _fillers() -> dict[str, str]:
    return {
        release.version: filler_digest(release) for release in (*RELEASES, Release(version=FIRST_VERSION))
    }
