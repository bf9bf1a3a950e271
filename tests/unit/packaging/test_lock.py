"""What of the lock goes into the package, and for which machines."""

from pathlib import Path

from debbuild.lock import needed_names, parse_lock
from debbuild.suites import ARCHITECTURES, SUITES, wheel_platforms
from debbuild.wheels import WITHOUT_WHEEL

LOCK = parse_lock((Path(__file__).parents[3] / "requirements.lock").read_text())


def test_pin_has_its_hashes_and_no_comments() -> None:
    first, second = (
        "A.b==1.0 \\\n    --hash=sha256:1 \\\n    --hash=sha256:2\n",
        "c==2 \\\n    --hash=sha256:3\n",
    )
    assert parse_lock(f"#\n# made by\n{first}    # via x\n{second}") == {"a-b": first, "c": second}


def test_every_library_that_is_needed_is_pinned_with_hashes() -> None:
    for suite in SUITES.values():
        assert all("--hash=sha256:" in LOCK[name] for name in needed_names(suite))


def test_tools_of_developers_stay_at_home() -> None:
    assert not needed_names(SUITES["bookworm"]) & {"pytest", "mypy", "ruff", "setuptools", "coverage"}


def test_what_is_needed_includes_what_the_needed_needs() -> None:
    assert {"docker", "urllib3", "pydantic-core", "cffi"} <= needed_names(SUITES["trixie"])


def test_sources_are_listed_only_while_they_are_needed() -> None:
    assert needed_names(SUITES["bookworm"]) >= WITHOUT_WHEEL


def test_wheels_for_a_newer_c_library_than_the_suite_has_are_not_taken() -> None:
    tags = wheel_platforms(SUITES["bookworm"], ARCHITECTURES["arm64"])
    assert tags[0] == "manylinux_2_36_aarch64"
    assert "manylinux_2_37_aarch64" not in tags
    assert "manylinux_2_28_aarch64" in tags
