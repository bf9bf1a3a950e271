"""Everything that an update on this device works with, handed around as one value."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from caissond.errors import ConfigError, DockerError, Stopping
from caissond.host.docker import Docker
from caissond.host.held_port import RESTART_S, port_held_for_nobody, restart_around
from caissond.host.sync import CONTAINERD_ROOT, folders_to_sync, sync_filesystem
from caissond.model.catalog import Catalog
from caissond.model.ids import UpdateId, claim_of
from caissond.model.paths import Paths
from caissond.model.records import AuditKind
from caissond.model.settings import Settings
from caissond.report.bus import Bus
from caissond.store.database import Database
from caissond.store.history import History
from caissond.store.journal import Journal
from caissond.store.releases import Releases
from caissond.store.sightings import Sightings, boot_clock

SYNC_DEADLINE_S = 600
READ_STALL_S = 60
LOOK_AGAIN_S = 3


@dataclass
class Device:
    """One Caisson: its paths, what its admin wrote, what it remembers, and the engine.

    Settings and catalog are replaced between packages when they are read again.
    """

    paths: Paths
    settings: Settings
    catalog: Catalog
    docker: Docker
    database: Database
    journal: Journal
    history: History
    releases: Releases
    bus: Bus
    beat: Callable[[float], None] = lambda _silent_s: None
    veto: Callable[[Mapping[str, str]], None] = lambda _fields: None
    """Asked last before an update begins: raises Refusal to refuse it, HostUnavailable to put it off."""
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    boot: Callable[[], float] = boot_clock
    stop: threading.Event = field(default_factory=threading.Event)
    restart_docker: Callable[[], None] | None = None
    """None once it was tried, and where the engine is not docker.service's: then a port that it holds stays held."""
    config_problem: ConfigError | None = None
    """Settings or catalog cannot be used: what was cut off is settled, and packages wait."""

    @property
    def claim(self) -> str:
        return claim_of(self.paths.state_dir)

    @property
    def sightings(self) -> Sightings:
        return Sightings(self.database, self.boot)

    def now(self) -> datetime:
        return self.clock()

    def check_stop(self) -> None:
        """Raises Stopping when we were asked to stop."""
        if self.stop.is_set():
            raise Stopping("cannot go on: asked to stop", code="update.interrupted")

    def pause(self, seconds: float) -> None:
        """Wait, with a sign of life; raises Stopping when we were asked to stop."""
        self.beat(seconds)
        self.stop.wait(seconds)
        self.check_stop()

    def pause_whatever_comes(self, seconds: float) -> None:
        """Wait, with a sign of life. The way back is not cut short by a request to stop."""
        self.beat(seconds)
        time.sleep(seconds)

    def docker_root(self) -> Path | None:
        """Docker's data root, where it is on this machine."""
        root = Path(str(self.docker.describe().get("DockerRootDir") or "/nowhere"))
        return root if root.is_dir() else None

    def sync_docker(self) -> None:
        """Write what Docker keeps to its disks; a remote engine's is out of reach.

        Raises:
            DockerError: `docker.sync_failed`.
        """
        root = self.docker_root()
        for folder in folders_to_sync(root, CONTAINERD_ROOT) if root else ():
            sync_filesystem(folder, deadline_s=SYNC_DEADLINE_S, beat=lambda: self.beat(2))

    def free_port(self, problem: str) -> bool:
        """Start Docker again where a container could not be started since Docker holds a port for nobody: whether
        that was done. Once only, so that nothing goes round in circles.
        """
        port = self._held_port(problem)
        if port is None:
            return False
        try:
            restart_around(self.docker, lambda: self._restart_docker(port))
        except DockerError as exc:
            self.bus.tell(exc.code, exc.message)
            return False
        return True

    def _restart_docker(self, port: int) -> None:
        restart, self.restart_docker = self.restart_docker, None
        assert restart is not None
        self.bus.tell("docker.port_held", f"Docker holds port {port} for no container, starting Docker again")
        self.beat(RESTART_S)
        restart()

    def _held_port(self, problem: str) -> int | None:
        """Looks twice: a container that somebody is just starting does not show its port yet."""
        if self.restart_docker is None or port_held_for_nobody(self.docker, problem) is None:
            return None
        self.pause_whatever_comes(LOOK_AGAIN_S)
        return port_held_for_nobody(self.docker, problem)

    def audit(self, update_id: UpdateId, kind: AuditKind, message: str) -> None:
        """Append to the audit chain."""
        self.history.audit(update_id, kind, message, at=self.now())


class ByteProgress:
    """Counts bytes for those who watch, and stops when we were asked to."""

    def __init__(self, device: Device, phase: str, total_bytes: int) -> None:
        self._device, self._phase, self._total, self._done = device, phase, total_bytes, 0

    def __call__(self, more_bytes: int) -> None:
        self._done += more_bytes
        self._device.check_stop()
        self._device.beat(READ_STALL_S)
        self._device.bus.progress(self._phase, self._done, self._total)
