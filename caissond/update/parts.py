"""What an update needs to know of one service before anything is touched: of each of its containers, and of the image
names that will be moved.
"""

from caissond.host.compose import RESOLVE_S, ComposeCli, resolve
from caissond.host.compose_files import ComposeFiles, Resolved, check_service, sharers
from caissond.model.catalog import Compose, Service
from caissond.model.ids import ImageId
from caissond.model.records import Before, Part, Release, Replica
from caissond.model.reference import full_reference
from caissond.update.baseline import with_baseline
from caissond.update.containers import container_names
from caissond.update.device import Device
from caissond.update.survey import check_health_check, check_reference, survey


def survey_part(
    device: Device, service: Service, release: Release, *, has_healthcheck: bool, vouched: bool = False
) -> Part:
    """Everything that Docker, and Compose, have a say in, with what the undos will need.

    Args:
        has_healthcheck: whether the new image has one.
        vouched: whether somebody whom the device trusts has signed for the release.

    Raises:
        Refusal: the service, or what is around it, is not fit for an update.
        HostUnavailable: Docker does not answer.
    """
    names = container_names(device.docker, service)
    first, *others = [_survey(device, service, name, release) for name in names]
    compose_reference = _check_references(device, service, release, names)
    for before in (first, *others):
        check_health_check(service, before, has_healthcheck=has_healthcheck)
    if compose_reference and (tagged := device.docker.find_image(compose_reference)):
        first = first.model_copy(update={"compose_image": ImageId(tagged["Id"])})
    return Part(
        container_name=names[0],
        release=release,
        before=first,
        replicas=tuple(
            Replica(name=name, before=before) for name, before in zip(names[1:], others, strict=True)
        ),
        compose_reference=compose_reference,
        vouched=vouched,
    )


def ask_part(device: Device, service: Service, part: Part) -> Part:
    """The same part with what each container answers to its check now.

    Raises:
        Refusal: `service.cannot_be_probed`.
        Stopping: we were asked to stop.
    """
    return part.model_copy(
        update={
            "before": with_baseline(device, service, part.before),
            "replicas": tuple(
                replica.model_copy(update={"before": with_baseline(device, service, replica.before)})
                for replica in part.replicas
            ),
        }
    )


def _survey(device: Device, service: Service, name: str, release: Release) -> Before:
    return survey(
        device.docker, service, name, release, state_dir=device.paths.state_dir,
        installed=device.releases.installed(service.name),
        is_known=lambda update: device.history.find(update) is not None,
    )  # fmt: skip


def _check_references(device: Device, service: Service, release: Release, names: tuple[str, ...]) -> str:
    """Whether the image names that will be moved are the service's own; returns the one that its Compose file gives."""
    if service.compose is None:
        _check_reference(device, release, names)
        return ""
    resolved = _resolve(device, service.compose)
    reference = full_reference(check_service(resolved, service.compose.service))
    for named in (release, release.model_copy(update={"reference": reference})):
        _check_reference(device, named, names, sharers(resolved, service.compose.service, named.reference))
    return reference


def _check_reference(
    device: Device, release: Release, names: tuple[str, ...], others: tuple[str, ...] = ()
) -> None:  # fmt: skip
    all_installed = device.releases.all_installed()
    check_reference(device.docker, release, names, device.catalog, all_installed, others)


def _resolve(device: Device, compose: Compose) -> Resolved:
    device.beat(RESOLVE_S)
    cli = ComposeCli.find(device.docker.environment)
    return resolve(cli, ComposeFiles.of(compose, base=device.paths.services.parent))
