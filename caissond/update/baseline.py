"""How the service answers its check before an update: the last thing that is looked at before anything is touched.

A service that fails already is told. Its old release need not pass on the way back what it fails now, and with
`baseline` neither need the new one; both still have to run. The answer is part of `Before`, so it survives a restart.
"""

from caissond.errors import Refusal, Unprobeable
from caissond.host.probes import Prober
from caissond.model.catalog import HealthCheck, Service
from caissond.model.records import Before
from caissond.model.text import printable
from caissond.update.device import Device

ATTEMPTS = 3
"""One failure in passing shall not lower the gate."""
MAX_PAUSE_S = 2


def with_baseline(device: Device, service: Service, before: Before) -> Before:
    """The same, with what the service answers now; a service that is stopped is not asked.

    Raises:
        Refusal: `service.cannot_be_probed`: its check cannot be carried out, so no release could pass it.
        Stopping: we were asked to stop.
    """
    if not before.was_running:
        return before
    check = service.health_check
    failed = _ask(device, check, before) if check.is_probed else ""
    before = before.model_copy(update={"check_failed": failed, "baseline": check.baseline})
    if before.failing:
        held = (
            "not held against the new release"
            if check.baseline
            else "the new release has to pass it all the same"
        )
        device.bus.tell("update.failing_before", f"{service.name}: {before.failing}; {held}")
    return before


def _ask(device: Device, check: HealthCheck, before: Before) -> str:
    """What it fails with; empty when it is well."""
    probe, words = Prober(device.docker, check, device.beat), ""
    for attempt in range(ATTEMPTS):
        device.pause(min(check.poll_interval_secs, MAX_PAUSE_S) if attempt else 0)
        container = device.docker.inspect_container(before.container_id)
        try:
            answer = probe(container, check.probe_timeout_secs)
        except Unprobeable as exc:
            raise Refusal(exc.message, code=exc.code) from exc
        if answer.is_well:
            return ""
        words = answer.words
    return printable(words)
