"""Files in the inbox of a running caissond: taken when they are complete, whatever they are called."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from caissond.model.events import hint_for
from caissond.model.records import Outcome
from fixtures.engine import Engine
from fixtures.hostile import hostile_packages
from fixtures.packages import PLATFORM
from fixtures.raw_package import package as raw_package
from fixtures.signatures import ed25519
from tests.docker.daemon_process import DaemonProcess, caissond
from tests.docker.inventory import take_inventory
from tests.docker.rig import CRASHES, PATIENT_S, Rig

RARELY = "[inbox]\nrescan_secs = 3600\n"
SHORT = "archive.truncated"  # may still be growing, so it is waited for
CATALOG = "catalog_version = 1\nservices = []\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Nothing but a catalog."""
    root = tmp_path / "root"
    (root / "etc/caisson").mkdir(parents=True)
    (root / "etc/caisson/services.toml").write_text(CATALOG)
    return root


@pytest.fixture
def watching(engine: Engine, root: Path) -> Iterator[DaemonProcess]:
    """A daemon that looks only when it is told to, and refuses all packages: nobody is trusted."""
    (root / "etc/caisson/caissond.toml").write_text(RARELY)
    with caissond(root, engine.host) as daemon:
        daemon.wait_until_logged("is ready")
        yield daemon


def receipts(daemon: DaemonProcess) -> list[str]:
    return sorted(path.read_text() for path in daemon.paths.receipts.glob("*.txt"))


def _copy(source: Path, target: Path) -> None:
    shutil.copy(source, target)


def _rename(source: Path, target: Path) -> None:
    source.rename(target)


def _hard_link(source: Path, target: Path) -> None:
    target.hardlink_to(source)


def _new_folder(source: Path, target: Path) -> None:
    target.parent.rmdir()
    target.parent.mkdir(exist_ok=True)  # the daemon may be quicker
    shutil.copy(source, target)


@pytest.mark.parametrize("put", [_copy, _rename, _hard_link, _new_folder])
def test_package_is_noticed_at_once_however_it_came(
    watching: DaemonProcess, tmp_path: Path, put: Callable[[Path, Path], None]
) -> None:
    source = tmp_path / "outside.edgepkg"
    source.write_bytes(raw_package())
    put(source, watching.paths.inbox / "a.edgepkg")
    watching.wait_until_handled()  # long before it looks by itself
    assert "a.edgepkg: refused: cannot update 'frontend': no such service in the catalog" in watching.log()


def test_other_files_are_left_alone(watching: DaemonProcess) -> None:
    for name in ("notes.txt", ".hidden.edgepkg", "a.edgepkg.part"):
        (watching.paths.inbox / name).write_bytes(raw_package())
    time.sleep(2)
    assert len(list(watching.paths.inbox.iterdir())) == 3
    assert receipts(watching) == []


NAMES = [
    b"a\nb.edgepkg",
    b"\x1b[2J\x1b[31mred.edgepkg",
    b"\xff\xfe.edgepkg",
    "a\u202egpkgede.edgepkg".encode(),
]


def test_hostile_names_are_shown_harmless(watching: DaemonProcess) -> None:
    for name in NAMES:
        (watching.paths.inbox / os.fsdecode(name)).write_bytes(b"this is no package " * 100)
    watching.wait_for("four receipts", lambda: len(receipts(watching)) == len(NAMES))
    watching.wait_until_handled()
    for text in (watching.log(), *receipts(watching)):
        assert text.replace("\n", "").isprintable()
    assert "a?b.edgepkg: refused: " in watching.log()
    assert watching.stop() == 0


def test_what_is_no_file_is_refused_and_never_read(watching: DaemonProcess, tmp_path: Path) -> None:
    inbox, precious = watching.paths.inbox, tmp_path / "precious.edgepkg"
    precious.write_bytes(raw_package())
    (inbox / "folder.edgepkg").mkdir()
    os.mkfifo(inbox / "fifo.edgepkg")
    (inbox / "link.edgepkg").symlink_to(precious)
    (inbox / "device.edgepkg").symlink_to("/dev/zero")
    watching.wait_for("an empty inbox", lambda: not list(inbox.iterdir()))
    for kind in ("folder", "fifo", "link", "device"):
        assert f"{kind}.edgepkg: refused: cannot" in watching.log()
    assert precious.exists()


def test_hostile_packages_leave_docker_as_it_was(rig: Rig) -> None:
    rig.write_catalog(kind="running")  # none of them has a health check, which would be all that is told
    catalog = rig.paths.services.read_text().replace(f'name = "{rig.name}"', 'name = "frontend"', 1)
    catalog = catalog.replace('revision = "1"', 'revision = "r1"').replace(PLATFORM, "linux/amd64")
    rig.paths.services.write_text(catalog)
    rig.run_old()
    before = take_inventory(rig.client)
    rig.paths.inbox.mkdir(parents=True)
    hostile = {fault: content for fault, (content, code) in hostile_packages().items() if code != SHORT}
    for number, content in enumerate(hostile.values()):
        (rig.paths.inbox / f"{number}.edgepkg").write_bytes(content)
    with caissond(rig.root, rig.host) as daemon:
        daemon.wait_until_handled(deadline_s=600)
        assert len(receipts(daemon)) == len(hostile)
        assert daemon.stop() == 0
    assert take_inventory(rig.client) == before
    verdicts = rig.device().history.newest()
    assert {verdict.outcome for verdict in verdicts} == {Outcome.REFUSED}
    assert "image.layer_mismatch" in {verdict.code for verdict in verdicts}


# files that grow


def test_file_that_is_copied_slowly_is_taken_when_it_is_complete(watching: DaemonProcess) -> None:
    content = raw_package()
    grows = len(
        content.rstrip(b"\0")
    )  # what ends it comes all at once, or it might be complete before the end
    ends = [*range(grows // 6, grows, grows // 6), len(content)]
    with (watching.paths.inbox / "slow.edgepkg").open("wb", buffering=0) as file:
        for begin, end in pairwise([0, *ends]):
            assert "slow.edgepkg: looking at it" not in watching.log()
            file.write(content[begin:end])
            time.sleep(0.4)
    watching.wait_until_handled()
    assert "slow.edgepkg: refused: cannot update 'frontend'" in watching.log()
    assert "incomplete" not in watching.log()


def test_file_that_stays_short_is_told_once_stays_and_is_taken_when_it_is_finished(
    engine: Engine, root: Path
) -> None:
    (root / "etc/caisson/caissond.toml").write_text("[inbox]\nincomplete_secs = 1\nrescan_secs = 1\n")
    content = raw_package()
    with caissond(root, engine.host) as daemon:
        daemon.wait_until_logged("is ready")
        path = daemon.paths.inbox / "short.edgepkg"
        path.write_bytes(content[:-1024])
        daemon.wait_until_logged("short.edgepkg: stays incomplete")
        time.sleep(3)
        assert (daemon.log().count("stays incomplete"), receipts(daemon)) == (1, [])
        path.write_bytes(content)
        daemon.wait_until_handled()
    assert "short.edgepkg: refused: cannot update 'frontend'" in daemon.log()


# several at once


def test_newest_of_several_packages_is_applied_and_the_others_are_passed_over(rig: Rig) -> None:
    rig.write_catalog(kind="running", stable_secs=0.3)
    rig.run_old()
    rig.paths.inbox.mkdir(parents=True)
    for version in ("1.2.0", "1.10.0", "1.9.0"):
        path = rig.package(version)
        path.rename(rig.paths.inbox / path.name)
    with caissond(rig.root, rig.host) as daemon:
        daemon.wait_until_handled()
    assert rig.release() == "1.10.0"
    verdicts = {
        verdict.versions: (verdict.outcome, verdict.code) for verdict in rig.device().history.newest()
    }
    assert verdicts == {
        "1.10.0": (Outcome.SUCCEEDED, ""),
        "1.9.0": (Outcome.SKIPPED, "package.superseded"),
        "1.2.0": (Outcome.SKIPPED, "package.superseded"),
    }


def test_failed_newest_does_not_keep_the_next_from_its_turn(rig: Rig) -> None:
    rig.write_catalog(kind="running", stable_secs=PATIENT_S)
    rig.run_old()
    rig.paths.inbox.mkdir(parents=True)
    broken = rig.package("2.0.0", rig.image("2.0.0", cmd=CRASHES))
    for path in (broken, rig.package("1.5.0")):
        path.rename(rig.paths.inbox / path.name)
    (rig.paths.inbox / "hostile.edgepkg").write_bytes(b"nonsense" * 1000)
    with caissond(rig.root, rig.host) as daemon:
        daemon.wait_until_handled()
    assert rig.release() == "1.5.0"
    outcomes = {
        verdict.package.removeprefix(rig.name): verdict.outcome for verdict in rig.device().history.newest()
    }
    assert outcomes == {
        "-2.0.0.edgepkg": Outcome.ROLLED_BACK,
        "-1.5.0.edgepkg": Outcome.SUCCEEDED,
        "hostile.edgepkg": Outcome.REFUSED,
    }


# trust, with nothing but a catalog


@pytest.mark.parametrize(
    ("signers", "code"), [("", "trust.no_signers"), (f"alice {ed25519().line}\n", "trust.unsigned")]
)
def test_unsigned_package_is_refused_by_default_with_what_to_do(rig: Rig, signers: str, code: str) -> None:
    rig.paths.config.unlink()
    rig.paths.allowed_signers.write_text(signers)
    old = rig.run_old()
    rig.paths.inbox.mkdir(parents=True)
    rig.package("1.1.0").rename(rig.paths.inbox / "a.edgepkg")
    with caissond(rig.root, rig.host) as daemon:
        daemon.wait_until_handled()
        assert hint_for(code) in daemon.log()
        (receipt,) = receipts(daemon)
        assert hint_for(code) in receipt
        assert daemon.stop() == 0
    (verdict,) = rig.device().history.newest()
    assert (verdict.code, rig.container().id, rig.private_tags()) == (code, old.id, [])


def test_root_with_nothing_but_a_catalog_works(engine: Engine, root: Path) -> None:
    with caissond(root, engine.host) as daemon:
        daemon.wait_until_logged("is ready")
        assert daemon.paths.inbox.stat().st_mode & 0o7777 == 0o1770
        assert daemon.paths.status.exists()
        assert daemon.stop() == 0
    assert {path.name for path in root.iterdir()} == {"etc", "var", "run"}
