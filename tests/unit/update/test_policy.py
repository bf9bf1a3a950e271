"""Which package gets in, and the word for why not."""

import pytest

from caissond.model.catalog import Catalog, parse_catalog
from caissond.model.events import EVENTS
from caissond.model.manifest import Manifest
from caissond.model.records import Installed, Release
from caissond.update.policy import (
    MAX_ATTEMPTS,
    NOT_FOR_THIS_DEVICE,
    Act,
    Selection,
    plan_release,
    select_targets,
)
from tests.unit.samples import NOW, installed, release

# which release


@pytest.mark.parametrize(
    ("new", "old", "act", "code"),
    [
        (release("1.2.3"), None, Act.APPLY, ""),
        (release("1.2.4"), installed("1.2.3"), Act.APPLY, ""),
        (release("1.10.0"), installed("1.9.0"), Act.APPLY, ""),
        (release("1.2.3"), installed("1.2.3-rc.1"), Act.APPLY, ""),
        (release("1.2.3+b"), installed("1.2.3+a"), Act.APPLY, ""),
        (release("1.2.3"), installed("1.2.3"), Act.SKIP, "release.already_installed"),
        (release("1.2.3", number=2), installed("1.2.3"), Act.REFUSE, "package.version_reused"),
        (release("1.2.2"), installed("1.2.3"), Act.REFUSE, "package.downgrade"),
        (release("1.9.0"), installed("1.10.0"), Act.REFUSE, "package.downgrade"),
        (release("1.2.3-rc.1"), installed("1.2.3"), Act.REFUSE, "package.downgrade"),
    ],
)
def test_release_is_judged_by_what_the_service_runs(
    new: Release, old: Installed | None, act: Act, code: str
) -> None:
    decision = plan_release(new, old, quarantined_code=None, attempts=0)
    assert (decision.act, decision.code) == (act, code)
    assert code == "" or EVENTS[code]


def test_downgrade_needs_somebody_s_word() -> None:
    older = release("1.0.0")
    decision = plan_release(
        older, installed("2.0.0"), quarantined_code=None, attempts=0, allow_downgrade=True
    )
    assert decision.act is Act.APPLY
    same = release("2.0.0", number=2)
    decision = plan_release(same, installed("2.0.0"), quarantined_code=None, attempts=0, allow_downgrade=True)
    assert decision.code == "package.version_reused"


@pytest.mark.parametrize(
    ("newest", "code"),
    [
        ("1.5.0", "package.superseded"),
        ("1.4.0", "package.downgrade"),
        ("1.0.0", "package.downgrade"),
        (None, "package.downgrade"),
    ],
)
def test_older_package_beside_the_one_that_runs_now_is_passed_over(newest: str | None, code: str) -> None:
    decision = plan_release(
        release("1.0.0"), installed("1.5.0"), quarantined_code=None, attempts=0, newest_here=newest
    )
    assert decision.code == code


def test_quarantined_release_is_refused_and_says_why() -> None:
    decision = plan_release(release(), None, quarantined_code="gate.exited", attempts=0)
    assert (decision.act, decision.code) == (Act.REFUSE, "release.quarantined")
    assert decision.reason == "cannot try 1.2.3 again: it failed here with gate.exited"


def test_release_in_quarantine_that_runs_all_the_same_is_nothing_to_do() -> None:
    decision = plan_release(release(), installed(), quarantined_code="gate.exited", attempts=9)
    assert decision.act is Act.SKIP


@pytest.mark.parametrize(("attempts", "act"), [(MAX_ATTEMPTS - 1, Act.APPLY), (MAX_ATTEMPTS, Act.REFUSE)])
def test_third_attempt_is_the_last(attempts: int, act: Act) -> None:
    assert MAX_ATTEMPTS == 3
    decision = plan_release(release(), installed("1.0.0"), quarantined_code=None, attempts=attempts)
    assert (decision.act, decision.code) == (act, "" if act is Act.APPLY else "release.too_many_attempts")


# which device


CATALOG: Catalog = parse_catalog(
    """\
catalog_version = 1
[[services]]
name = "web"
service_revision = "web-v1"
platform = "linux/amd64"
runtime_mode = "docker"
[services.docker]
container_name = "the-web"
image_reference = "example/web:current"
[[services]]
name = "stack"
service_revision = "1"
platform = "linux/amd64"
runtime_mode = "compose"
[services.compose]
project = "p"
file = "/srv/compose.yaml"
service = "s"
""",
    source="services.toml",
)


WEB = {
    "service": "web",
    "service_revision": "web-v1",
    "platform": "linux/amd64",
    "reference": "example/web:1.2.3",
}


def package(*targets: dict[str, object], **fields: object) -> Manifest:
    """A manifest of the good target, with each of these changes; one of them when there is none."""
    changed = [WEB | target for target in targets or ({},)]
    good = {"format_version": 2, "version": "1.2.3", "created_at": NOW, "targets": changed}
    return Manifest.model_validate(good | fields)


def select(manifest: Manifest, device_type: str | None = None) -> Selection:
    return select_targets(manifest, CATALOG, updater_version="1.0.0", device_type=device_type)


def codes(selection: Selection) -> list[str]:
    return [problem.code for problem in selection.problems]


@pytest.mark.parametrize(
    ("target", "fields", "expected"),
    [
        ({}, {}, []),
        ({"service": "db"}, {}, ["package.unknown_service"]),
        ({"service": "db"}, {"min_updater_version": "9.0.0"}, ["package.unknown_service"]),
        ({"service_revision": "web-v2"}, {}, ["package.service_revision_mismatch"]),
        ({"platform": "linux/arm64"}, {}, ["package.platform_mismatch"]),
        ({}, {"min_updater_version": "1.0.0"}, []),
        ({}, {"min_updater_version": "0.1.0-alpha"}, []),
        ({}, {"min_updater_version": "1.0.1"}, ["package.updater_too_old"]),
        ({}, {"min_updater_version": "1.0.1-rc.1"}, ["package.updater_too_old"]),
        (
            {"service_revision": "x", "platform": "y"},
            {"min_updater_version": "9.0.0"},
            ["package.service_revision_mismatch", "package.platform_mismatch", "package.updater_too_old"],
        ),
    ],
)
def test_everything_that_does_not_fit_is_found(
    target: dict[str, object], fields: dict[str, object], expected: list[str]
) -> None:
    assert codes(select(package(target, **fields))) == expected


def test_mismatch_says_what_was_expected_and_what_came() -> None:
    (problem,) = select(package({"platform": "linux/arm64"})).problems
    assert problem.message == ("cannot update a service for 'linux/amd64': the package is for 'linux/arm64'")


@pytest.mark.parametrize(("mine", "expected"), [("kiosk", []), ("crane", ["package.device_type_mismatch"])])
def test_package_for_types_of_devices_fits_only_these(mine: str, expected: list[str]) -> None:
    assert codes(select(package(device_types=("pump", "kiosk")), mine)) == expected


def test_device_without_a_type_takes_only_packages_for_all() -> None:
    assert codes(select(package())) == []
    (problem,) = select(package(device_types=("pump",))).problems
    assert problem.message == "cannot use a package for 'pump': this device has no type"


def test_other_platforms_and_revisions_of_a_service_are_passed_over() -> None:
    others: list[dict[str, object]] = [{"platform": "linux/arm64"}, {}, {"service_revision": "web-v2"}]
    selection = select(package(*others))
    assert [target.platform for target in selection.targets] == ["linux/amd64"]
    assert selection.problems == ()


def test_target_of_a_service_that_is_not_here_refuses_the_package_unless_it_is_optional() -> None:
    assert codes(select(package({}, {"service": "db"}))) == ["package.unknown_service"]
    selection = select(package({}, {"service": "db", "optional": True}))
    assert (len(selection.targets), selection.problems) == (1, ())


def test_package_of_which_nothing_fits_is_refused_even_if_all_of_it_is_optional() -> None:
    selection = select(package({"service": "db", "optional": True}))
    assert (selection.targets, codes(selection)) == ((), ["package.unknown_service"])


def test_every_target_of_a_bundle_that_is_for_this_device_is_taken() -> None:
    selection = select(package({}, {"service": "stack", "service_revision": "1"}))
    assert ([target.service for target in selection.targets], codes(selection)) == (["web", "stack"], [])


def test_old_updater_is_a_fault_of_the_device_and_not_another_device() -> None:
    assert "package.updater_too_old" not in NOT_FOR_THIS_DEVICE
    assert {"package.unknown_service", "package.platform_mismatch"} < NOT_FOR_THIS_DEVICE
