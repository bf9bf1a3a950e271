"""What cannot be updated is refused before anything is touched, and everything an undo needs is read."""

from pathlib import Path
from typing import Any

import pytest

from caissond.errors import HostUnavailable, NotFound, Refusal
from caissond.host.docker import Docker, Inspect
from caissond.model.catalog import Catalog, HealthCheck, HealthKind, Service, parse_catalog
from caissond.model.records import Before, Installed, Release
from caissond.update.survey import check_health_check, check_reference, survey
from tests.unit.samples import OLD_IMAGE, before, installed, release

STATE_DIR = Path("/var/lib/caisson")
WEB_ID = "3eb" + "0" * 61


class Engine(Docker):
    """Containers and images that can only be looked at."""

    def __init__(self) -> None:
        self.containers: list[Inspect] = []
        self.images: dict[str, Inspect] = {OLD_IMAGE: {"Id": OLD_IMAGE}}
        self.is_down = False

    def inspect_container(self, container: str) -> Inspect:
        self._check_up()
        for one in self.containers:
            if container in (one["Id"], one["Name"].lstrip("/")):
                return one
        raise NotFound("cannot find it", code="docker.not_found")

    def list_containers(self, *, label: str | None = None) -> list[Inspect]:
        self._check_up()
        assert label is None
        return [
            {
                "Id": one["Id"],
                "Names": [one["Name"], *one.get("OtherNames", ())],
                "Image": one["Config"]["Image"],
                "HostConfig": {"NetworkMode": one["HostConfig"].get("NetworkMode", "default")},
            }
            for one in self.containers
        ]

    def inspect_image(self, image: str) -> Inspect:
        self._check_up()
        if image not in self.images:
            raise NotFound("cannot find it", code="docker.not_found")
        return self.images[image]

    def describe(self) -> Inspect:
        return {"Name": "device-7"}

    def _check_up(self) -> None:
        if self.is_down:
            raise HostUnavailable("cannot reach it", code="docker.unavailable")


def container(name: str = "web", *, id: str = WEB_ID, **parts: Any) -> Inspect:
    """A full inspect. `Config`, `HostConfig` and `State` add to what is there."""
    whole: Inspect = {
        "Id": id,
        "Name": f"/{name}",
        "Image": OLD_IMAGE,
        "Config": {"Image": "example/web:1.0.0", "Labels": None},
        "HostConfig": {"RestartPolicy": {"Name": "always", "MaximumRetryCount": 0}},
        "State": {"Running": True},
    }
    for key, value in parts.items():
        whole[key] = {**whole[key], **value} if isinstance(value, dict) else value
    return whole


@pytest.fixture
def engine() -> Engine:
    """One with a service `web` on it."""
    engine = Engine()
    engine.containers.append(container())
    return engine


CATALOG: Catalog = parse_catalog(
    "catalog_version = 1\n"
    + "".join(
        f'[[services]]\nname = "{name}"\nservice_revision = "1"\nplatform = "p"\nruntime_mode = "docker"\n'
        f'[services.docker]\ncontainer_name = "{name}"\nimage_reference = "{reference}"\n'
        for name, reference in (("web", "example/web:current"), ("api", "api"))
    ),
    source="services.toml",
)
WEB: Service = CATALOG.services[0]


def look(engine: Engine, known: Installed | None = None) -> Before:
    return survey(engine, WEB, "web", release(), state_dir=STATE_DIR, installed=known)


def code(engine: Engine) -> str:
    with pytest.raises(Refusal, match="cannot update") as refused:
        look(engine)
    return refused.value.code


# what is read


def test_everything_an_undo_needs_is_read(engine: Engine) -> None:
    seen = look(engine, installed("1.0.0"))
    assert (seen.container_id, seen.image_id) == (WEB_ID, OLD_IMAGE)
    assert (seen.container, seen.image) == (engine.containers[0], {"Id": OLD_IMAGE})
    assert seen.restart_policy == {"Name": "always", "MaximumRetryCount": 0}
    assert (seen.was_running, seen.was_well) == (True, True)
    assert seen.reference_image is None
    assert (seen.host_name, seen.installed) == ("device-7", installed("1.0.0"))


def test_image_that_the_tag_names_so_far_is_noticed(engine: Engine) -> None:
    engine.images["example/web:1.2.3"] = {"Id": "sha256:other"}
    assert look(engine).reference_image == "sha256:other"


@pytest.mark.parametrize(
    ("state", "running", "well"),
    [
        ({"Running": True, "Health": {"Status": "healthy"}}, True, True),
        ({"Running": True, "Health": {"Status": "starting"}}, True, True),
        ({"Running": True, "Health": {"Status": "unhealthy"}}, True, False),
        ({"Running": True, "Restarting": True}, True, False),
        ({"Running": False}, False, False),
    ],
)
def test_state_of_the_old_release_is_judged(
    engine: Engine, state: dict[str, Any], running: bool, well: bool
) -> None:
    engine.containers = [container(State=state)]
    seen = look(engine)
    assert (seen.was_running, seen.was_well) == (running, well)


def test_old_image_that_was_pruned_is_no_hindrance(engine: Engine) -> None:
    engine.images.clear()
    assert look(engine).image == {}


def test_container_without_a_restart_policy_has_the_policy_no(engine: Engine) -> None:
    engine.containers = [container(HostConfig={"RestartPolicy": None})]
    assert look(engine).restart_policy == {"Name": "no", "MaximumRetryCount": 0}


def test_silent_engine_is_not_taken_for_a_missing_container(engine: Engine) -> None:
    engine.is_down = True
    with pytest.raises(HostUnavailable):
        look(engine)


# what is refused


def test_missing_container_is_refused(engine: Engine) -> None:
    engine.containers = [container("web2")]
    assert code(engine) == "service.missing"


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"HostConfig": {"AutoRemove": True}}, "service.auto_remove"),
        ({"State": {"Paused": True}}, "service.paused"),
        ({"Config": {"Labels": {"io.caisson.state": "/srv/other"}}}, "service.claimed_elsewhere"),
    ],
)
def test_container_that_cannot_be_updated_is_refused(
    engine: Engine, parts: dict[str, Any], expected: str
) -> None:
    engine.containers = [container(**parts)]
    assert code(engine) == expected


def test_container_of_our_own_claim_is_updated(engine: Engine) -> None:
    engine.containers = [container(Config={"Labels": {"io.caisson.state": str(STATE_DIR)}})]
    assert look(engine)


@pytest.mark.parametrize("mode", [f"container:{WEB_ID}", "container:web"])
def test_dependant_on_its_network_is_refused_and_named(engine: Engine, mode: str) -> None:
    engine.containers.append(container("sidecar", id="5" * 64, HostConfig={"NetworkMode": mode}))
    with pytest.raises(Refusal, match="sidecar depends on it") as refused:
        look(engine)
    assert refused.value.code == "service.has_dependants"


DECLARED: Service = parse_catalog(
    'catalog_version = 1\n[[services]]\nname = "web"\nservice_revision = "1"\nplatform = "p"\n'
    'runtime_mode = "docker"\n[services.docker]\ncontainer_name = "web"\nimage_reference = "example/web"\n'
    'dependants = ["second", "first", "absent"]\n',
    source="services.toml",
).services[0]


def joined(name: str, digit: str, **parts: Any) -> Inspect:
    host = {"NetworkMode": f"container:{WEB_ID}", **parts.pop("HostConfig", {})}
    return container(name, id=digit * 64, HostConfig=host, **parts)


def look_declared(engine: Engine) -> Before:
    return survey(engine, DECLARED, "web", release(), state_dir=STATE_DIR, installed=None)


def test_declared_dependants_are_written_down_in_their_order(engine: Engine) -> None:
    engine.containers += [joined("first", "1"), joined("second", "2", State={"Running": False})]
    found = look_declared(engine).dependants
    assert [(one.name, one.before.was_running) for one in found] == [("second", False), ("first", True)]
    assert found[1].before.container == engine.containers[1]


def test_dependant_of_a_stopped_service_is_not_started(engine: Engine) -> None:
    engine.containers = [container(State={"Running": False}), joined("first", "1")]
    assert look_declared(engine).dependants[0].before.was_running is False


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ({"HostConfig": {"AutoRemove": True}}, "service.auto_remove"),
        ({"State": {"Paused": True}}, "service.paused"),
    ],
)
def test_dependant_that_cannot_be_made_again_refuses_the_update(
    engine: Engine, parts: dict[str, Any], code: str
) -> None:
    engine.containers.append(joined("first", "1", **parts))
    with pytest.raises(Refusal, match="its dependant first") as refused:
        look_declared(engine)
    assert refused.value.code == code


def test_dependant_of_a_dependant_refuses_the_update(engine: Engine) -> None:
    further = container("further", id="3" * 64, HostConfig={"Links": ["/first:/further/f"]})
    engine.containers += [joined("first", "1"), further]
    with pytest.raises(Refusal, match="further depends on its dependant first"):
        look_declared(engine)


def test_container_on_another_one_s_network_is_no_dependant(engine: Engine) -> None:
    engine.containers.append(container("other", id="5" * 64, HostConfig={"NetworkMode": "container:web2"}))
    assert look(engine)


@pytest.mark.parametrize("name", ["web-caisson-new-0123abcd", "web-caisson-old-0123abcd"])
def test_leftover_of_this_service_is_refused(engine: Engine, name: str) -> None:
    engine.containers.append(container(name, id="5" * 64))
    assert code(engine) == "service.leftovers"


@pytest.mark.parametrize(
    "name", ["web2-caisson-new-0123abcd", "web-caisson-new", "old-web-caisson-new-0123abcd"]
)
def test_leftover_of_another_service_is_none_of_ours(engine: Engine, name: str) -> None:
    engine.containers.append(container(name, id="5" * 64))
    assert look(engine)


def test_parked_container_of_a_known_update_waits_to_be_swept(engine: Engine) -> None:
    def look_knowing(update: str) -> Before:
        return survey(
            engine, WEB, "web", release(), state_dir=STATE_DIR, installed=None, is_known=update.__eq__
        )

    engine.containers.append(container("web-caisson-old-0123abcd", id="5" * 64))
    assert look_knowing("0123abcd")
    engine.containers.append(container("web-caisson-new-0123abcd", id="6" * 64))
    with pytest.raises(Refusal, match="web-caisson-new-0123abcd is in the way"):
        look_knowing("0123abcd")


# the tag


def takes(engine: Engine, wanted: Release, *known: Installed) -> None:
    check_reference(engine, wanted, "web", CATALOG, known)


def named(reference: str) -> Release:
    return release().model_copy(update={"reference": reference})


def test_tag_that_is_free_or_the_service_s_own_may_be_taken(engine: Engine) -> None:
    takes(engine, release())
    takes(engine, named("example/web:current"))
    takes(engine, release(), installed())
    engine.images["example/web:1.0.0"] = {"Id": OLD_IMAGE}
    takes(engine, named("example/web:1.0.0"))


@pytest.mark.parametrize(
    "reference",
    ["api:latest", "library/api:latest", "docker.io/api:latest", "docker.io/library/api:latest",
     "index.docker.io/library/api:latest"],
)  # fmt: skip
def test_tag_of_another_service_is_refused_in_every_spelling(engine: Engine, reference: str) -> None:
    with pytest.raises(Refusal, match=r"it belongs to api$") as refused:
        takes(engine, named(reference))
    assert refused.value.code == "package.reference_taken"


@pytest.mark.parametrize("reference", ["example.com/api:latest", "other/api:latest", "api:1", "api2:latest"])
def test_tag_that_only_looks_like_another_service_s_may_be_taken(engine: Engine, reference: str) -> None:
    takes(engine, named(reference))


@pytest.mark.parametrize("prefix", ["", "docker.io/"])
def test_tag_that_another_service_runs_by_is_refused(engine: Engine, prefix: str) -> None:
    with pytest.raises(Refusal, match="belongs to api"):
        takes(engine, named(f"{prefix}example/api:3.0.0"), installed("3.0.0", service="api"))


def test_tag_that_a_foreign_container_uses_is_refused(engine: Engine) -> None:
    engine.containers.append(container("db", id="5" * 64, Config={"Image": "docker.io/example/db"}))
    takes(engine, named("example/db:latest"))  # nothing is tagged so, nothing can be moved
    engine.images["example/db:latest"] = {"Id": "sha256:db"}
    with pytest.raises(Refusal, match="belongs to db"):
        takes(engine, named("docker.io/example/db:latest"))


def test_service_that_others_link_to_may_keep_its_tag(engine: Engine) -> None:
    """Docker lists what they call it among its names, and perhaps first."""
    engine.containers = [container(Name="/app/web", OtherNames=("/web",))]
    engine.images["example/web:1.0.0"] = {"Id": OLD_IMAGE}
    takes(engine, named("example/web:1.0.0"))


# the health check


def healthy(kind: HealthKind = HealthKind.CONTAINER_HEALTH) -> Service:
    return WEB.model_copy(update={"health_check": HealthCheck(kind=kind)})


def old(own: list[str] | None, inherited: list[str] | None) -> Before:
    def config(test: list[str] | None) -> dict[str, Any]:
        return {"Healthcheck": {"Test": test}} if test else {}

    return before(Config=config(own)).model_copy(update={"image": {"Config": config(inherited)}})


CURL, NONE = ["CMD", "curl"], ["NONE"]


@pytest.mark.parametrize(
    ("own", "inherited", "new_image_has_one", "known"),
    [
        (None, None, True, True),
        (None, None, False, False),
        (CURL, CURL, False, False),
        (CURL, None, False, True),
        (CURL, NONE, False, True),
        (NONE, CURL, True, False),
        (CURL, CURL, True, True),
    ],
)
def test_gate_asks_only_for_a_health_check_that_will_be_there(
    own: list[str] | None, inherited: list[str] | None, new_image_has_one: bool, known: bool
) -> None:
    before = old(own, inherited)
    if known:
        check_health_check(healthy(), before, has_healthcheck=new_image_has_one)
        return
    with pytest.raises(Refusal, match="cannot watch web") as refused:
        check_health_check(healthy(), before, has_healthcheck=new_image_has_one)
    assert refused.value.code == "image.no_healthcheck"


def test_health_check_of_which_only_the_interval_is_its_own_is_the_image_s() -> None:
    before = old(CURL, CURL)
    before.container["Config"]["Healthcheck"]["Interval"] = 9
    check_health_check(healthy(), before, has_healthcheck=True)
    with pytest.raises(Refusal, match="no health check"):
        check_health_check(healthy(), before, has_healthcheck=False)


def test_running_needs_no_health_check() -> None:
    check_health_check(healthy(HealthKind.RUNNING), old(None, None), has_healthcheck=False)
