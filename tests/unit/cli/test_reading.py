"""`service`, `history` and `status`: what they show, and that looking changes nothing."""

import os
import pty
import re
import sqlite3
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from caissond.model.ids import Digest, ImageId, UpdateId
from caissond.model.records import AuditKind, Installed, Outcome, Release
from caissond.store.database import Database
from caissond.store.history import History
from caissond.store.lock import hold_lock
from caissond.store.releases import Releases
from tests.unit.cli.command import BEGAN, CATALOG, Answer, Command

READERS = [
    "service list", "service show frontend", "service show backend", "history list", "history verify", "status",
    "inventory",
]  # fmt: skip


def install(caisson: Command) -> None:
    """Write down that the frontend runs 2.0.0."""
    release = Release(
        service="frontend", version="2.0.0", digest=Digest("sha256:" + "a" * 64),
        reference="example/frontend:2.0.0", created_at=BEGAN,
    )  # fmt: skip
    installed = Installed(
        release=release, update_id=UpdateId("u"), image_id=ImageId("i"), committed_at=BEGAN,
        previous_reference="example/frontend:1.0.0",
    )  # fmt: skip
    database = Database(caisson.paths.database)
    Releases(database).save_installed(installed)
    database.close()


def read(caisson: Command, *arguments: str) -> Answer:
    """What asks Docker in a process of its own: docker-py leaves a socket open when there is no engine."""
    return caisson.as_process(*arguments) if arguments[0] in ("status", "inventory") else caisson(*arguments)


def tree(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize("as_json", [[], ["--json"]], ids=["people", "json"])
@pytest.mark.parametrize("words", READERS)
def test_looking_creates_nothing(caisson: Command, tmp_path: Path, words: str, as_json: list[str]) -> None:
    before = tree(tmp_path)
    assert read(caisson, *words.split(), *as_json).code == 0
    assert tree(tmp_path) == before


@pytest.mark.parametrize("words", [*READERS, "history show 0"])
def test_looking_changes_nothing(caisson: Command, words: str) -> None:
    install(caisson)
    caisson.remember()
    before = tree(caisson.root)
    assert read(caisson, *words.split()).code == 0
    assert tree(caisson.root) == before


def test_services_of_a_new_device_are_listed(caisson: Command) -> None:
    assert caisson("service", "list").lines == [
        "SERVICE   RUNTIME  VERSION  ACTIVE IMAGE            LAST UPDATE",
        "frontend  docker   -        example/frontend:1.0.0  none yet",
        "backend   compose  -        not recorded yet        none yet",
    ]


def test_what_was_installed_is_listed(caisson: Command) -> None:
    install(caisson)
    caisson.remember(Outcome.ROLLED_BACK)
    assert caisson("service", "list").lines[1].split("  ")[-1] == "rolled back"
    frontend, backend = caisson("service", "list", "--json").json
    assert frontend == {
        "name": "frontend", "service_revision": "r1", "platform": "linux/amd64", "runtime": "docker",
        "container": "frontend", "version": "2.0.0", "digest": "sha256:" + "a" * 64,
        "active_image": "example/frontend:2.0.0", "previous_image": "example/frontend:1.0.0",
        "last_update": "rolled_back", "last_update_at": "2026-03-01T12:00:30+00:00",
    }  # fmt: skip
    assert (backend["container"], backend["version"], backend["last_update"]) == (None, None, None)


def test_a_catalog_without_services_says_so(caisson: Command) -> None:
    caisson.paths.services.write_text("catalog_version = 1\nservices = []\n")
    assert caisson("service", "list").out == "No services are defined in the current service catalog.\n"
    assert caisson("service", "list", "--json").json == []


def test_a_service_is_shown_in_the_rust_tools_words(caisson: Command) -> None:
    install(caisson)
    caisson.remember()
    assert caisson("service", "show", "frontend").lines == [
        "Service: frontend",
        "Revision: r1",
        "Platform: linux/amd64",
        "Runtime: docker",
        "Container: frontend",
        "Catalog image: example/frontend:1.0.0",
        "Health check: running",
        "Version: 2.0.0",
        "Active image: example/frontend:2.0.0",
        "Previous known-good image: example/frontend:1.0.0",
        "State updated: 2026-03-01T12:00:00+00:00",
        "Last update: succeeded",
        "Last target image: example/frontend:1.0.0",
        "Last started: 2026-03-01T12:00:00+00:00",
        "Last finished: 2026-03-01T12:00:30+00:00",
    ]


def test_a_compose_service_is_shown_with_its_file(caisson: Command) -> None:
    lines = caisson("service", "show", "backend").lines
    assert lines[4:7] == [
        "Compose project: site",
        "Compose file: /opt/site/compose.yaml",
        "Compose service: backend",
    ]
    assert lines[-1] == "Last update: none yet"


def test_unknown_service_is_an_error(caisson: Command) -> None:
    answer = caisson("service", "show", "nobody\x1b[2J")
    assert answer.code == 1
    assert answer.err == (
        "error: cannot find the service 'nobody\\x1b[2J' in the catalog [service.unknown, E-528]\n"
        "hint:  see caisson service list\n"
    )


def test_refused_packages_are_no_last_update(caisson: Command) -> None:
    caisson.remember(Outcome.SUCCEEDED)
    caisson.remember(Outcome.REFUSED, code="trust.unsigned")
    assert caisson("service", "list", "--json").json[0]["last_update"] == "succeeded"


def test_empty_history_says_so(caisson: Command) -> None:
    assert caisson("history", "list").out == "No update history matched the current filter.\n"
    assert caisson("history", "list", "--json").json == []


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_is_listed_in_words(caisson: Command, outcome: Outcome) -> None:
    caisson.remember(outcome, code="gate.exited")
    header, row = caisson("history", "list").lines
    assert re.split(r"  +", header) == [
        "ID",
        "FINISHED (UTC)",
        "SERVICE",
        "VERSION",
        "OUTCOME",
        "CODE",
        "PACKAGE",
    ]
    assert re.split(r"  +", row) == [
        "00000000", "2026-03-01 12:00:30", "frontend", "1.0.0", outcome.words, "gate.exited", "frontend-0.edgepkg",
    ]  # fmt: skip


def test_history_is_newest_first_and_can_be_narrowed(caisson: Command) -> None:
    for _ in range(3):
        caisson.remember()
    caisson.remember(parts=())
    assert [one["package"] for one in caisson("history", "list", "--json").json] == [
        "frontend-3.edgepkg", "frontend-2.edgepkg", "frontend-1.edgepkg", "frontend-0.edgepkg",
    ]  # fmt: skip
    newest = caisson("history", "list", "--service", "frontend", "--limit", "1", "--json").json
    assert [one["package"] for one in newest] == ["frontend-2.edgepkg"]
    assert caisson("history", "list", "--limit", "0", "--json").json == []


def test_a_piped_table_is_neither_folded_nor_coloured(caisson: Command) -> None:
    caisson.remember(Outcome.FAILED, package="long" * 50 + ".edgepkg")
    answer = caisson.as_process("history", "list")
    assert len(answer.lines) == 2
    assert "long" * 50 + ".edgepkg" in answer.lines[1]
    assert "\x1b" not in answer.out


def test_a_table_on_a_terminal_is_coloured(caisson: Command) -> None:
    caisson.remember(Outcome.FAILED)
    ours, theirs = pty.openpty()
    program = "from caissond.cli.entry import main; main()"
    subprocess.run(
        [sys.executable, "-c", program, "--root", caisson.root, "history", "list"],
        stdin=theirs, stdout=theirs, env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "200"}, check=True,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # how Linux tells that the other end of a terminal is closed
        while chunk := os.read(ours, 4096):
            shown += chunk
    os.close(ours)
    assert b"\x1b[31mfailed" in shown


def test_an_update_is_shown_with_its_events(caisson: Command) -> None:
    verdict = caisson.remember(
        Outcome.ROLLED_BACK,
        code="gate.exited",
        message="cannot keep the release: it exited",
        hint="read its log",
    )
    database = Database(caisson.paths.database)
    History(database).audit(verdict.update_id, AuditKind.ROLLBACK_SUCCEEDED, "all is well", at=BEGAN)
    database.close()
    assert caisson("history", "show", "0000").lines == [
        "Update: 00000000-0000-4000-8000-000000000000",
        "Package: frontend-0.edgepkg",
        "Service: frontend",
        "Version: 1.0.0",
        "Target image: example/frontend:1.0.0",
        "Previous image: example/frontend:0.9.0",
        "Status: rolled back",
        "Started: 2026-03-01T12:00:00+00:00",
        "Finished: 2026-03-01T12:00:30+00:00",
        "Issues:",
        "- [gate.exited] cannot keep the release: it exited (E-611)",
        "  read its log",
        "Events:",
        "- 2026-03-01T12:00:00+00:00 | rollback_succeeded | all is well",
    ]
    shown = caisson("history", "show", "0000", "--json").json
    assert (shown["outcome"], shown["number"], shown["events"][0]["kind"]) == (
        "rolled_back", "E-611", "rollback_succeeded",
    )  # fmt: skip


def test_success_without_events_is_shown(caisson: Command) -> None:
    caisson.remember()
    assert caisson("history", "show", "0").lines[-3:] == ["Issues: none", "Events:", "- none recorded"]


@pytest.mark.parametrize("prefix", ["ffff", "0"], ids=["nobody's", "of two"])
def test_update_that_is_not_found_is_an_error(caisson: Command, prefix: str) -> None:
    caisson.remember()
    caisson.remember()
    answer = caisson("history", "show", prefix)
    assert answer.code == 1
    assert f"cannot find the update '{prefix}' [history.unknown, E-723]" in answer.err


def test_changed_audit_chain_is_found_out(caisson: Command) -> None:
    caisson("package", "validate", caisson.package())
    assert caisson("history", "verify").out == "The audit chain is intact: 2 events.\n"
    assert caisson("history", "verify", "--json").json == {"intact": True, "events": 2}
    connection = sqlite3.connect(caisson.paths.database)
    with connection:
        connection.execute("UPDATE audit SET message = 'nothing happened' WHERE seq = 1")
    connection.close()
    answer = caisson("history", "verify")
    assert (answer.code, "store.audit_broken, E-716" in answer.err) == (1, True)


@pytest.mark.parametrize("words", ["history list", "service list", "status"])
def test_damaged_database_is_told_and_left_alone(caisson: Command, words: str) -> None:
    caisson.remember()
    caisson.paths.database.write_bytes(b"nonsense" * 1000)
    answer = read(caisson, *words.split())
    assert (answer.code, "[store.failed, E-711]" in answer.err) == (1, True)
    assert caisson.paths.database.read_bytes() == b"nonsense" * 1000


def test_status_without_a_daemon_and_without_docker(caisson: Command) -> None:
    assert caisson.as_process("status").lines == [
        "Daemon: not running",
        "",
        "SERVICE   VERSION  STATE                            LAST UPDATE",
        "frontend  -        unknown: Docker does not answer  none yet",
        "backend   -        unknown: Docker does not answer  none yet",
    ]
    assert caisson.as_process("status", "--json").json == {
        "daemon": None,
        "now": None,
        "services": [
            {
                "name": "frontend",
                "version": "-",
                "state": "unknown: Docker does not answer",
                "last_update": "none yet",
            },
            {
                "name": "backend",
                "version": "-",
                "state": "unknown: Docker does not answer",
                "last_update": "none yet",
            },
        ],
    }


STATUS = """{"schema": 1, "pid": 1, "daemon_version": "1.0.0", "state": "%s", "text": "the image goes in",
"phase": "loading", "progress": {"done_bytes": 25, "total_bytes": 100}, "updated_at": "2026-03-01T12:00:00Z",
"last": {"package": "a.edgepkg", "outcome": "rolled_back", "at": "2026-03-01T12:00:00Z"}}"""


def test_status_says_what_the_daemon_does(caisson: Command) -> None:
    caisson.paths.status.parent.mkdir(parents=True)
    caisson.paths.status.write_text(STATUS % "working")
    with hold_lock(caisson.paths.daemon_lock, who="caissond, process 42"):
        lines, document = caisson.as_process("status").lines, caisson.as_process("status", "--json").json
    assert lines[:5] == [
        "Daemon: caissond, process 42",
        "State: working",
        "Now: the image goes in",
        "Progress: loading 25 %",
        "Last package: a.edgepkg, rolled back",
    ]
    assert (document["daemon"], document["now"]["state"]) == ("caissond, process 42", "working")


def test_what_a_dead_daemon_left_behind_is_not_shown(caisson: Command) -> None:
    caisson.paths.status.parent.mkdir(parents=True)
    caisson.paths.status.write_text(STATUS % "working")
    assert caisson.as_process("status").lines[:2] == ["Daemon: not running", ""]


def test_idle_daemon_is_not_said_to_do_anything(caisson: Command) -> None:
    caisson.paths.status.parent.mkdir(parents=True)
    caisson.paths.status.write_text(STATUS % "idle")
    with hold_lock(caisson.paths.daemon_lock, who="caissond, process 42"):
        assert not any(line.startswith("Now:") for line in caisson.as_process("status").lines)


def test_words_of_the_catalog_cannot_write_to_the_terminal(caisson: Command) -> None:
    caisson.paths.services.write_text(
        CATALOG.replace('\nname = "frontend"', '\nname = "front\\u001b[2Jend\\n"')
    )
    for words in ("service list", "status", "service show front\x1b[2Jend\n"):
        answer = read(caisson, *words.split(" "))
        assert (answer.code, "\x1b" in answer.out) == (0, False)
        assert "front?[2Jend?" in answer.out
