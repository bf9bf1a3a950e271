"""What containerd's `ctr` is asked, and what is done with its answers. The tables are ctr's own (1.6 and 1.7)."""

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from caissond.errors import DockerError
from caissond.host import snapshots
from caissond.host.docker import Docker
from caissond.host.snapshots import chain_ids, drop_left_over, find_containerd

DIFF_IDS = [f"sha256:{digit * 64}" for digit in "123"]
CHAINS = chain_ids(DIFF_IDS)
LEASES = """ID             CREATED AT           LABELS
298209175-i_TG 2026-01-02T03:04:05Z containerd.io/gc.expire=2026-01-03T03:04:05Z
buildkit       2026-01-02T03:04:05Z -
694548736-PF8k 2026-01-02T03:04:06Z -
9              2026-01-02T03:04:06Z a=b,containerd.io/gc.expire=2026-01-03T03:04:06Z
4f8a0d3e1c0b2a 2026-01-02T03:04:06Z -

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
def address(tmp_path: Path) -> Iterator[str]:
    """Where something listens."""
    with closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind(str(tmp_path / "c.sock"))
        yield str(tmp_path / "c.sock")


@pytest.fixture
def ctr(tmp_path: Path, address: str) -> "FakeCtr":
    return FakeCtr(tmp_path, address)


class FakeCtr:
    """A program that writes down what it is asked."""

    def __init__(self, folder: Path, address: str) -> None:
        self._folder = folder
        self._begin = f"--address {address} --namespace moby "
        self.engine = Engine(PATH=f"{folder}:/usr/bin:/bin", CONTAINERD_ADDRESS=address)
        self.answers("")

    def answers(self, snapshots: str, *, ends: str = "exit 0") -> None:
        (self._folder / "snapshots").write_text(snapshots)
        (self._folder / "leases").write_text(LEASES)
        program = self._folder / "ctr"
        program.write_text(
            f'#!/bin/sh\ncd {self._folder}\necho "$*" >>said\n[ "$6" = rm ] || cat "$5"\n{ends}\n'
        )
        program.chmod(0o755)

    @property
    def said(self) -> list[str]:
        lines = (self._folder / "said").read_text().splitlines()
        assert all(line.startswith(self._begin) for line in lines)
        return [line.removeprefix(self._begin) for line in lines]


LIST = "snapshots --snapshotter overlayfs ls"
END = ["leases create", "leases ls", "leases rm --sync 298209175-i_TG 694548736-PF8k 9"]


def test_chain_ids_are_those_of_the_specification() -> None:
    """The second by `printf '%s %s' | sha256sum`."""
    assert chain_ids([]) == []
    assert chain_ids(DIFF_IDS)[0] == DIFF_IDS[0]
    assert chain_ids(DIFF_IDS)[1] == "sha256:9932074217c35353d2e03a3f5a86549f7c67bfeb0ba53e23d69f4d4c8f7958f5"


@pytest.mark.parametrize(
    "of_images", [[DIFF_IDS[:1]], [DIFF_IDS], []], ids=["of the base", "of one that was cut off, too", "none"]
)
def test_leases_of_what_was_cut_off_are_ended_where_they_keep_a_layer(
    ctr: FakeCtr, of_images: list[list[str]]
) -> None:
    ctr.answers(listing(f"extract-819873646-GrlZ {CHAINS[2]}", *CHAINS[:2]))
    drop_left_over(ctr.engine, DIFF_IDS, of_images)
    assert ctr.said == [LIST, *END]


@pytest.mark.parametrize(
    "there",
    [(), CHAINS[:2], (f"extract-819873646-GrlZ {CHAINS[2]}",), ("sha256:" + "9" * 64, "f" * 64)],
    ids=["nothing", "an image's", "one that was not finished", "others"],
)
def test_nothing_is_ended_otherwise(ctr: FakeCtr, there: tuple[str, ...]) -> None:
    ctr.answers(listing(*there))
    drop_left_over(ctr.engine, DIFF_IDS, [DIFF_IDS[:2]])
    assert ctr.said == [LIST]


def test_lease_that_ends_by_itself_meanwhile_does_not_keep_the_others(ctr: FakeCtr) -> None:
    ctr.answers(listing(*CHAINS), ends='[ "$6" != rm ] || [ -e once ] || { touch once; exit 1; }')
    drop_left_over(ctr.engine, DIFF_IDS, [])
    assert ctr.said == 2 * [LIST, *END]


@pytest.mark.parametrize(
    ("ends", "why"),
    [
        ('echo "ctr: permission denied" >&2; exit 1', "ctr: permission denied"),
        ("exit 1", "ctr ended with code 1"),
        ('[ "$6" != rm ] || { echo "ctr: no" >&2; exit 1; }', "ctr: no"),
    ],
)
def test_what_ctr_says_is_told(ctr: FakeCtr, ends: str, why: str) -> None:
    ctr.answers(listing(*CHAINS), ends=ends)
    with pytest.raises(DockerError, match=f"or drop them: {why}$") as caught:
        drop_left_over(ctr.engine, DIFF_IDS, [])
    assert caught.value.code == "docker.containerd_unreachable"


def test_ctr_that_hangs_is_told_at_once(ctr: FakeCtr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "_COLLECT_S", 0.3)
    ctr.answers(listing(*CHAINS), ends='[ "$6" != rm ] || sleep 60')
    with pytest.raises(DockerError, match="ctr does not answer"):
        drop_left_over(ctr.engine, DIFF_IDS, [])
    assert ctr.said == [LIST, *END]


def test_device_without_ctr_is_told(tmp_path: Path, address: str) -> None:
    engine = Engine(PATH=str(tmp_path), CONTAINERD_ADDRESS=address)
    with pytest.raises(DockerError, match="ctr cannot be started: No such file"):
        drop_left_over(engine, DIFF_IDS, [])


def test_docker_27_tells_where_its_containerd_is(address: str) -> None:
    engine = Engine(DOCKER_HOST="unix:///elsewhere.sock", CONTAINERD_ADDRESS="/of/another")
    engine.told = {
        "Driver": "native",
        "Containerd": {"Address": address, "Namespaces": {"Containers": "b"}},
    }
    ctr = find_containerd(engine)
    assert ctr is not None
    assert (ctr.address, ctr.namespace, ctr.snapshotter) == (address, "b", "native")


def test_containerd_of_another_machine_is_not_looked_for_here(address: str) -> None:
    engine = Engine(DOCKER_HOST="tcp://10.0.0.1:2375")
    engine.told = {"Driver": "overlayfs", "Containerd": {"Address": address}}
    assert find_containerd(engine) is None


@pytest.mark.parametrize("host", ["unix:///elsewhere.sock", "tcp://10.0.0.1:2375", ""])
def test_engine_whose_containerd_is_not_known_is_left_alone(
    host: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: str
) -> None:
    known = (Path(address),) if host else (tmp_path / "none",)
    monkeypatch.setattr(snapshots, "SOCKETS", known)
    drop_left_over(Engine(DOCKER_HOST=host, PATH="/nowhere"), DIFF_IDS, [])


def test_containerd_beside_the_usual_docker_is_where_it_usually_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: str
) -> None:
    monkeypatch.setattr(snapshots, "SOCKETS", (tmp_path / "none", Path(address)))
    ctr = find_containerd(Engine())
    assert ctr is not None
    assert ctr.address == address
