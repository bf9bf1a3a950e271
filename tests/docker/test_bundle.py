"""Two services in one package, on a real engine: both new or both old, also when caissond is killed in the middle."""

import shutil
from pathlib import Path

import pytest

from caissond.cli.app import run as caisson
from caissond.model.records import Outcome
from fixtures.images import FOREVER, load_image
from tests.docker.daemon_process import caissond
from tests.docker.rig import CRASHES, CRASHES_LATER, PATIENT_S, Rig, told_version

MOMENT = "stable_secs = 0.3"
STEPS = 2 * 8
"""Seven of each service's own, and a last look at each."""
POINTS = range(1, 1 + 2 * STEPS + 1, 4)


class Pair:
    """The rig's service, which comes after another one, `…-db`."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.names = (rig.name, f"{rig.name}-db")
        rig.write_catalog(kind="running", stable_secs=0.3)
        first = rig.paths.services.read_text()
        second = first.partition("[[services]]")[2].replace(f'"{rig.name}"', f'"{self.names[1]}"')
        second = second.replace(rig.reference("1.0.0"), self._reference(1, "1.0.0"))
        first = first.replace("[services.docker]", f'after = ["{self.names[1]}"]\n[services.docker]', 1)
        rig.paths.services.write_text(f"{first}[[services]]{second}")
        self.old = [rig.run_old(restart_policy={"Name": "unless-stopped"}).id, self._run_second()]

    def watch_longer(self, *, services: int = 2) -> None:
        """What is sick in the tests below is seen to be, by the first of them or by both."""
        text = self.rig.paths.services.read_text()
        self.rig.paths.services.write_text(text.replace(MOMENT, f"stable_secs = {PATIENT_S}", services))

    def _reference(self, number: int, version: str) -> str:
        return f"rig/{self.names[number]}:{version}"

    def _run_second(self) -> str:
        image = self.rig.image("1.0.0")
        load_image(self.rig.client, image.path)
        self.rig.client.images.get(image.reference).tag(self._reference(1, "1.0.0"))
        return str(
            self.rig.client.containers.run(
                self._reference(1, "1.0.0"),
                name=self.names[1],
                detach=True,
                restart_policy={"Name": "always"},
            ).id
        )

    def package(self, version: str, *, crashes: int | None = None, how: tuple[str, ...] = CRASHES) -> Path:
        """For both; the image of one may be sick."""
        words = []
        for number, name in enumerate(self.names):
            image = self.rig.image(version, cmd=how if number == crashes else FOREVER)
            words += ["--image", f"{name}=docker-archive:{image.path}"]
            words += ["--reference", f"{name}={self._reference(number, version)}"]
        path = self.rig.folder / f"{version}.edgepkg"
        words += ["--version", version, "--service-revision", "1", "--output", str(path)]
        assert caisson(["--root", str(self.rig.folder), "package", "build", *words]) == 0
        return path

    def releases(self) -> list[str]:
        """What each tells of itself, running under its own name."""
        return [told_version(self.rig.client.containers.get(name)) for name in self.names]

    def ids(self) -> list[str]:
        return [str(self.rig.client.containers.get(name).id) for name in self.names]


@pytest.fixture
def pair(rig: Rig) -> Pair:
    return Pair(rig)


def test_both_services_are_updated_as_one(pair: Pair) -> None:
    verdict = pair.rig.update(pair.package("1.1.0"))
    assert (verdict.outcome, len(verdict.parts)) == (Outcome.SUCCEEDED, 2)
    assert pair.releases() == ["1.1.0", "1.1.0"]
    assert pair.rig.containers() == sorted(pair.names)
    policies = [
        pair.rig.client.containers.get(name).attrs["HostConfig"]["RestartPolicy"]["Name"]
        for name in pair.names
    ]
    assert policies == ["unless-stopped", "always"]


@pytest.mark.parametrize("crashes", [0, 1])
def test_one_sick_release_takes_both_services_back(pair: Pair, crashes: int) -> None:
    pair.watch_longer()
    verdict = pair.rig.update(pair.package("2.0.0", crashes=crashes))
    assert (verdict.outcome, verdict.code) == (Outcome.ROLLED_BACK, "gate.exited")
    assert (pair.releases(), pair.ids()) == (["1.0.0", "1.0.0"], pair.old)
    assert (pair.rig.containers(), pair.rig.private_tags()) == (sorted(pair.names), [])


def test_release_that_falls_over_while_the_other_is_watched_takes_both_back(pair: Pair) -> None:
    pair.watch_longer(services=1)
    verdict = pair.rig.update(pair.package("2.0.0", crashes=1, how=CRASHES_LATER))
    assert (verdict.outcome, verdict.code) == (Outcome.ROLLED_BACK, "gate.exited")
    assert pair.ids() == pair.old


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("crashes", [None, 0], ids=["good", "sick"])
def test_bundle_is_never_half_new_after_a_kill(pair: Pair, point: int, crashes: int | None) -> None:
    if crashes is not None:
        pair.watch_longer()
    pair.rig.paths.inbox.mkdir(parents=True, exist_ok=True)
    shutil.copy(pair.package("2.0.0", crashes=crashes), pair.rig.paths.inbox / "release.edgepkg")
    with caissond(pair.rig.root, pair.rig.host, kill_at=point) as daemon:
        assert daemon.wait_for_death() == -9, daemon.log()
    with caissond(pair.rig.root, pair.rig.host) as daemon:
        daemon.wait_until_handled()
        assert daemon.stop() == 0
    assert pair.releases() == (["2.0.0"] * 2 if crashes is None else ["1.0.0"] * 2)
    assert pair.rig.containers() == sorted(pair.names)
    assert pair.rig.device().journal.unfinished() == ()
