"""The table of power cuts: one line for each, and how many broke a promise."""

from collections.abc import Sequence

from tests.device.cuts.plan import Return
from tests.device.cuts.trial import Result

_HEAD = (
    "seed/N",
    "package",
    "power back with",
    "cut at, s",
    "cut when caissond had said last",
    "cut off",
    "found",
    "ended",
    "s",
)


def format_table(results: Sequence[Result]) -> str:
    """All of them, in the order of their numbers, and their sum."""
    rows = [_HEAD, *map(_row, sorted(results, key=lambda result: (result.seed, result.number)))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    broken = [result for result in results if result.broken]
    violations = [format_violation(result) for result in broken]
    recovered = sum(result.recovered for result in results)
    again = sum(result.boots > 1 + (result.back == Return.NO_CAISSON) for result in results)
    return "\n".join(
        [
            *lines,
            *violations,
            f"{len(results)} power cuts, {len(broken)} violations; {recovered} cut an update off; "
            f"{again} needed another boot to free a port",
        ]
    )


def format_line(result: Result) -> str:
    """One of them, as soon as it is known."""
    return format_violation(result) if result.broken else "  ".join(_row(result))


def format_violation(result: Result) -> str:
    """What is broken, and how to see it again."""
    sentences = "".join(f"\n    {sentence}" for sentence in result.broken)
    again = f"./dev power-cuts --seed {result.seed} --only {result.number}"
    return (
        f"VIOLATION in {result.seed}/{result.number}, cut at {result.step!r}{sentences}\n    again: {again}"
    )


def _row(result: Result) -> tuple[str, ...]:
    return (
        f"{result.seed}/{result.number}", result.package, result.back, f"{result.instant_s:.1f}",
        result.step, "yes" if result.recovered else "no", result.found or "-", result.ended or "-",
        f"{result.seconds:.0f}",
    )  # fmt: skip
