"""Whether somebody has told the device what it is there for."""

from caissond.errors import Refusal
from caissond.update.device import Device
from caissond.update.trusting import load_trust_store


def is_provisioned(device: Device) -> bool:
    """Whether there is a service to update and somebody to trust. A mistake in the files is another matter."""
    problem = device.config_problem
    if problem is not None:
        return problem.code != "catalog.missing"
    return bool(device.catalog.services) and (device.settings.trust.allow_unsigned or _knows_signers(device))


def _knows_signers(device: Device) -> bool:
    try:
        return bool(load_trust_store(device.paths).signers)
    except Refusal:
        return True
