"""What containerd's `ctr` is asked, and what is done with its answers. The tables are ctr's own (1.6 and 1.7)."""

from pathlib import Path
from typing import Any

import pytest

from caissond.errors import DockerError
from caissond.host import snapshots
from caissond.host.docker import Docker
from caissond.host.snapshots import Ctr, chain_ids, drop_left_over

DIFF_IDS = [f"sha256:{digit * 64}" for digit in "123"]
CHAINS = chain_ids(DIFF_IDS)
LEASES = """ID             CREATED AT           LABELS
298209175-i_TG 2026-01-02T03:04:05Z containerd.io/gc.expire=2026-01-03T03:04:05Z
buildkit       2026-01-02T03:04:05Z -
694548736-PF8k 2026-01-02T03:04:06Z a=b,containerd.io/gc.expire=2026-01-03T03:04:06Z

"""


def listing(*keys: str) -> str:
    lines = (f"{key:<94} {'':<71} Committed" for key in keys)
    return "\n".join((f"{'KEY':<94} {'PARENT':<71} KIND", *lines, ""))


class Engine(Docker):
    """One with containerd's store, as `docker info` tells of it."""

    def __init__(self, **environment: str) -> None:
        super().__init__(timeout_s=1, load_stall_s=1, environment=environment)
        self.told: dict[str, Any] = {"Driver": "overlayfs"}

    def describe(self) -> dict[str, Any]:
        return self.told


@pytest.fixture
def ctr(tmp_path: Path) -> "FakeCtr":
    return FakeCtr(tmp_path)


class FakeCtr:
    """A program that writes down what it is asked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.engine = Engine(PATH=f"{folder}:/usr/bin:/bin", CONTAINERD_ADDRESS="/run/c.sock")
        self.answers("")

    def answers(self, snapshots: str, *, ends: str = "exit 0") -> None:
        (self._folder / "snapshots").write_text(snapshots)
        (self._folder / "leases").write_text(LEASES)
        program = self._folder / "ctr"
        program.write_text(f'#!/bin/sh\necho "$*" >>{self._folder}/said\ncat "{self._folder}/$5"\n{ends}\n')
        program.chmod(0o755)

    @property
    def said(self) -> list[str]:
        return (self._folder / "said").read_text().splitlines()


def test_chain_ids_are_those_of_the_specification() -> None:
    """The second by `printf '%s %s' | sha256sum`."""
    assert chain_ids([]) == []
    assert chain_ids(DIFF_IDS)[0] == DIFF_IDS[0]
    assert chain_ids(DIFF_IDS)[1] == "sha256:9932074217c35353d2e03a3f5a86549f7c67bfeb0ba53e23d69f4d4c8f7958f5"


def test_leases_of_cut_off_loads_are_ended_where_they_keep_a_layer(ctr: FakeCtr) -> None:
    ctr.answers(listing(f"extract-819873646-GrlZ {CHAINS[2]}", *CHAINS[:2]))
    drop_left_over(ctr.engine, DIFF_IDS, [DIFF_IDS[:1]])
    begin = "--address /run/c.sock --namespace moby"
    assert ctr.said == [
        f"{begin} snapshots --snapshotter overlayfs ls",
        f"{begin} leases ls",
        f"{begin} leases rm --sync 298209175-i_TG 694548736-PF8k",
    ]


@pytest.mark.parametrize(
    "there",
    [(), CHAINS[:2], (f"extract-819873646-GrlZ {CHAINS[2]}",), ("sha256:" + "9" * 64, "f" * 64)],
    ids=["nothing", "an image's", "one that was not finished", "others"],
)
def test_nothing_is_ended_otherwise(ctr: FakeCtr, there: tuple[str, ...]) -> None:
    ctr.answers(listing(*there))
    drop_left_over(ctr.engine, DIFF_IDS, [DIFF_IDS[:2]])
    assert len(ctr.said) == 1


@pytest.mark.parametrize(
    ("ends", "why"),
    [
        ('echo "ctr: permission denied" >&2; exit 1', "ctr: permission denied"),
        ("exit 1", "ctr does not answer"),
        ("sleep 60", "ctr does not answer"),
    ],
)
def test_what_ctr_says_is_told(ctr: FakeCtr, ends: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "_CALL_S", 0.3)
    ctr.answers("", ends=ends)
    with pytest.raises(DockerError, match=f"that a cut-off load left: {why}$") as caught:
        drop_left_over(ctr.engine, DIFF_IDS, [])
    assert caught.value.code == "docker.load_failed"


def test_device_without_ctr_is_told(tmp_path: Path) -> None:
    engine = Engine(PATH=str(tmp_path), CONTAINERD_ADDRESS="/run/c.sock")
    with pytest.raises(DockerError, match="ctr cannot be started: No such file"):
        drop_left_over(engine, DIFF_IDS, [])


def test_docker_27_tells_where_its_containerd_is() -> None:
    engine = Engine(DOCKER_HOST="unix:///elsewhere.sock")
    engine.told = {"Driver": "native", "Containerd": {"Address": "/a", "Namespaces": {"Containers": "b"}}}
    ctr = Ctr.of(engine)
    assert ctr is not None
    assert (ctr.address, ctr.namespace, ctr.snapshotter) == ("/a", "b", "native")


@pytest.mark.parametrize("host", ["unix:///elsewhere.sock", "tcp://10.0.0.1:2375", ""])
def test_engine_whose_containerd_is_not_known_is_left_alone(
    host: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(snapshots, "SOCKETS", (tmp_path / "none",))
    drop_left_over(Engine(DOCKER_HOST=host, PATH="/nowhere"), DIFF_IDS, [])
