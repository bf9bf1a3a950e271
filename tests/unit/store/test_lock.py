"""One process at a time updates; who is turned away is told by whom, and a dead holder holds nothing."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from caissond.errors import LockBusy, StoreError
from caissond.store.lock import hold_lock, holder_of

HOLD = (
    "import pathlib, sys\n"
    "from caissond.store.lock import hold_lock\n"
    "with hold_lock(pathlib.Path(sys.argv[1]), who='caissond, process 812'):\n"
    "    print('held', flush=True)\n"
    "    sys.stdin.read()\n"
)


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """Where the lock is to be; the state folder is not there yet."""
    return tmp_path / "state/lock"


@contextmanager
def held_elsewhere(lock: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process holds the lock, until it is told to end."""
    command = [sys.executable, "-c", HOLD, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process


def test_second_process_is_told_who_holds_it(lock: Path) -> None:
    problem = r"cannot take .*lock: held by caissond, process 812"
    taking = hold_lock(lock, who="me", code="lock.daemon_runs")
    with held_elsewhere(lock):
        with pytest.raises(LockBusy, match=problem) as busy, taking:
            pytest.fail("it was held")
        assert busy.value.code == "lock.daemon_runs"
        assert holder_of(lock) == "caissond, process 812"


def test_lock_is_free_once_its_holder_was_killed(lock: Path) -> None:
    with held_elsewhere(lock) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait(60)
        assert holder_of(lock) is None
        with hold_lock(lock, who="me"):
            assert holder_of(lock) == "me"


def test_lock_is_free_after_the_block_and_after_a_failure(lock: Path) -> None:
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt), hold_lock(lock, who="a longer name than the next one"):
            raise KeyboardInterrupt
    with hold_lock(lock, who="me"):
        assert lock.read_text() == "me"
    assert (lock.read_text(), holder_of(lock)) == ("", None)


def test_process_does_not_take_its_own_lock_twice(lock: Path) -> None:
    with hold_lock(lock, who="me"), pytest.raises(LockBusy, match="held by me"), hold_lock(lock, who="me"):
        pytest.fail("it was held")


def test_child_processes_do_not_inherit_it(lock: Path) -> None:
    with hold_lock(lock, who="me"):
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        with hold_lock(lock, who="me again"):
            pass
    finally:
        child.kill()
        child.wait()


def test_asking_for_the_holder_never_turns_anybody_away(lock: Path) -> None:
    code = (
        "import pathlib, sys, time\n"
        "from caissond.store.lock import holder_of\n"
        "print('asking', flush=True)\n"
        "while True: holder_of(pathlib.Path(sys.argv[1])); time.sleep(0.0005)\n"
    )
    with hold_lock(lock, who="me"):
        pass
    with subprocess.Popen([sys.executable, "-c", code, str(lock)], stdout=subprocess.PIPE) as asking:
        assert asking.stdout is not None
        asking.stdout.readline()
        try:
            for _ in range(2000):
                with hold_lock(lock, who="me"):
                    pass
        finally:
            asking.kill()


def test_lock_that_was_never_taken_has_no_holder(lock: Path) -> None:
    assert holder_of(lock) is None
    assert not lock.parent.exists()


def test_holder_without_a_name_is_another_process(lock: Path) -> None:
    with hold_lock(lock, who=""):
        assert holder_of(lock) == "another process"
        with pytest.raises(LockBusy, match="held by another process"), hold_lock(lock, who="me"):
            pytest.fail("it was held")


def test_lock_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(StoreError, match="cannot make") as failed,
        hold_lock(tmp_path / "file/lock", who="me"),
    ):
        pytest.fail("there is no such folder")
    assert failed.value.code == "store.failed"


def test_lock_file_is_not_for_everybody_to_read(lock: Path) -> None:
    with hold_lock(lock, who="me"):
        assert lock.stat().st_mode & 0o007 == 0
