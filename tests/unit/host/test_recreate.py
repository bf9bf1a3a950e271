"""The replacement is what the old container was asked to be, on the new image's own defaults."""

from copy import deepcopy
from typing import Any

import pytest

from caissond.host.recreate import NO_RESTART, Replacement, plan_replacement
from caissond.model.ids import ImageId

Inspect = dict[str, Any]
ID = "0123456789ab" + "c" * 52
NEW_IMAGE = ImageId("sha256:" + "e" * 64)

IMAGE: Inspect = {
    "Config": {
        "Env": ["PATH=/bin", "MODE=image"],
        "Cmd": ["serve"],
        "Entrypoint": ["/init"],
        "WorkingDir": "/app",
        "User": "app",
        "Labels": {"maintainer": "them", "version": "1"},
        "Healthcheck": {"Test": ["CMD", "/check"]},
        "ExposedPorts": {"80/tcp": {}},
        "Volumes": {"/data": {}},
        "StopSignal": "SIGQUIT",
        "Shell": ["/bin/sh"],
        "OnBuild": None,
    }
}


def old(config: Inspect | None = None, host: Inspect | None = None, **parts: Any) -> Inspect:
    """The inspect of a container of `IMAGE` that was given nothing of its own but what is said here."""
    defaults = deepcopy(IMAGE["Config"])
    return {
        "Id": ID,
        "Name": "/web",
        "Config": {**defaults, "Hostname": ID[:12], "Image": "web:1", **(config or {})},
        "HostConfig": {"NetworkMode": "default", "RestartPolicy": {"Name": "always"}, **(host or {})},
        "NetworkSettings": {"Networks": {"bridge": {"IPAddress": "172.17.0.2"}}},
        "Mounts": [],
        **parts,
    }


def plan(container: Inspect, image: Inspect = IMAGE, **arguments: Any) -> Replacement:
    untouched = deepcopy((container, image))
    replacement = plan_replacement(container, image, NEW_IMAGE, **{"labels": {}, **arguments})
    assert (container, image) == untouched
    return replacement


def config(container: Inspect) -> Inspect:
    return plan(container).config


# the image's defaults


def test_defaults_of_the_old_image_are_not_frozen_into_the_new_container() -> None:
    made = config(old())
    for key in ("Cmd", "Entrypoint", "WorkingDir", "User", "Healthcheck", "StopSignal", "Shell", "OnBuild"):
        assert key not in made
    assert (made["Env"], made["Labels"], made["ExposedPorts"], made["Volumes"]) == ([], {}, {}, {})
    assert made["Image"] == NEW_IMAGE


OWN = {
    "WorkingDir": "/srv",
    "User": "root",
    "Healthcheck": {"Test": ["NONE"]},
    "StopSignal": "SIGTERM",
    "StopTimeout": 30,
    "Tty": True,
    "Domainname": "example.org",
    "MacAddress": "02:42:ac:11:00:99",
}


@pytest.mark.parametrize("key", OWN)
def test_what_somebody_asked_for_is_kept(key: str) -> None:
    assert config(old({key: OWN[key]}))[key] == OWN[key]


def test_variables_of_its_own_are_kept_in_order_and_the_image_s_left_out() -> None:
    env = ["MODE=mine", "PATH=/bin", "SECRET=a=b", "MODE=image"]
    assert config(old({"Env": env}))["Env"] == ["MODE=mine", "SECRET=a=b"]


@pytest.mark.parametrize(
    ("own", "kept"),
    [
        ({"Cmd": ["debug"]}, {"Cmd": ["debug"]}),
        ({"Entrypoint": ["/mine"]}, {"Entrypoint": ["/mine"], "Cmd": ["serve"]}),
        ({"Entrypoint": ["/mine"], "Cmd": None}, {"Entrypoint": ["/mine"], "Cmd": None}),
    ],
    ids=["command", "entrypoint", "entrypoint without command"],
)
def test_command_of_its_own_is_kept_with_what_belongs_to_it(own: Inspect, kept: Inspect) -> None:
    made = config(old(own))
    assert {key: made[key] for key in ("Entrypoint", "Cmd") if key in made} == kept


def test_labels_of_the_image_and_of_caisson_are_not_copied() -> None:
    labels = {
        "maintainer": "them",
        "version": "2",
        "mine": "1",
        "io.caisson.update": "old",
        "io.caisson.replaces": "older",
        "io.caissonx": "y",
    }
    made = plan(old({"Labels": labels}), labels={"io.caisson.update": "new"}).config
    assert made["Labels"] == {"version": "2", "mine": "1", "io.caissonx": "y", "io.caisson.update": "new"}


def test_ports_and_volumes_of_its_own_are_kept() -> None:
    made = config(old({"ExposedPorts": {"80/tcp": {}, "81/tcp": {}}, "Volumes": {"/data": {}, "/more": {}}}))
    assert (made["ExposedPorts"], made["Volumes"]) == ({"81/tcp": {}}, {"/more": {}})


def test_everything_is_kept_when_the_old_image_is_gone() -> None:
    made = plan(old(), {}).config
    assert (made["Cmd"], made["Env"]) == (["serve"], ["PATH=/bin", "MODE=image"])


def test_bare_image_and_container_can_be_replaced() -> None:
    bare = old({"Env": None, "Labels": None, "ExposedPorts": None, "Volumes": None})
    assert plan(bare, {"Config": None}).config["Env"] == []


# the host's side


def test_replacement_is_not_revived_before_its_verdict() -> None:
    assert (
        config(old())["HostConfig"]["RestartPolicy"] == NO_RESTART == {"Name": "no", "MaximumRetryCount": 0}
    )


def test_limits_devices_and_ports_are_kept() -> None:
    host = {
        "Memory": 1 << 26, "CapAdd": ["NET_ADMIN"], "Devices": [{"PathOnHost": "/dev/ttyS0"}],
        "PortBindings": {"80/tcp": [{"HostPort": "8080"}]}, "LogConfig": {"Type": "json-file"},
        "Binds": ["/etc/web:/etc/web:ro"], "Tmpfs": {"/run": ""}, "VolumesFrom": ["store"],
    }  # fmt: skip
    made = config(old(host={**host, "ContainerIDFile": "/run/web.cid"}))["HostConfig"]
    assert {key: made[key] for key in host} == host
    assert "ContainerIDFile" not in made


def test_links_are_turned_into_what_create_takes() -> None:
    made = config(old(host={"Links": ["/db:/web/database", "/cache:/web/cache"]}))
    assert made["HostConfig"]["Links"] == ["db:database", "cache:cache"]
    assert config(old())["HostConfig"]["Links"] is None


def volume(name: str, target: str, *, rw: bool = True) -> Inspect:
    return {"Type": "volume", "Name": name, "Destination": target, "RW": rw}


def test_anonymous_volumes_are_attached_by_name() -> None:
    mounts = [volume("a" * 64, "/data"), volume("b" * 64, "/more", rw=False), volume("named", "/named")]
    made = config(old(host={"Binds": ["named:/named", "/host:/host"]}, Mounts=mounts))
    assert made["HostConfig"]["Binds"] == [
        "named:/named", "/host:/host", f"{'a' * 64}:/data:rw", f"{'b' * 64}:/more:ro",
    ]  # fmt: skip


def test_anonymous_volume_asked_for_as_a_mount_gets_its_name() -> None:
    wanted = [
        {"Type": "volume", "Target": "/data"},
        {"Type": "volume", "Target": "/named", "Source": "named"},
        {"Type": "tmpfs", "Target": "/run"},
    ]
    mounts = [volume("a" * 64, "/data"), volume("named", "/named"), {"Type": "tmpfs", "Destination": "/run"}]
    made = config(old(host={"Mounts": wanted, "Binds": None}, Mounts=mounts))["HostConfig"]
    assert [mount.get("Source") for mount in made["Mounts"]] == ["a" * 64, "named", None]
    assert made["Binds"] is None


def test_anonymous_volume_asked_for_as_a_bind_is_attached_once() -> None:
    made = config(old(host={"Binds": ["/data"]}, Mounts=[volume("a" * 64, "/data")]))
    assert made["HostConfig"]["Binds"] == [f"{'a' * 64}:/data:rw"]


# names


@pytest.mark.parametrize(
    ("own", "mode", "kept"),
    [
        (ID[:12], "default", None),
        ("", "default", None),
        ("web-1", "default", "web-1"),
        ("device-7", "default", "device-7"),
        ("device-7", "host", None),
        ("web-1", "host", "web-1"),
        ("web-1", "container:" + "d" * 64, None),
    ],
)
def test_host_name_is_kept_only_where_somebody_gave_it(own: str, mode: str, kept: str | None) -> None:
    container = old({"Hostname": own}, {"NetworkMode": mode})
    assert plan(container, host_name="device-7").config.get("Hostname") == kept


# networks


def networks(mode: str, **attached: Inspect) -> Inspect:
    return old(host={"NetworkMode": mode}, NetworkSettings={"Networks": attached})


def endpoint(*, address: str | None = None, aliases: tuple[str, ...] = ()) -> Inspect:
    """An endpoint as inspect shows it: what was asked for among what Docker gave out."""
    return {
        "IPAMConfig": {"IPv4Address": address} if address else None,
        "Links": None,
        "DriverOpts": None,
        "Aliases": [*aliases, ID[:12]],
        "NetworkID": "f" * 64,
        "EndpointID": "1" * 64,
        "Gateway": "10.0.0.1",
        "IPAddress": address or "10.0.0.7",
        "MacAddress": "02:42:0a:00:00:07",
    }


def test_default_network_needs_no_words() -> None:
    replacement = plan(old())
    assert replacement.config["HostConfig"]["NetworkMode"] == "default"
    assert "NetworkingConfig" not in replacement.config
    assert replacement.more_networks == ()


def test_endpoint_takes_what_was_asked_for_and_nothing_docker_gave_out() -> None:
    made = config(networks("backend", backend=endpoint(aliases=("www",))))
    assert made["NetworkingConfig"] == {
        "EndpointsConfig": {
            "backend": {"Aliases": ["www", "web"], "IPAMConfig": None, "Links": None, "DriverOpts": None}
        }
    }


def test_static_address_is_kept() -> None:
    made = config(networks("backend", backend=endpoint(address="10.0.0.50")))
    shown = made["NetworkingConfig"]["EndpointsConfig"]["backend"]
    assert shown["IPAMConfig"] == {"IPv4Address": "10.0.0.50"}


def test_service_is_found_by_its_name_while_the_replacement_has_another() -> None:
    made = config(networks("backend", backend=endpoint(aliases=("web", "www"))))
    assert made["NetworkingConfig"]["EndpointsConfig"]["backend"]["Aliases"] == ["web", "www"]


def test_first_network_stays_first_and_the_others_follow() -> None:
    replacement = plan(networks("front", back=endpoint(), front=endpoint(), bridge=endpoint()))
    assert replacement.config["HostConfig"]["NetworkMode"] == "front"
    assert list(replacement.config["NetworkingConfig"]["EndpointsConfig"]) == ["front"]
    assert [name for name, _ in replacement.more_networks] == ["back", "bridge"]
    assert dict(replacement.more_networks)["bridge"] == {}


def test_network_given_by_its_id_is_found() -> None:
    replacement = plan(networks("f" * 64, back={}, front=endpoint()))
    assert replacement.config["HostConfig"]["NetworkMode"] == "front"


def test_bridge_stays_first_beside_other_networks() -> None:
    for mode in ("default", "bridge"):
        replacement = plan(networks(mode, back=endpoint(), bridge=endpoint()))
        assert replacement.config["HostConfig"]["NetworkMode"] == mode
        assert [name for name, _ in replacement.more_networks] == ["back"]


def test_container_moved_off_its_first_network_is_made_on_the_one_it_has() -> None:
    replacement = plan(networks("default", back=endpoint()))
    assert replacement.config["HostConfig"]["NetworkMode"] == "back"
    assert replacement.more_networks == ()


@pytest.mark.parametrize("mode", ["host", "none", "container:" + "d" * 64])
def test_container_without_a_network_of_its_own_gets_none(mode: str) -> None:
    container = networks(mode, **({mode: endpoint()} if mode in ("host", "none") else {}))
    container["Config"].update(ExposedPorts={"81/tcp": {}}, Domainname="d", MacAddress="02:42:ac:11:00:99")
    replacement = plan(container)
    assert replacement.config["HostConfig"]["NetworkMode"] == mode
    assert ("NetworkingConfig" in replacement.config, replacement.more_networks) == (False, ())
    assert ("ExposedPorts" in replacement.config) is not mode.startswith("container:")
    assert ("MacAddress" in replacement.config) is not mode.startswith("container:")


def test_container_on_no_network_at_all_is_left_so() -> None:
    replacement = plan(networks("backend"))
    assert ("NetworkingConfig" in replacement.config, replacement.more_networks) == (False, ())
