"""Whatever the words of `docker create`: what is planned from the old container alone is what they make of an image.

No update and no start, so that many can be tried: the old container is made, its replacement is planned and made, and
both are compared, with the old image (nothing may differ) and with the new one (as the same words would have it).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest
from hypothesis import HealthCheck, given, note, reject, settings
from hypothesis import strategies as st

from caissond.host.docker import Docker
from caissond.host.recreate import plan_replacement
from caissond.model.ids import ContainerId, ImageId
from fixtures.engine import Engine
from fixtures.images import ImageRecipe, busybox_image, load_image
from tests.docker.recreation import (
    NEW_CHECK,
    NEW_DEFAULTS,
    OLD_CHECK,
    OLD_DEFAULTS,
    CommandFailed,
    Inspect,
    Neighbourhood,
    asked_for,
    differences,
    neighbourhood,
    without_anonymous,
    without_names,
)
from tests.docker.recreation_cases import FOREVER

OLD, NEW = "property/image:old", "property/image:new"
NAMES = OLD_NAME, NEW_NAME, CONTROL_NAME = ("property-old", "property-new", "property-control")


def _pick(*alternatives: str) -> st.SearchStrategy[tuple[str, ...]]:
    """One of these, or none at all, which is the simplest."""
    return st.sampled_from(("", *alternatives)).map(lambda words: tuple(words.split()))


def _some(*alternatives: str) -> st.SearchStrategy[tuple[str, ...]]:
    """Any of these, in any order."""
    chosen = st.lists(st.sampled_from(alternatives), unique=True, max_size=3)
    return chosen.map(lambda lines: tuple(word for line in lines for word in line.split()))


OPTIONS = st.tuples(
    _some("-e MODE=mine", "-e MODE=old", "-e ONLY_NEW=mine", "-e SITE=a=b", "-e PATH=/mine", "-e EMPTY="),
    _some("-l maintainer=me", "-l release=1", "-l mine=1", "-l io.other=x"),
    _pick("--entrypoint sleep", "--entrypoint /bin/env"),
    _some("--user 1:2", "--workdir /etc", "--workdir /tmp", "--stop-signal SIGINT", "--stop-timeout 3", "--tty"),
    _some("--health-cmd true", "--health-interval 9s", "--health-retries 4", "--health-timeout 8s"),
    _some("-p 80", "-p 127.0.0.1:18081:81", "-p 82/udp", "--expose 99", "--expose 80", "-P"),
    _some("-v /data", "-v /srv/", "-v /deep/below/", "-v {VOL}-p:/named/", "-v {VOL}-q:/data:ro", "-v /etc:/bound:ro"),
    _some(
        "--mount type=volume,dst=/mounted", "--mount type=volume,src={VOL}-r,dst=/third/,readonly",
        "--mount type=bind,src=/etc,dst=/fourth", "--mount type=tmpfs,dst=/fifth,tmpfs-size=1m", "--tmpfs /sixth",
    ),
    _pick(
        "--network host", "--network none", "--network container:{DB}", "--network {NET}", "--link {DB}:database",
        "--network {NET} --ip {IP} --network-alias www", "--network {NET} --mac-address 02:42:00:00:00:99",
        "--network {OTHER} --network-alias a --network-alias b", "--mac-address 02:42:00:00:00:98",
    ),
    _some("--pid host", "--ipc container:{DB}", "--uts host", "--cgroupns host"),
    _some("--cap-add NET_ADMIN", "--cap-drop ALL", "--privileged", "--read-only", "--init", "--group-add 99"),
    _some("--memory 64m", "--cpus 0.5", "--pids-limit 99", "--shm-size 32m", "--ulimit nofile=99:100"),
    _some("--security-opt no-new-privileges", "--security-opt seccomp=unconfined", "--device /dev/null:/dev/x"),
    _some("--sysctl net.core.somaxconn=99", "--add-host a:192.0.2.1", "--dns 192.0.2.53", "--log-opt max-size=1m"),
    _pick("--restart always", "--restart on-failure:3", "--restart unless-stopped"),
).map(lambda parts: tuple(word for part in parts for word in part))  # fmt: skip
COINCIDING = ("MODE=old", "release=1", "/bin/env", "/tmp", "--expose 80", "-v /data")
"""What the old image says too: nobody can tell whether it was asked for, so with the new image it is not kept."""
COMMANDS = st.sampled_from(((), ("sleep", "9"), FOREVER))


@pytest.fixture(scope="module")
def around(
    engine: Engine, docker_client: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Neighbourhood]:
    """The shared engine with the two images on it."""
    folder = tmp_path_factory.mktemp("property")
    with neighbourhood(docker_client, engine, "property", folder) as there:
        for reference, check, defaults in ((OLD, OLD_CHECK, OLD_DEFAULTS), (NEW, NEW_CHECK, NEW_DEFAULTS)):
            command = FOREVER if reference == OLD else (*FOREVER, "new")
            recipe = ImageRecipe(
                reference=reference, version=reference, cmd=command, healthcheck=check, config=defaults
            )
            load_image(docker_client, busybox_image(Path(folder, "image.tar"), recipe).path)
        yield there


@contextmanager
def _made(around: Neighbourhood) -> Iterator[None]:
    """Containers of the three names, removed afterwards with their volumes: a create that fails leaves some too."""
    api = around.client.api
    volumes = {volume["Name"] for volume in api.volumes()["Volumes"] or ()}
    try:
        yield
    finally:
        for container in api.containers(all=True):
            if container["Names"][0].lstrip("/") in NAMES:
                api.remove_container(container["Id"], force=True)
        for volume in api.volumes()["Volumes"] or ():
            if volume["Name"] not in volumes:
                api.remove_volume(volume["Name"])


def _replace(around: Neighbourhood, image: str) -> Inspect:
    """The replacement of the old container, as an update plans and makes it."""
    engine = Docker(timeout_s=60, load_stall_s=60, environment={"DOCKER_HOST": around.host})
    old = around.inspect(OLD_NAME)
    plan = plan_replacement(
        old, engine.inspect_image(old["Image"]), ImageId(engine.inspect_image(image)["Id"]), labels={},
        host_name=str(engine.describe()["Name"]),
    )  # fmt: skip
    made = engine.create(NEW_NAME, plan.config)
    for network, endpoint in plan.more_networks:
        engine.connect(ContainerId(made), network, endpoint)
    engine.close()
    return around.inspect(NEW_NAME)


def _compare(around: Neighbourhood, words: Sequence[str], command: Sequence[str], image: str) -> list[str]:
    with _made(around):
        try:
            around.create(OLD_NAME, words, OLD, command)
        except CommandFailed:
            reject()  # words that do not go together
        replacement = _replace(around, image)
        around.create(CONTROL_NAME, words, image, command)
        return differences(_shown(around.inspect(CONTROL_NAME)), _shown(replacement))


def _shown(inspect: Inspect) -> Inspect:
    shown = without_anonymous(without_names(asked_for(inspect), *NAMES))
    shown["HostConfig"].pop("RestartPolicy")  # the replacement gets it with the verdict
    return shown


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(words=OPTIONS, command=COMMANDS, image=st.sampled_from((OLD, NEW)))
def test_replacement_is_what_the_words_make_of_the_image(
    around: Neighbourhood, words: tuple[str, ...], command: tuple[str, ...], image: str
) -> None:
    if any(coinciding in " ".join(words) for coinciding in COINCIDING):
        image = OLD
    note(f"docker create {' '.join(words)} {image} {command}")
    assert _compare(around, words, command, image) == []
