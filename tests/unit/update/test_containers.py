"""Which containers are a service's: by name, or by what Compose wrote on them."""

import pytest

from caissond.errors import Refusal
from caissond.host.docker import Docker, Inspect
from caissond.model.catalog import Service, parse_catalog
from caissond.update.containers import container_names, find_containers, name_of, place_of

CATALOG = parse_catalog(
    """\
catalog_version = 1
[[services]]
name = "plain"
service_revision = "1"
platform = "p"
runtime_mode = "docker"
[services.docker]
container_name = "plain"
image_reference = "plain:1"
[[services]]
name = "web"
service_revision = "1"
platform = "p"
runtime_mode = "compose"
[services.compose]
project = "shop"
file = "/srv/compose.yaml"
service = "web"
""",
    source="services.toml",
)


def service(name: str) -> Service:
    found = CATALOG.find(name)
    assert found is not None
    return found


class Engine(Docker):
    """Containers that can only be found."""

    def __init__(self, *containers: Inspect) -> None:
        self.there = {name_of(one): one for one in containers}

    def find_container(self, container: str) -> Inspect | None:
        return self.there.get(container)

    def list_containers(self, *, label: str | None = None) -> list[Inspect]:
        assert label is not None
        key, _, value = label.partition("=")
        return [{"Id": name} for name, one in self.there.items() if one["Config"]["Labels"].get(key) == value]


def container(
    name: str, *, project: str = "shop", owner: str = "web", number: int = 1, oneoff: str = "False"
) -> Inspect:
    words = {"project": project, "service": owner, "container-number": str(number), "oneoff": oneoff}
    labels = {f"com.docker.compose.{key}": value for key, value in words.items()}
    return {"Id": name, "Name": f"/{name}", "Config": {"Labels": labels}}


def names(*containers: Inspect) -> list[str]:
    return [name_of(one) for one in find_containers(Engine(*containers), service("web"))]


def test_plain_container_is_known_by_its_name_whether_it_is_there_or_not() -> None:
    assert container_names(Engine(), service("plain")) == ("plain",)
    assert find_containers(Engine(), service("plain")) == ()
    assert find_containers(Engine(container("plain")), service("plain")) == (container("plain"),)


def test_containers_of_a_compose_service_come_in_the_order_of_their_numbers() -> None:
    scaled = [container(f"web_{number}", number=number) for number in (10, 2, 1)]
    assert names(*scaled) == ["web_1", "web_2", "web_10"]
    assert container_names(Engine(*scaled), service("web")) == ("web_1", "web_2", "web_10")


def test_what_is_no_part_of_the_service_is_left_out() -> None:
    others = (
        container("db", owner="db"),
        container("web_of_another", project="other"),
        container("web_run_1", oneoff="True"),
        container("web_1-caisson-new-0123abcd"),
        container("web_1-caisson-old-0123abcd"),
    )
    assert names(container("web_1"), *others) == ["web_1"]


def test_service_that_compose_has_not_made_cannot_be_updated() -> None:
    with pytest.raises(Refusal, match="no container of web in the Compose project shop") as refused:
        container_names(Engine(container("db", owner="db")), service("web"))
    assert refused.value.code == "service.missing"


def test_dependant_is_declared_by_its_name_or_that_of_its_compose_service() -> None:
    declared = ("proxy", "plain-one")
    assert place_of(container("shop-proxy-1", owner="proxy"), declared, "shop") == 0
    assert place_of(container("plain-one", owner="x"), declared, "shop") == 1
    assert place_of(container("other-proxy-1", project="other", owner="proxy"), declared, "shop") == 2
    assert place_of(container("shop-proxy-1", owner="proxy"), declared, "") == 2
