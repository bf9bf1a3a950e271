"""Whether the releases of a package may be applied now, and the packages that wait until they may.

What waits is not opened again, nor told again, before its time: its releases are known, and only the time, the hold
files and the catalog are looked at.
"""

import os
from collections.abc import Iterable, Sequence

from caissond.intake.scan import Found
from caissond.model.catalog import Service
from caissond.model.records import Release
from caissond.update.device import Device
from caissond.update.policy import Act, Decision
from caissond.update.timing import Circumstances, plan_timing, plan_together
from caissond.update.trusting import trust_time

LOOK_AGAIN_S = 60.0
"""The clock may be set meanwhile, a hold file removed, and a release approved."""


def plan_leave(device: Device, service: Service, release: Release, *, by_hand: bool = False) -> Decision:
    """Whether a release that is news for the service may be applied now, by the service's policy."""
    time = trust_time(device.releases, device.now())
    known = device.sightings
    given = Circumstances(
        now=time.now,
        is_clock_believable=time.now >= time.floor,
        known_for_s=known.known_for_s(release),
        is_approved=known.is_approved(release),
        hold=_hold(device, service),
        by_hand=by_hand,
    )
    return plan_timing(service.name, release.version, service.policy, given)


def _hold(device: Device, service: Service) -> str | None:
    files = (str(device.paths.hold), service.policy.hold_file)
    return next((file for file in files if file is not None and os.path.lexists(file)), None)


class Waiting:
    """The packages that wait for their time. For one thread."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._waiting: dict[Found, tuple[Release, ...]] = {}
        self.wait_s: float | None = None
        """After so many seconds to ask again; None when nothing waits."""

    def put_off(self, file: Found, releases: Sequence[Release]) -> None:
        """These releases of it are news, and may not be applied yet."""
        self._waiting[file] = tuple(releases)
        self.wait_s = min(self.wait_s or LOOK_AGAIN_S, _seconds(self._decide(releases)))

    def __contains__(self, file: Found) -> bool:
        return file in self._waiting

    def due(self, found: Iterable[Found]) -> list[Found]:
        """Those of these that need not wait. What has changed, or was away, has its turn anew."""
        files = list(found)
        here = set(files)
        decisions = {
            file: self._decide(releases) for file, releases in self._waiting.items() if file in here
        }  # fmt: skip
        waits = {file: decision for file, decision in decisions.items() if decision.act is Act.LATER}
        self._waiting = {file: self._waiting[file] for file in waits}
        self.wait_s = min(map(_seconds, waits.values()), default=None)
        return [file for file in files if file not in self._waiting]

    def save_time(self) -> None:
        """Keep count of how long releases are known, for a power cut.

        Raises:
            StoreError: it cannot be written down.
        """
        soaks = [service.policy.soak for service in self._device.catalog.services if service.policy.soak]
        if soaks:
            self._device.sightings.save_time(longest_s=max(soaks).total_seconds())

    def _decide(self, releases: Iterable[Release]) -> Decision:
        """As for the package; a service that has left the catalog since is the package's next turn's business."""
        found = ((self._device.catalog.find(release.service), release) for release in releases)
        decisions = [plan_leave(self._device, service, release) for service, release in found if service]
        return plan_together(decisions) if decisions else Decision(Act.APPLY)


def _seconds(decision: Decision) -> float:
    return min(LOOK_AGAIN_S, max(1.0, decision.wait_s or LOOK_AGAIN_S))
