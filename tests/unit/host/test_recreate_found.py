"""What real engines taught: words that an inspect shows in another way than create wants them."""

from typing import Any

import pytest

from caissond.host.recreate import Replacement, bound_to, depends_on
from caissond.model.ids import ContainerId
from tests.unit.host.test_recreate import ID, IMAGE, config, endpoint, networks, old, plan, volume

Inspect = dict[str, Any]
CHECK = {"Test": ["CMD", "/check"], "Interval": 5, "Retries": 3}


def with_check(**own: object) -> Inspect:
    image = {"Config": {**IMAGE["Config"], "Healthcheck": CHECK}}
    return plan(old({"Healthcheck": {**CHECK, **own}}), image).config


# the image's defaults


@pytest.mark.parametrize(
    ("own", "kept"),
    [
        ({"Interval": 9}, {"Interval": 9}),
        ({"Test": ["NONE"]}, {"Test": ["NONE"]}),
        ({"Test": ["CMD", "/mine"], "StartPeriod": 7}, {"Test": ["CMD", "/mine"], "StartPeriod": 7}),
    ],
)
def test_only_those_fields_of_a_health_check_are_kept_that_are_not_the_image_s(
    own: Inspect, kept: Inspect
) -> None:
    assert with_check(**own)["Healthcheck"] == kept
    assert "Healthcheck" not in with_check()


def test_published_port_stays_exposed_whatever_the_new_image_says() -> None:
    bindings = {"80/tcp": [{"HostPort": "8080"}]}
    assert config(old(host={"PortBindings": bindings}))["ExposedPorts"] == {"80/tcp": {}}


def test_entrypoint_in_the_words_of_the_image_is_kept_where_it_switched_the_command_off() -> None:
    made = config(old({"Cmd": None}))
    assert (made["Entrypoint"], made["Cmd"]) == (["/init"], None)


@pytest.mark.parametrize("shown", [None, []])
def test_no_entrypoint_is_asked_for_in_the_words_that_docker_takes(shown: object) -> None:
    made = config(old({"Entrypoint": shown, "Cmd": ["serve"]}))
    assert (made["Entrypoint"], made["Cmd"]) == ([""], ["serve"])


# volumes


@pytest.mark.parametrize("spelled", ["/data/", "/data"])
def test_volume_is_attached_once_however_its_place_is_spelled(spelled: str) -> None:
    bound = old(host={"Binds": [f"named:{spelled}:ro"]}, Mounts=[volume("named", "/data", rw=False)])
    assert config(bound)["HostConfig"]["Binds"] == [f"named:{spelled}:ro"]
    wanted = [{"Type": "volume", "Target": spelled}]
    mounted = config(old(host={"Mounts": wanted}, Mounts=[volume("a" * 64, "/data")]))["HostConfig"]
    assert (mounted["Mounts"][0]["Source"], mounted["Binds"]) == ("a" * 64, None)


def test_volumes_of_another_container_are_left_to_it() -> None:
    shared = old(
        host={"VolumesFrom": ["store"]}, Mounts=[volume("shared", "/shared"), volume("a" * 64, "/data")]
    )
    made = config(shared)["HostConfig"]
    assert (made["VolumesFrom"], made["Binds"]) == (["store"], [f"{'a' * 64}:/data:rw"])


# networks


def on_two(**second: Any) -> Replacement:
    return plan(networks("front", front=endpoint(), back={**endpoint(), **second}))


def test_mac_address_of_a_further_network_is_kept_where_docker_did_not_derive_it() -> None:
    assert "MacAddress" not in dict(on_two(MacAddress="02:42:0a:00:00:07").more_networks)["back"]
    assert "MacAddress" not in dict(on_two(MacAddress="").more_networks)["back"]
    assert (
        dict(on_two(MacAddress="02:42:ac:00:00:99").more_networks)["back"]["MacAddress"]
        == "02:42:ac:00:00:99"
    )


def test_engine_that_takes_all_networks_at_once_is_given_them_at_once() -> None:
    made = on_two(DNSNames=["web"], MacAddress="02:42:ac:00:00:99")
    ends = made.config["NetworkingConfig"]["EndpointsConfig"]
    assert (list(ends), made.more_networks) == (["front", "back"], ())
    assert ends["back"]["MacAddress"] == "02:42:ac:00:00:99"


def test_default_network_stays_first_where_all_are_named_at_once() -> None:
    made = plan(networks("bridge", bridge={**endpoint(), "DNSNames": None}, back=endpoint()))
    assert made.config["HostConfig"]["NetworkMode"] == "bridge"
    assert list(made.config["NetworkingConfig"]["EndpointsConfig"]) == ["bridge", "back"]


def test_network_given_by_the_beginning_of_its_id_is_found() -> None:
    assert config(networks("f" * 10, back={}, front=endpoint()))["HostConfig"]["NetworkMode"] == "front"


# what is bound to a container

NEW = ContainerId("e" * 64)


@pytest.mark.parametrize(
    "host",
    [
        *({mode: f"container:{ID}"} for mode in ("NetworkMode", "PidMode", "IpcMode")),
        {"NetworkMode": "container:web"},
        {"Links": ["/db:/linked/db", "/web:/linked/friend"]},
    ],
    ids=str,
)
def test_dependant_is_known_and_bound_to_another_container(host: Inspect) -> None:
    dependant = old(host=host)
    assert depends_on(dependant, "web", ID)
    moved = bound_to(dependant, "web", ID, NEW)
    assert not depends_on(moved, "web", ID)
    assert depends_on(moved, "", NEW)
    assert plan(moved).config["HostConfig"]["Links"] in (None, ["db:db", f"{NEW}:friend"])


@pytest.mark.parametrize(
    "host", [{"NetworkMode": "container:web2"}, {"Links": ["/web2:/l/web"]}, {"IpcMode": ""}]
)
def test_container_that_has_to_do_with_others_only_is_no_dependant(host: Inspect) -> None:
    assert not depends_on(old(host=host), "web", ID)
    assert bound_to(old(host=host), "web", ID, NEW)["HostConfig"].get("NetworkMode") != f"container:{NEW}"
