"""Receipts: readable by anybody, there for good, and never too many."""

import json
import os
import stat
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from caissond.errors import CaissonError
from caissond.model.ids import UpdateId
from caissond.model.records import Outcome, PartVerdict, Verdict
from caissond.report.receipts import (
    KEEP_PAIRS,
    headline,
    prune_receipts,
    receipt_stem,
    receipt_text,
    write_receipt,
)

AT = datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC)


def verdict(outcome: Outcome, *, number: int = 0, at: datetime = AT, ungated: bool = False) -> Verdict:
    return Verdict(
        update_id=UpdateId(f"{number:08x}-0000-4000-8000-000000000000"),
        package="frontend-1.2.3.edgepkg",
        outcome=outcome,
        parts=(
            PartVerdict(
                service="frontend",
                version="1.2.3",
                previous_version="1.2.2",
                ungated=ungated,
                outcome=outcome,
            ),
        ),
        started_at=at,
        finished_at=at,
    )


REFUSED = verdict(Outcome.REFUSED).model_copy(
    update={
        "code": "package.updater_too_old",
        "message": "cannot accept a package for Caisson 2.0.0, this is 1.0.0",
        "hint": "update Caisson on the device first",
        "source": "inbox",
        "parts": (),
    }
)


def write_many(folder: Path, count: int, *, at: datetime = AT) -> None:
    for number in range(count):
        write_receipt(folder, verdict(Outcome.SUCCEEDED, number=number, at=at), device="pump 7")


def test_refusal_reads_like_a_letter(tmp_path: Path) -> None:
    path = write_receipt(tmp_path / "receipts", REFUSED, device="pump 7")
    assert path.read_text() == (
        "REFUSED: frontend-1.2.3.edgepkg was not used; nothing was changed\n"
        "\n"
        "Package:    frontend-1.2.3.edgepkg\n"
        "From:       inbox\n"
        "Device:     pump 7\n"
        "When:       2026-01-31 23:59:59 UTC\n"
        "Code:       E-214 (package.updater_too_old)\n"
        "Meaning:    The package needs a newer Caisson.\n"
        "Details:    cannot accept a package for Caisson 2.0.0, this is 1.0.0\n"
        "What to do: update Caisson on the device first\n"
        "Update:     00000000-0000-4000-8000-000000000000\n"
    )


def test_machines_get_the_same_with_a_schema_number(tmp_path: Path) -> None:
    path = write_receipt(tmp_path, REFUSED, device="pump 7").with_suffix(".json")
    content = json.loads(path.read_text())
    assert (content["schema"], content["device"], content["number"]) == (1, "pump 7", "E-214")
    assert (content["outcome"], content["code"]) == ("refused", "package.updater_too_old")


@pytest.mark.parametrize(
    ("outcome", "line"),
    [
        (Outcome.SUCCEEDED, "UPDATED: frontend now runs version 1.2.3"),
        (Outcome.NOTHING_TO_DO, "NOTHING TO DO: frontend runs version 1.2.3 already"),
        (Outcome.SKIPPED, "PASSED OVER: frontend-1.2.3.edgepkg was not needed here; nothing was changed"),
        (Outcome.POSTPONED, "WAITING: frontend-1.2.3.edgepkg was not used yet; it is tried again"),
        (Outcome.FAILED, "NOT UPDATED: frontend is as it was before"),
        (Outcome.ROLLED_BACK, "ROLLED BACK: frontend runs version 1.2.2 again; version 1.2.3 was not kept"),
        (Outcome.ROLLBACK_FAILED, "HELP NEEDED: frontend could not be brought back as it was"),
    ],
)
def test_first_line_says_what_happened_in_plain_words(outcome: Outcome, line: str) -> None:
    assert headline(verdict(outcome)) == line


def test_service_that_stays_stopped_is_not_said_to_run() -> None:
    assert headline(verdict(Outcome.SUCCEEDED, ungated=True)) == (
        "UPDATED: frontend has version 1.2.3; it was stopped before and stays stopped"
    )


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_has_a_headline_even_without_a_service(outcome: Outcome) -> None:
    assert ": " in headline(verdict(outcome).model_copy(update={"parts": (), "package": ""}))


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        ({"outcome": Outcome.ROLLBACK_FAILED, "hint": "see docker ps"}, "call an engineer; see docker ps"),
        ({"outcome": Outcome.ROLLBACK_FAILED}, "call an engineer"),
        ({"retry": True}, "nothing; it is tried again by itself"),
        ({}, "nothing"),
    ],
)
def test_receipt_says_what_to_do(change: dict[str, object], advice: str) -> None:
    text = receipt_text(verdict(Outcome.ROLLED_BACK).model_copy(update=change), device="pump 7")
    assert f"\nWhat to do: {advice}\n" in text


@pytest.mark.parametrize(
    ("package", "name"),
    [
        ("frontend-1.2.3.edgepkg", "frontend-1.2.3"),
        ("../../etc/passwd", "etc_passwd"),
        ("a b:c\n\udc80.edgepkg", "a_b_c"),
        ("", "package"),
        ("x" * 300, "x" * 80),
    ],
)
def test_file_name_is_safe_whatever_the_package_is_called(tmp_path: Path, package: str, name: str) -> None:
    path = write_receipt(tmp_path, REFUSED.model_copy(update={"package": package}), device="d")
    assert path == tmp_path / f"20260131T235959Z-00000000-{name}.txt"


def test_file_name_is_in_utc() -> None:
    local = AT.astimezone(timezone(timedelta(hours=2)))
    assert receipt_stem(verdict(Outcome.FAILED, at=local)).startswith("20260131T235959Z-")


def test_words_of_a_package_stay_on_their_line() -> None:
    forged = REFUSED.model_copy(update={"message": "bad\nWhat to do: pay", "package": "a\rb"})
    assert len(receipt_text(forged, device="d\n").splitlines()) == len(
        receipt_text(REFUSED, device="d").splitlines()
    )


def test_receipts_may_be_read_by_owner_and_group_only(tmp_path: Path) -> None:
    write_receipt(tmp_path, REFUSED, device="d")
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o640}


def test_same_verdict_again_replaces_its_receipts(tmp_path: Path) -> None:
    write_many(tmp_path, 1)
    write_many(tmp_path, 1)
    assert len(list(tmp_path.iterdir())) == 2


def test_oldest_pairs_go_and_pairs_stay_whole(tmp_path: Path) -> None:
    write_many(tmp_path, 4)
    prune_receipts(tmp_path, keep=2)
    assert sorted(path.name[17:25] for path in tmp_path.iterdir()) == ["00000002"] * 2 + ["00000003"] * 2


def test_writing_keeps_the_number_of_receipts_in_bounds(tmp_path: Path) -> None:
    for number in range(KEEP_PAIRS + 5):
        (tmp_path / f"{receipt_stem(verdict(Outcome.FAILED, number=number))}.txt").touch()
    new = write_receipt(tmp_path, verdict(Outcome.SUCCEEDED, number=9_999), device="d")
    assert len(list(tmp_path.glob("*.txt"))) == KEEP_PAIRS
    assert new.exists()


def test_contents_are_on_the_disk_before_their_names_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[str, bool]] = []

    def fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append((path.suffix, path.stat().st_size > 0))

    monkeypatch.setattr(os, "fsync", fsync)
    write_receipt(tmp_path / "receipts", REFUSED, device="d")
    assert synced == [(".new", True), (".new", True), ("", True)]


def test_receipt_written_while_the_clock_says_1970_is_still_the_newest(tmp_path: Path) -> None:
    write_many(tmp_path, 3)
    for path in tmp_path.iterdir():
        os.utime(path, (4_000_000_000, 4_000_000_000))  # the clock has gone back since
    new = write_receipt(
        tmp_path, verdict(Outcome.SUCCEEDED, number=9, at=datetime(1970, 1, 1, tzinfo=UTC)), device="d"
    )
    prune_receipts(tmp_path, keep=1)
    assert sorted(tmp_path.iterdir()) == [new.with_suffix(".json"), new]


def test_cut_off_write_is_cleared_away_and_other_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "20260131T235959Z-00000000-x.json.new").write_text("{")
    (tmp_path / "notes.txt").write_text("mine")
    prune_receipts(tmp_path, keep=0)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_receipt_that_cannot_be_written_has_a_code_and_leaves_nothing(tmp_path: Path) -> None:
    stem = receipt_stem(REFUSED)
    (tmp_path / f"{stem}.txt" / "in the way").mkdir(parents=True)
    with pytest.raises(CaissonError, match=r"^cannot write the receipt .*: Is a directory") as caught:
        write_receipt(tmp_path, REFUSED, device="d")
    assert caught.value.code == "receipt.failed"
    assert not list(tmp_path.glob("*.new"))


def test_folder_that_cannot_be_made_has_a_code(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CaissonError) as caught:
        write_receipt(tmp_path / "file" / "receipts", REFUSED, device="d")
    assert caught.value.code == "receipt.failed"
