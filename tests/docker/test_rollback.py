"""`caisson rollback` on a real engine."""

import pytest

from fixtures.images import SICK
from tests.docker.rig import Rig
from tests.docker.test_cli import Command


@pytest.fixture
def caisson(rig: Rig) -> Command:
    rig.write_catalog(stable_secs=0.3)
    rig.run_old(restart_policy={"Name": "unless-stopped"})
    return Command(rig)


def test_release_before_comes_back_and_the_left_one_stays_away(caisson: Command) -> None:
    rig = caisson.rig
    left = rig.package("1.1.0")
    assert caisson("package", "load", left, "--yes")[0] == 0
    code, out = caisson("rollback", rig.name, "--yes")
    assert (code, rig.release()) == (0, "1.0.0")
    assert (
        out.splitlines()[-1] == "Summary: the service runs its earlier release again, and it stayed healthy"
    )
    assert rig.containers() == [rig.name]
    assert rig.container().attrs["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    code, verdict = caisson.json("package", "load", left, "--yes")
    assert (code, verdict["code"], rig.release()) == (2, "release.held", "1.0.0")
    assert caisson("rollback", rig.name, "--lift")[0] == 0
    assert (caisson("package", "load", left, "--yes")[0], rig.release()) == (0, "1.1.0")


def test_earlier_release_survives_a_prune_and_comes_back_without_its_package(caisson: Command) -> None:
    rig = caisson.rig
    for version in ("1.1.0", "1.2.0"):
        path = rig.package(version)
        assert caisson("package", "load", path, "--yes")[0] == 0
        path.unlink()
    rig.client.images.remove(rig.reference("1.1.0"))
    rig.client.images.prune()
    code, verdict = caisson.json("rollback", rig.name, "--yes")
    assert (code, verdict["parts"][0]["version"], rig.release()) == (0, "1.1.0", "1.1.0")
    _, history = caisson.json("history", "list")
    assert (history[0]["outcome"], history[0]["package"]) == ("succeeded", f"rollback of {rig.name}")


def test_quarantined_release_gets_another_chance_once_it_is_cleared(caisson: Command) -> None:
    rig = caisson.rig
    bad = rig.package("2.0.0", rig.image("2.0.0", healthcheck=SICK))
    assert caisson("package", "load", bad, "--yes")[0] == 4
    assert caisson.json("package", "load", bad, "--yes")[1]["code"] == "release.quarantined"
    _, listed = caisson.json("quarantine", "list")
    assert [(one["version"], one["code"]) for one in listed] == [("2.0.0", "gate.unhealthy")]
    assert caisson.json("quarantine", "clear", rig.name)[1] == {"cleared": 1}
    assert caisson.json("package", "load", bad, "--yes")[1]["code"] == "gate.unhealthy"
    assert rig.release() == "1.0.0"
