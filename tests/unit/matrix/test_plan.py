"""Which cells there are: every state of a recovery once, at every third of them a second kill."""

from tests.matrix.cell import Cell, Result
from tests.matrix.plan import cells_of, pairs, shuffled, singles, slice_of
from tests.matrix.scenarios import SCENARIOS

GOOD = SCENARIOS["good"]
RECOVERY = [
    "docker GET info",
    "docker POST containers/old/start",
    "commit UPDATE running",
    "file os.mkdir work",
]


def struck(point: str, recovery: list[str]) -> Result:
    return Result(f"good: before {point} #1", recovery=recovery)


def test_recovery_is_killed_before_its_changes_alone_and_not_in_one_row() -> None:
    first, second = (struck(f"file open {name}", [*RECOVERY, name]) for name in ("a", "b"))
    assert [str(cell) for cell in pairs(GOOD, [first, second])] == [
        "good: before file open a #1 then before docker POST containers/old/start #1",
        "good: before file open a #1 then before a #1",
        "good: before file open b #1 then before commit UPDATE running #1",
    ]


def test_one_of_two_kills_with_the_very_same_recovery_stands_for_both() -> None:
    looked_twice = ["docker GET info", *RECOVERY]
    kills = [struck("file open a", RECOVERY), struck("file open b", looked_twice)]
    assert {Cell.parse(str(cell)).first for cell in pairs(GOOD, kills)} == {Cell.parse(kills[0].cell).first}


def test_kill_that_never_came_has_no_second_one() -> None:
    assert pairs(GOOD, [Result("good: before docker GET info #1", struck=False, recovery=RECOVERY)]) == []


def test_second_kills_are_known_when_the_first_ones_were_run_and_come_after_them() -> None:
    seen = Result("good: nothing", events=["commit INSERT audit"] * 5)
    first = singles(GOOD, seen)
    known = {seen.cell: seen}
    assert cells_of(["good"], known) == first
    known |= {str(cell): Result(str(cell), recovery=[*RECOVERY, str(cell.first)]) for cell in first}
    have_second = [cell.second is not None for cell in shuffled(cells_of(["good"], known))]
    assert have_second == [False] * 5 + [True] * (len(have_second) - 5)
    assert have_second[-1]


def test_slice_is_taken_from_all_over() -> None:
    cells = [Cell(name) for name in SCENARIOS]
    assert [cells.index(cell) for cell in slice_of(cells, 2)] == [
        len(cells) // 4,
        len(cells) // 4 + len(cells) // 2,
    ]
