"""`package validate`, `load` and `cleanup` as far as they come without Docker."""

import os
import subprocess
from pathlib import Path

import pytest

from caissond.model.events import hint_for
from caissond.model.records import AuditKind, Outcome
from caissond.store.database import Database
from caissond.store.history import History
from caissond.store.lock import hold_lock
from fixtures.hostile import LIMIT_BYTES, hostile_packages
from fixtures.raw_package import MANIFEST, package
from tests.unit.cli.command import Command

KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIFhmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZm"
HOSTILE_NAMES = {
    "newline": b"a\nStatus: accepted.edgepkg",
    "escape sequence": b"a\x1b[2J\x1b]0;owned\x07.edgepkg",
    "carriage return": b"evil\rgood.edgepkg",
    "c1 control": "a\u009b2J.edgepkg".encode(),
    "bidi override": "a\u202egpkgede.edgepkg".encode(),
    "not utf-8": b"a\xff\xfe.edgepkg",
}


def outside_of_state(caisson: Command) -> set[Path]:
    state = caisson.paths.state_dir
    return {path for path in caisson.root.parent.rglob("*") if not path.is_relative_to(state)} - {
        state.parent, state.parent.parent
    }  # fmt: skip


def audited(caisson: Command) -> list[tuple[AuditKind, str]]:
    database = Database(caisson.paths.database)
    with database.read() as connection:
        rows = connection.execute("SELECT kind, message FROM audit ORDER BY seq").fetchall()
    History(database).verify()
    database.close()
    return [(AuditKind(kind), message) for kind, message in rows]


# validate


def test_good_package_is_accepted_in_the_rust_tools_words(caisson: Command) -> None:
    path = caisson.package()
    answer = caisson("package", "validate", path, "--allow-unsigned")
    assert (answer.code, answer.err) == (0, "")
    assert answer.lines == [
        "Validating package...",
        "Package validation",
        "Status: accepted",
        f"Source package: {path}",
        "Target service: frontend",
        "Service revision: r1",
        "Platform: linux/amd64",
        "Package version: 1.2.3",
        "Target image: example/frontend:1.2.3",
        "Image archive: image.tar (5632 bytes)",
        "Issues: none",
    ]


def test_good_package_is_accepted_in_json(caisson: Command) -> None:
    path = caisson.package()
    document = caisson("package", "validate", path, "--allow-unsigned", "--json").json
    assert (document["package"], document["status"], document["issues"]) == (str(path), "accepted", [])
    assert [digest[:7] for digest in document["digests"]] == ["sha256:"]
    (target,) = document["manifest"]["targets"]
    assert (target["service"], document["manifest"]["version"]) == ("frontend", "1.2.3")


def test_validation_leaves_a_trace_in_the_audit_chain(caisson: Command) -> None:
    caisson("package", "validate", caisson.package(), "--allow-unsigned")
    caisson("package", "validate", "/no/such.edgepkg")
    kinds = [kind.value for kind, _ in audited(caisson)]
    assert kinds == ["validation_started", "validation_accepted", "validation_started", "validation_rejected"]


def test_unsigned_package_is_refused_by_default_with_what_to_do(caisson: Command) -> None:
    answer = caisson("package", "validate", caisson.package())
    assert answer.code == 2
    assert answer.lines[-3:] == [
        "Issues:",
        "- [trust.no_signers] cannot trust any package: no signer is known to this device (E-402)",
        f"  {hint_for('trust.no_signers')}",
    ]
    caisson.paths.allowed_signers.write_text(f"# nobody yet\nalice ssh-ed25519 {KEY}\n")
    answer = caisson("package", "validate", caisson.package())
    assert (answer.code, "[trust.unsigned]" in answer.out) == (2, True)


def test_all_mismatches_are_told_at_once(caisson: Command) -> None:
    manifest = MANIFEST.replace(b'"r1"', b'"r2"').replace(b"linux/amd64", b"linux/arm64")
    manifest += b'[compatibility]\nmin_updater_version = "99.0.0"\n'
    answer = caisson("package", "validate", caisson.package(package(manifest=manifest)), "--json")
    assert answer.code == 2
    assert [issue["code"] for issue in answer.json["issues"]] == [
        "package.service_revision_mismatch",
        "package.platform_mismatch",
        "package.updater_too_old",
        "trust.no_signers",
    ]


@pytest.mark.parametrize("fault", hostile_packages())
def test_hostile_package_is_refused_with_its_code_and_nothing_else_happens(
    caisson: Command, fault: str
) -> None:
    content, code = hostile_packages()[fault]
    path = caisson.package(content)
    before = outside_of_state(caisson)
    answer = caisson("package", "validate", path, "--allow-unsigned", "--json")
    # what is only too large for the little that the table allows has the wrong digest besides
    wanted = "image.layer_mismatch" if code == "image.too_large" else code
    assert (answer.code, answer.err) == (2, "")
    assert [issue["code"] for issue in answer.json["issues"]] == [wanted]
    assert outside_of_state(caisson) == before
    assert LIMIT_BYTES < 64 << 20


IN_THE_LAYERS = {"image.layer_mismatch", "image.too_large", "image.unsupported_compression"}
"""`load` hashes layers while it stages them, and for that it wants Docker: see tests/docker/test_cli.py."""


@pytest.mark.parametrize(
    "fault", [fault for fault, (_, code) in hostile_packages().items() if code not in IN_THE_LAYERS]
)
def test_hostile_package_is_refused_by_load_without_docker(caisson: Command, fault: str) -> None:
    content, code = hostile_packages()[fault]
    answer = caisson("package", "load", caisson.package(content), "--allow-unsigned", "--json")
    assert (answer.code, answer.err) == (2, "")
    assert (answer.json["outcome"], answer.json["code"]) == ("refused", code)
    assert caisson("history", "list", "--json").json[0]["code"] == code


@pytest.mark.parametrize("name", HOSTILE_NAMES.values(), ids=list(HOSTILE_NAMES))
@pytest.mark.parametrize("verb", ["validate", "load"])
def test_hostile_file_name_never_reaches_the_terminal_raw(caisson: Command, verb: str, name: bytes) -> None:
    path = os.fsencode(caisson.root.parent) + b"/" + name
    Path(os.fsdecode(path)).write_bytes(package())
    commands: tuple[list[str | bytes], ...] = (
        ["package", verb, path],
        ["package", verb, path, "--json"],
        ["package", verb, path + b"\x1b[2J"],
        ["service", "show", path],
        ["history", "list"],
        [path],
    )
    for arguments in commands:
        answer = caisson(*(os.fsdecode(argument) for argument in arguments))
        shown = answer.out + answer.err
        assert shown.replace("\n", " ").isprintable()
        assert "\nStatus: accepted" not in shown


def test_json_gives_back_a_name_that_is_no_text(caisson: Command) -> None:
    path = os.fsencode(caisson.root.parent) + b"/a\xff\n.edgepkg"
    Path(os.fsdecode(path)).write_bytes(package())
    document = caisson.as_process("package", "validate", path, "--json").json
    assert os.fsencode(document["package"]) == path


NO_PACKAGES = {
    "missing": ("missing.edgepkg", "package.not_found"),
    "below a file": ("etc/caisson/services.toml/x.edgepkg", "package.not_found"),
    "name too long": ("a" * 300 + ".edgepkg", "package.not_found"),
    "no extension": ("etc/caisson/services.toml", "package.invalid_extension"),
    "folder": ("folder.edgepkg", "package.not_a_file"),
    "fifo": ("fifo.edgepkg", "package.not_a_file"),
    "link": ("link.edgepkg", "package.not_a_file"),
    "device": ("device.edgepkg", "package.not_a_file"),
}


@pytest.fixture
def oddities(caisson: Command) -> None:
    (caisson.root / "folder.edgepkg").mkdir()
    os.mkfifo(caisson.root / "fifo.edgepkg")
    (caisson.root / "link.edgepkg").symlink_to(caisson.package())
    (caisson.root / "device.edgepkg").symlink_to("/dev/zero")


@pytest.mark.usefixtures("oddities")
@pytest.mark.parametrize("oddity", NO_PACKAGES)
@pytest.mark.parametrize("verb", ["validate", "load"])
def test_what_is_no_package_file_is_refused_and_never_read(caisson: Command, verb: str, oddity: str) -> None:
    name, code = NO_PACKAGES[oddity]
    answer = caisson("package", verb, caisson.root / name)
    assert answer.code == 2
    assert f"- [{code}]" in answer.out


def test_validation_needs_no_room_for_its_trace(caisson: Command) -> None:
    caisson.paths.state_dir.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "full", str(caisson.paths.state_dir)]
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    subprocess.run(mount, check=True)
    try:
        (caisson.paths.state_dir / "ballast").write_bytes(bytes(48 << 10))
        answer = caisson("package", "validate", caisson.package(), "--allow-unsigned")
        assert (answer.code, answer.err) == (0, "")
    finally:
        subprocess.run(["umount", str(caisson.paths.state_dir)], check=True)


# load


def test_refused_package_needs_no_docker_and_is_recorded(caisson: Command) -> None:
    path = caisson.package()
    answer = caisson("package", "load", "--yes", path)
    assert (answer.code, answer.err) == (2, "")
    assert "Status: rejected" in answer.lines
    assert answer.lines[answer.lines.index("Update result") + 1] == "Status: refused"
    assert answer.lines[-1] == "Summary: the package was refused and nothing was changed"
    (row,) = caisson("history", "list", "--json").json
    assert (row["outcome"], row["code"], row["number"]) == ("refused", "trust.no_signers", "E-402")
    assert len(list(caisson.paths.receipts.iterdir())) == 2
    assert path.exists()


def test_docker_down_is_an_error_and_changes_nothing(caisson: Command) -> None:
    path = caisson.package()
    answer = caisson.as_process("package", "load", "--yes", "--allow-unsigned", path)
    assert (answer.code, "Traceback" in answer.err) == (1, False)
    assert "Docker does not answer [docker.unavailable, E-501]" in answer.err
    assert "systemctl start docker" in answer.err
    assert caisson("history", "list", "--json").json == []
    assert path.exists()
    assert not list(caisson.paths.work.glob("*"))


@pytest.mark.parametrize("command", ["package load --yes --allow-unsigned", "package cleanup"])
def test_busy_lock_is_an_error_that_names_its_holder(caisson: Command, command: str) -> None:
    path = [caisson.package()] if "load" in command else []
    with hold_lock(caisson.paths.lock, who="caissond, process 4711"):
        answer = caisson(*command.split(), *path)
    assert answer.code == 1
    assert (
        f"cannot take {caisson.paths.lock}: held by caissond, process 4711 [lock.busy, E-721]" in answer.err
    )
    assert "wait until it is done" in answer.err


@pytest.mark.parametrize(
    "typed", [b"", b"\n", b"n\n", b"no\n", b"yess\n", b"\xff\xfe\n", b"\0\n", None],
    ids=["end of input", "return", "n", "no", "yess", "no text", "nul", "closed"],
)  # fmt: skip
def test_anything_but_yes_cancels(caisson: Command, typed: bytes | None) -> None:
    answer = caisson.as_process("package", "load", "--allow-unsigned", caisson.package(), stdin=typed)
    assert (answer.code, answer.err) == (3, "")
    assert "Ready to load package\nfrontend -> 1.2.3\n" in answer.out
    assert answer.out.endswith("[y/N]: Cancelled before changing the service.\n")
    assert caisson("history", "list", "--json").json == []


def test_prompt_does_not_disturb_json(caisson: Command) -> None:
    answer = caisson.as_process("package", "load", "--json", "--allow-unsigned", caisson.package())
    assert (answer.code, answer.out) == (3, "")
    assert "Continue and update the service? [y/N]: " in answer.err


def test_damaged_database_is_not_replaced_before_the_lock_is_held(caisson: Command) -> None:
    caisson.remember()
    caisson.paths.database.write_bytes(b"nonsense" * 1000)
    answer = caisson("package", "load", "--yes", caisson.package())
    assert (answer.code, "[store.failed, E-711]" in answer.err) == (1, True)
    assert caisson.paths.database.read_bytes() == b"nonsense" * 1000


# cleanup


def test_cleanup_removes_what_was_left_and_nothing_else(caisson: Command) -> None:
    caisson.remember()
    caisson.paths.work.mkdir()
    (caisson.paths.work / "left").write_bytes(bytes(3 << 20))
    assert caisson("package", "cleanup").out == "Removed 1 leftover files (3.0 MiB).\n"
    assert not caisson.paths.work.exists()
    assert caisson("package", "cleanup", "--json").json == {"removed_files": 0, "removed_bytes": 0}
    assert [one["outcome"] for one in caisson("history", "list", "--json").json] == [Outcome.SUCCEEDED]
