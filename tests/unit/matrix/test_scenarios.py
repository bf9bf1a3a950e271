"""A scenario says which containers there are, what an admin has written of them, and where it is struck."""

import pytest

from caissond.model.catalog import parse_catalog
from caissond.model.settings import parse_settings
from caissond.update.containers import COMPOSE_LABEL
from tests.matrix.catalog import catalog_of, compose_file_of, compose_labels, settings_of
from tests.matrix.points import Moment, points_of
from tests.matrix.scenario import Points, Scenario
from tests.matrix.scenarios import SCENARIOS
from tests.matrix.target import PAIR, SCALED, WITH_SIDECAR, Release

EVENTS = ["docker GET info", "docker POST images/load", "commit UPDATE running"]
EACH = pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=lambda scenario: scenario.name)


def struck(points: Points, *, every: int = 1) -> list[str]:
    scenario = Scenario("name", "words", points=points, every=every)
    return [str(point).removesuffix(" #1") for point in scenario.struck_at(points_of(EVENTS))]


@EACH
def test_what_the_admin_wrote_is_understood(scenario: Scenario) -> None:
    catalog = parse_catalog(catalog_of(scenario), source="services.toml")
    assert [service.name for service in catalog.services] == [target.name for target in scenario.targets]
    parse_settings(settings_of(scenario), source="caissond.toml")


@EACH
def test_every_container_has_a_name_of_its_own(scenario: Scenario) -> None:
    assert len(set(scenario.names)) == len(scenario.names) > 0


def test_all_containers_of_a_scenario_are_known() -> None:
    assert Scenario("name", "words", targets=PAIR).names == ("web", "db")
    assert Scenario("name", "words", targets=(WITH_SIDECAR,)).names == ("web", "sidecar")
    composed = Scenario("name", "words", targets=(SCALED,))
    assert composed.names == ("shop-web-1", "shop-web-2", "shop-db-1")
    assert "image: matrix/web:stable\n" in compose_file_of(composed)
    labels = compose_labels("shop-web-2", "sha256:0")
    assert [labels[COMPOSE_LABEL + key] for key in ("project", "service", "container-number")] == [
        *("shop", "web", "2")
    ]


def test_only_one_of_two_services_gets_the_bad_release() -> None:
    scenario = Scenario("name", "words", targets=PAIR, release=Release.CRASHES)
    releases = {target.name: scenario.release_of(target) for target in scenario.targets}
    assert releases == {"web": Release.CRASHES, "db": Release.GOOD}


def test_each_state_is_struck_once_where_that_is_asked_for() -> None:
    load = "docker POST images/load"
    commit = "before commit UPDATE running"
    assert struck(Points.STATES) == [f"before {load}", f"during {load}", f"midway {load}", commit]
    assert len(struck(Points.CHANGES)) == len(Moment) + 1
    assert len(struck(Points.ALL)) == len(Moment) + 2
    assert struck(Points.STATES, every=3) == [f"before {load}", commit]
