"""The invariant: what has to be so once caissond has settled, as sentences about what is not."""

from collections.abc import Iterator
from pathlib import Path

from caissond.errors import CaissonError
from caissond.host.loads import INGEST_LABEL
from caissond.model.ids import TAG_DOMAIN, claim_of, keep_tag
from caissond.model.paths import Paths
from caissond.model.records import Outcome
from caissond.report.bus import Bus
from caissond.update.device import Device
from caissond.wiring import look_at_device
from tests.matrix.container_promises import of_containers
from tests.matrix.lab import Lab
from tests.matrix.outlook import Outlook
from tests.matrix.scenario import Way
from tests.matrix.target import NEW, Target

_IN_STATE_FOLDER = ("state.db", "state.reserve", "lock", "daemon.lock", "inbox", "receipts", "work")
MAX_ATTEMPTS = 3


def broken_promises(lab: Lab, paths: Paths, outlook: Outlook) -> list[str]:
    """What is not as it has to be; nothing runs that could change it."""
    try:
        device = look_at_device(paths, Bus([]))
    except CaissonError as exc:
        return [f"the state cannot be read: {exc.message}"]
    try:
        return [
            *of_containers(lab, outlook),
            *_of_engine(lab, device),
            *_of_state(lab, device, outlook),
            *_of_files(paths, outlook),
        ]
    finally:
        device.database.close()


def _of_engine(lab: Lab, device: Device) -> Iterator[str]:
    """Nothing besides."""
    images = lab.api.images()
    claim = claim_of(device.paths.state_dir)
    expected = {
        keep_tag(claim, known.update_id, known.release.service) for known in device.releases.all_installed()
    }
    tags = {tag for image in images for tag in image["RepoTags"] or () if tag.startswith(TAG_DOMAIN)}
    if tags - expected:
        yield f"there are the private tags {sorted(tags - expected)}"
    if untagged := [image["Id"] for image in images if image["RepoTags"] in (None, [], ["<none>:<none>"])]:
        yield f"there are the images {untagged} without a name"
    if lab.api.images(all=True, filters={"label": INGEST_LABEL}):
        yield "there are images in between two layers"
    if volumes := lab.api.volumes()["Volumes"]:
        yield f"there are the volumes {[volume['Name'] for volume in volumes]}"


def _of_state(lab: Lab, device: Device, outlook: Outlook) -> Iterator[str]:
    """The history tells what happened, and the state what runs."""
    if device.journal.unfinished():
        yield "a record is not closed"
    try:
        device.history.verify()
    except CaissonError as exc:
        yield exc.message
    for target in outlook.scenario.targets:
        yield from _of_installed(lab, device, outlook, target)
    yield from _of_attempts(device, outlook)


def _of_installed(lab: Lab, device: Device, outlook: Outlook, target: Target) -> Iterator[str]:
    name = target.containers[0]
    is_there = lab.api.containers(all=True, filters={"name": f"^/{name}$"})
    version = lab.told_version(name) if is_there else ""
    installed = device.releases.installed(target.name)
    if version == NEW or installed is not None:
        known = installed.release.version if installed else "nothing"
        if known != version:
            yield f"{known} is said to be installed for {target.name}, {version} is"
    yield from _of_history(device, outlook, version)


def _of_history(device: Device, outlook: Outlook, version: str) -> Iterator[str]:
    verdicts = [one for one in device.history.newest() if NEW in [part.version for part in one.parts]]
    outcomes = {one.outcome for one in verdicts}
    if not outlook.history_lost:
        if version == NEW and Outcome.SUCCEEDED not in outcomes:
            yield f"the history of {NEW} is {sorted(outcomes)}"
        if outlook.handled and outlook.scenario.way is not Way.ROLLBACK and not verdicts:
            yield "the history does not know the package"
    if any(verdict.unsettled for verdict in verdicts):
        yield "a way back is stuck"


def _of_attempts(device: Device, outlook: Outlook) -> Iterator[str]:
    with device.database.read() as connection:
        counts = [row[0] for row in connection.execute("SELECT count FROM attempt")]
    if any(count > MAX_ATTEMPTS for count in counts):
        yield f"there were {counts} attempts"
    quarantined = bool(device.releases.all_quarantined())
    if outlook.gate_said_no and not quarantined:
        yield "the bad release is not quarantined"
    if not outlook.scenario.is_bad and quarantined:
        yield "a release is quarantined that the gate never saw fail"


def _of_files(paths: Paths, outlook: Outlook) -> Iterator[str]:
    if outlook.handled and (left := list(paths.inbox.iterdir())):
        yield f"the inbox holds {[path.name for path in left]}"
    if paths.work.exists() and (left := list(paths.work.iterdir())):
        yield f"the work folder holds {[path.name for path in left]}"
    strange = [path.name for path in paths.state_dir.iterdir() if not path.name.startswith(_IN_STATE_FOLDER)]
    if strange:
        yield f"the state folder holds {strange}"
    half = [path.name for path in _receipts(paths.receipts) if path.suffix not in (".json", ".txt")]
    if len(half) > 1:  # the next receipt removes one that was cut off
        yield f"the receipts hold {half}"


def _receipts(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.exists() else []
