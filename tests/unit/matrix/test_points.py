"""Points have names that are the same in every run, and cells can be read back from what was printed."""

import pytest

from tests.matrix.cell import Cell, Result
from tests.matrix.plan import cells_of, shuffled, slice_of
from tests.matrix.points import STRUCK, Moment, Point, name_commit, name_file, name_request, points_of

UPDATE = "0123abcd-0123-0123-0123-0123456789ab"


@pytest.mark.parametrize(
    ("request_line", "name"),
    [
        (("GET", "/v1.41/_ping"), "docker GET _ping"),
        (("POST", f"/v1.41/containers/{'a' * 64}/stop?t=10"), "docker POST containers/old/stop"),
        (("POST", f"/v1.41/containers/{'b' * 64}/stop"), "docker POST containers/*/stop"),
        (("GET", "/v1.41/containers/web-caisson-old-0123abcd/json"), "docker GET containers/parked/json"),
        (
            ("DELETE", f"/v1.41/images/caisson.invalid/ingest:0123abcd-{UPDATE}"),
            "docker DELETE images/ingest",
        ),
    ],
)
def test_request_is_named_without_its_ids(request_line: tuple[str, str], name: str) -> None:
    assert name_request(*request_line, {"a" * 64: "old"}) == name


def test_file_and_commit_are_named_without_their_ids() -> None:
    assert name_file("open", f"work/{UPDATE}/layer-000") == "file open work/*/layer-000"
    assert name_file("os.rename", "receipts/20260101T000000Z-0123abcd-release.json.new").startswith(
        "file os.rename receipts/*.json"
    )
    assert name_commit("INSERT OR REPLACE INTO service VALUES('web')") == "commit INSERT service"
    assert name_commit("UPDATE running SET moving = '{}'") == "commit UPDATE running"
    assert name_commit("DELETE FROM attempt WHERE service = 'web'") == "commit DELETE attempt"


def test_same_event_twice_makes_points_with_numbers() -> None:
    points = points_of(["docker GET info", f"{STRUCK}commit UPDATE running", "docker GET info"])
    assert [str(point) for point in points] == [
        "before docker GET info #1",
        "before commit UPDATE running #1",
        "before docker GET info #2",
    ]


def test_upload_is_struck_at_five_moments() -> None:
    assert {point.moment for point in points_of(["docker POST images/load"])} == set(Moment)


@pytest.mark.parametrize(
    "cell",
    [
        Cell("good"),
        Cell("good", Point(Moment.DURING, "docker POST containers/new/start", 2)),
        Cell(
            "term", Point(Moment.BEFORE, "file os.mkdir ", 3), Point(Moment.BEFORE, "commit INSERT audit", 1)
        ),
    ],
)
def test_cell_is_read_back_from_what_was_printed(cell: Cell) -> None:
    assert Cell.parse(str(cell)) == cell


def test_recovery_is_killed_at_every_third_point_and_like_recoveries_once() -> None:
    events = ["commit INSERT running", "docker POST containers/create"]
    seen = Result("good: nothing", events=events)
    recovery = [f"commit UPDATE step-{number}" for number in range(9)]
    results = {"good: nothing": seen}
    for point in points_of(events):
        results[f"good: {point}"] = Result(f"good: {point}", recovery=recovery)
    twice = [cell for cell in cells_of(["good"], results) if cell.second]
    assert [cell.second.name for cell in twice if cell.second] == [
        f"commit UPDATE step-{n}" for n in (0, 3, 6)
    ]


def test_order_and_slice_are_always_the_same() -> None:
    cells = [Cell("good", point) for point in points_of([f"commit UPDATE {n}" for n in range(50)])]
    assert shuffled(cells) == shuffled(reversed(cells)) != cells
    assert slice_of(cells, 5) == cells[5::10]
    assert slice_of(cells[:1], 5) == cells[:1]
