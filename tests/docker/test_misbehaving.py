"""Docker is killed or hangs, and people do things by hand, in the middle of an update: the service is never lost."""

import gc
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import docker
import pytest

from caissond.errors import HostUnavailable
from caissond.host.docker import Docker
from caissond.intake.scan import Origin
from caissond.model.records import Outcome, Verdict
from caissond.update.acceptance import Request
from caissond.update.device import Device
from caissond.update.updater import Updater
from fixtures.engine import PrivateEngine
from fixtures.images import SICK, ImageRecipe, busybox_image, load_image
from tests.docker.daemon_process import caissond
from tests.docker.manager import notify_socket
from tests.docker.rig import CRASHES, PATIENT_S, Rig, rig_on
from tests.docker.test_daemon import WATCHDOG_USEC, hanging, wait_until_fed

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a Docker engine")


@pytest.fixture
def own_rig(own_engine: PrivateEngine, own_client: docker.DockerClient, tmp_path: Path) -> Iterator[Rig]:
    """A managed service on the test's own engine."""
    with rig_on(tmp_path, own_client, own_engine.host) as rig:
        rig.write_catalog(kind="running", stable_secs=0.3)
        yield rig


# dockerd is killed


class Disturbed(Docker):
    """Something happens right before the first request of a kind."""

    def __init__(self, host: str, request: str, disturb: Callable[[], object]) -> None:
        super().__init__(timeout_s=60, load_stall_s=60, environment={"DOCKER_HOST": host})
        self._request = request
        self._disturb: Callable[[], object] | None = disturb

    def _call(self, what: str, request: Callable[[Any], Any], *, more_s: float = 0) -> Any:
        self._meet(what)
        return super()._call(what, request, more_s=more_s)

    @contextmanager
    def _translated(self, what: str, code: str = "docker.error") -> Iterator[None]:
        self._meet(what)
        with super()._translated(what, code):
            yield

    def _meet(self, what: str) -> None:
        if self._disturb is not None and what.startswith(self._request):
            disturb, self._disturb = self._disturb, None
            disturb()


def update_disturbed(rig: Rig, package: Path, request: str, disturb: Callable[[], object]) -> Verdict | None:
    """How it ended; None when the engine went away."""

    def use(device: Device) -> None:
        device.docker = Disturbed(rig.host, request, disturb)

    device = rig.device(use)
    try:
        with suppress(HostUnavailable):
            return Updater(device).handle(Request(package, Origin.INBOX))
        return None
    finally:
        device.docker.close()
        device.database.close()
        gc.collect()  # docker-py leaves its socket open when it is refused in its constructor


REQUESTS = (
    "load",
    "create",
    "set the restart policy",
    "stop",
    "start",
    "rename",
    "tag rig/",
    "remove container",
)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("policy", ["no", "unless-stopped"])
def test_service_runs_once_settled_though_dockerd_was_killed_at_any_step(
    own_engine: PrivateEngine, own_rig: Rig, policy: str
) -> None:
    """Killed alone and started again, Docker leaves down even what it should bring back (docs/restart-policies.md)."""
    own_rig.run_old(restart_policy={"Name": policy})
    release = "1.0.0"
    for number, request in enumerate(REQUESTS, 1):
        package = own_rig.package(f"1.{number}.0")
        assert update_disturbed(own_rig, package, request, own_engine.kill) is None, request
        own_engine.start()
        own_rig.settle()
        release = f"1.{number}.0" if request in REQUESTS[5:] else release
        assert (own_rig.release(), own_rig.containers()) == (release, [own_rig.name]), request
        assert own_rig.container().attrs["HostConfig"]["RestartPolicy"]["Name"] == policy


# people


def rename_one(rig: Rig, marker: str) -> None:
    """Give a container another name, by hand."""
    (name,) = (name for name in rig.containers() if marker in name) if marker else (rig.name,)
    rig.client.api.rename(name, f"{rig.name}-by-hand")


@pytest.mark.parametrize("good", [True, False], ids=["good", "bad"])
def test_old_container_renamed_during_the_gate_does_not_matter(rig: Rig, good: bool) -> None:
    rig.write_catalog(kind="running", stable_secs=0.5 if good else PATIENT_S)
    rig.run_old(restart_policy={"Name": "always"})
    rig.when("update.checking", lambda: rename_one(rig, ""))
    image = rig.image("2.0.0") if good else rig.image("2.0.0", cmd=CRASHES)
    rig.update(rig.package("2.0.0", image))
    rig.settle()
    assert rig.release() == ("2.0.0" if good else "1.0.0")
    assert rig.containers() == [rig.name]


def test_new_container_renamed_during_the_gate_is_found_by_its_label(rig: Rig) -> None:
    rig.write_catalog(kind="running", stable_secs=0.5)
    rig.run_old(restart_policy={"Name": "always"})
    rig.when("update.checking", lambda: rename_one(rig, "-caisson-new-"))
    rig.update(rig.package("2.0.0"))
    rig.settle()
    assert (rig.release(), rig.containers()) == ("2.0.0", [rig.name])


def test_image_loaded_by_somebody_else_at_the_same_time_does_not_matter(rig: Rig) -> None:
    rig.run_old()
    image = rig.image("1.1.0")
    package = rig.package("1.1.0", image)
    stop = threading.Event()
    loading = threading.Thread(target=_load_over_and_over, args=(rig, image.path, stop))
    rig.when("update.loading", loading.start)
    try:
        assert rig.update(package).outcome is Outcome.SUCCEEDED
    finally:
        stop.set()
        loading.join()
    assert (rig.release(), rig.container().image.tags) == ("1.1.0", [rig.reference("1.1.0")])  # type: ignore[union-attr]


def _load_over_and_over(rig: Rig, image_tar: Path, stop: threading.Event) -> None:
    with closing(docker.DockerClient(base_url=rig.host)) as client:
        while not stop.is_set():
            load_image(client, image_tar)


def test_service_made_without_a_restart_policy_has_none_after_a_rollback(rig: Rig) -> None:
    """Docker 20.10 shows such a policy without a name, and ignores a change to that."""
    old = rig.run_old()
    rig.update(rig.package("2.0.0", rig.image("2.0.0", healthcheck=SICK)))
    assert rig.container().id == old.id
    assert rig.container().attrs["HostConfig"]["RestartPolicy"]["Name"] in ("", "no")
    assert rig.update(rig.package("2.1.0")).outcome is Outcome.SUCCEEDED
    assert rig.container().attrs["HostConfig"]["RestartPolicy"]["Name"] in ("", "no")


def test_old_release_that_was_removed_with_its_image_is_made_again_once_the_image_is_back(rig: Rig) -> None:
    """Nothing is left to go back to: that is told, and mended as soon as it can be."""
    rig.write_catalog(kind="running", stable_secs=PATIENT_S)
    rig.run_old(environment={"SITE": "north"}, restart_policy={"Name": "always"})
    image = rig.image("1.0.0")
    rig.when("update.checking", lambda: _remove_with_image(rig, image.image_id))
    verdict = rig.update(rig.package("2.0.0", rig.image("2.0.0", cmd=CRASHES)))
    assert (verdict.outcome, verdict.unsettled) == (Outcome.ROLLBACK_FAILED, True)
    assert {"update.step_stuck", "update.rollback_failed"} <= set(rig.codes())
    load_image(rig.client, image.path)
    rig.settle()
    assert (rig.release(), rig.containers()) == ("1.0.0", [rig.name])
    assert "SITE=north" in rig.container().attrs["Config"]["Env"]


def _remove_with_image(rig: Rig, image_id: str) -> None:
    rig.container().remove(force=True)
    rig.client.api.remove_image(image_id, force=True)


# an engine that hangs


def large_package(rig: Rig, size_mb: int) -> Path:
    recipe = ImageRecipe(reference=rig.reference("1.1.0"), version="1.1.0", filler_mb=size_mb)
    return rig.package("1.1.0", busybox_image(rig.folder / "large.tar", recipe))


@pytest.mark.parametrize("moment", ["the new image goes into Docker", "the old release is stopped"])
def test_engine_that_hangs_in_a_step_is_waited_for_no_longer_than_its_time(
    own_engine: PrivateEngine, own_rig: Rig, tmp_path: Path, moment: str
) -> None:
    own_rig.write_settings(
        "[trust]\nallow_unsigned = true\n[docker]\ntimeout_secs = 5\nload_stall_secs = 5\nstop_timeout_secs = 1\n"
    )
    own_rig.write_catalog(kind="running", stable_secs=3)  # whatever comes first, it hangs in the update
    own_rig.run_old(restart_policy={"Name": "always"})
    own_rig.paths.inbox.mkdir(parents=True)
    large_package(own_rig, 40).rename(own_rig.paths.inbox / "large.edgepkg")
    with notify_socket(tmp_path) as manager:
        notify = str(manager.path)
        with caissond(
            own_rig.root, own_rig.host, NOTIFY_SOCKET=notify, WATCHDOG_USEC=WATCHDOG_USEC
        ) as daemon:
            daemon.wait_until_logged(moment)
            with hanging(own_engine):
                daemon.wait_until_logged("Docker does not answer")
                wait_until_fed(daemon, manager, times=2)
            daemon.wait_until_handled()
            assert daemon.stop() == 0
    assert (own_rig.release(), own_rig.containers()) == ("1.1.0", [own_rig.name])
