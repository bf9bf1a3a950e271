"""The Docker Engine API as Caisson needs it: one adapter that translates every error once.

A success is never taken from an HTTP status alone where Docker is known to say yes and mean no (image load).
Nothing here decides; nothing here retries.
"""

import http.client
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from caissond.host.lean_requests import requests  # isort: skip  # before docker, which imports it too

import docker
import docker.errors
import docker.utils
import urllib3

from caissond.errors import Conflict, DockerError, HostUnavailable, NotFound
from caissond.host.execution import Execution, read_output
from caissond.model.ids import ContainerId, ImageId
from caissond.package.staging import private_file, write_private

Inspect = dict[str, Any]
_SAID_IN_PASSING = re.compile(r"^Error .*|^.*wrong diff id.*", re.MULTILINE)
_FULL = "no space left on device"
_LOST = (
    requests.exceptions.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
)


class Docker:
    """One engine, found through DOCKER_HOST or the usual socket. Connects when first used, and anew after a loss.

    Every method raises HostUnavailable (`docker.unavailable`) when the engine does not answer, DockerError
    (`docker.error`) when it answers with an error, NotFound and Conflict where these words fit.
    """

    _client: Any = None

    def __init__(
        self, *, timeout_s: float, load_stall_s: float, environment: Mapping[str, str] = os.environ
    ) -> None:
        self.environment = environment
        self.before_call: Callable[[float], None] = lambda _timeout_s: None
        """Told before each request how long it may take."""
        self.configure(timeout_s=timeout_s, load_stall_s=load_stall_s)

    def configure(self, *, timeout_s: float, load_stall_s: float) -> None:
        """Use other time limits from now on."""
        self._timeout_s, self._load_stall_s = timeout_s, load_stall_s
        self.close()

    def close(self) -> None:
        """Drop the connection; the next call makes a new one."""
        if self._client is not None:
            self._client.close()
        self._client = None

    def answers(self) -> bool:
        """Whether the engine answers on a new connection."""
        self.close()
        try:
            self.ping()
        except HostUnavailable:
            return False
        return True

    def ping(self) -> None:
        self._call("reach the engine", lambda api: api.ping())

    def describe(self) -> Inspect:
        """What `docker info` says."""
        return cast(Inspect, self._call("ask about the engine", lambda api: api.info()))

    def start_mark(self) -> str:
        """The id of the default bridge, which the engine makes anew at every start; empty where it has none."""
        try:
            return str(self._call("look at the bridge", lambda api: api.inspect_network("bridge"))["Id"])
        except NotFound:
            return ""

    def inspect_container(self, container: str) -> Inspect:
        """What there is to know of a container, by its full id or its name. The engine would also take the beginning
        of an id, and `cafe` for somebody else's container.
        """
        what = f"inspect container {container}"
        found = cast(Inspect, self._call(what, lambda api: api.inspect_container(container)))
        if found["Id"] != container and found["Name"] != f"/{container}":
            raise NotFound(f"cannot {what}: no such container", code="docker.not_found")
        return found

    def find_container(self, container: str) -> Inspect | None:
        """Its inspect, by id or name; None when there is none."""
        try:
            return self.inspect_container(container)
        except NotFound:
            return None

    def list_containers(self, *, label: str | None = None) -> list[Inspect]:
        """All containers, stopped ones too, in the short form of `docker ps`."""
        filters = {"label": label} if label else None
        return cast(
            list[Inspect],
            self._call("list containers", lambda api: api.containers(all=True, filters=filters)),
        )

    def create(self, name: str, config: Inspect) -> ContainerId:
        """Create a container from a raw request body (Engine API, ContainerCreate)."""
        answer = self._call(
            f"create container {name}", lambda api: api.create_container_from_config(config, name)
        )
        return ContainerId(answer["Id"])

    def connect(self, container: ContainerId, network: str, endpoint: Inspect) -> None:
        """Attach a container to one more network, with the settings of an endpoint."""
        ipam = endpoint.get("IPAMConfig") or {}

        def request(api: Any) -> None:
            api.connect_container_to_network(
                container, network, aliases=endpoint.get("Aliases"), links=_link_pairs(endpoint),
                ipv4_address=ipam.get("IPv4Address"), ipv6_address=ipam.get("IPv6Address"),
                link_local_ips=ipam.get("LinkLocalIPs"), driver_opt=endpoint.get("DriverOpts"),
                mac_address=endpoint.get("MacAddress"),
            )  # fmt: skip

        self._call(f"connect {container[:12]} to network {network}", request)

    def start(self, container: str) -> None:
        self._call(f"start container {container[:12]}", lambda api: api.start(container))

    def stop(self, container: str, *, grace_s: int) -> None:
        """Stop a container; after `grace_s` seconds Docker kills it."""
        what = f"stop container {container[:12]}"
        self._call(what, lambda api: api.stop(container, timeout=grace_s), more_s=grace_s)

    def remove(self, container: str, *, with_new_volumes: bool) -> None:
        """Remove a container, killing it where it runs.

        Args:
            with_new_volumes: also the anonymous volumes made for it; never one that was attached by name.
        """
        what = f"remove container {container[:12]}"
        self._call(what, lambda api: api.remove_container(container, v=with_new_volumes, force=True))

    def rename(self, container: str, name: str) -> None:
        self._call(f"rename container {container[:12]} to {name}", lambda api: api.rename(container, name))

    def set_restart_policy(self, container: str, policy: Inspect) -> None:
        what = f"set the restart policy of {container[:12]}"
        self._call(what, lambda api: api.update_container(container, restart_policy=policy))

    def inspect_image(self, image: str) -> Inspect:
        return cast(Inspect, self._call(f"inspect image {image}", lambda api: api.inspect_image(image)))

    def find_image(self, image: str) -> Inspect | None:
        """Its inspect, by id or reference; None when there is none."""
        try:
            return self.inspect_image(image)
        except NotFound:
            return None

    def tags(self) -> list[str]:
        """Every tag on the engine."""
        images = self._call("list images", lambda api: api.images())
        return [tag for image in images for tag in image.get("RepoTags") or ()]

    def list_images(self, *, label: str | None = None) -> list[Inspect]:
        """All images, untagged ones and those in between too, in the short form of `docker images`."""
        filters = {"label": label} if label else None
        return cast(
            list[Inspect], self._call("list images", lambda api: api.images(all=True, filters=filters))
        )

    def remove_image(self, image: str) -> None:
        """Remove an image by its id, and its tag where it has but one.

        Raises:
            NotFound: it is gone.
            Conflict: a container uses it, or it has several tags; it stays as it is.
        """
        self._call(f"remove image {image[:19]}", lambda api: api.remove_image(image))

    def tag(self, image: ImageId, reference: str) -> None:
        """Make the reference point at the image."""
        repository, _, tag = reference.rpartition(":")
        self._call(f"tag {reference}", lambda api: api.tag(image, repository, tag, force=True))

    def untag(self, reference: str) -> None:
        """Remove a tag, and the image too when this was its last tag and no container uses it. Absent: nothing."""
        try:
            self._call(f"untag {reference}", lambda api: api.remove_image(reference))
        except NotFound:
            return

    def load(self, archive: Iterable[bytes], on_progress: Callable[[], None]) -> None:
        """Feed an image archive to the engine and read its progress stream to the end.

        A failed load answers HTTP 200 with the error in the stream; whether the image is really there is for the
        caller to inspect.

        Raises:
            DockerError: `docker.load_failed`, `host.disk_full`.
        """
        with self._translated("load an image", code="docker.load_failed"):
            api = self._connect(self._load_stall_s)
            try:
                for line in api.load_image(archive, quiet=False):
                    if problem := problem_in(line):
                        code = "host.disk_full" if _FULL in problem else "docker.load_failed"
                        raise DockerError(f"cannot load an image: {problem[:300]}", code=code)
                    on_progress()
            finally:
                api.close()

    def save(self, reference: str, to: Path, on_progress: Callable[[int], None]) -> None:
        """Write the archive that `docker save` makes of an image into a new private file.

        The engine says nothing until it has packed the whole image, so its silence may last as long as in a load.

        Args:
            on_progress: told how many more bytes were written.

        Raises:
            NotFound: there is no such image.
            Refusal: `host.disk_full`, `host.io_error`; the file cannot be written.
        """
        with private_file(to) as descriptor, self._translated(f"save image {reference}"):
            api = self._connect(self._load_stall_s)
            try:
                for chunk in api.get_image(reference):
                    write_private(to, descriptor, chunk)
                    on_progress(len(chunk))
            finally:
                api.close()

    def execute(self, container: str, command: Sequence[str], *, timeout_s: float) -> Execution:
        """Run a command in a running container, and wait for its end so long. No engine has a way to end it: what
        hangs, hangs on until its container stops.

        Raises:
            Conflict: the container does not run.
        """
        self.before_call(timeout_s + self._timeout_s)
        with self._translated(f"run {command[0]:.60} in {container[:12]}"):
            api = self._connect(self._timeout_s)
            try:
                exec_id = str(api.exec_create(container, list(command))["Id"])
                deadline_s = time.monotonic() + timeout_s
                output = _output_of(api.exec_start(exec_id, socket=True), timeout_s)
            finally:
                api.close()
        while (code := self.execution(exec_id).exit_code) is None and time.monotonic() < deadline_s:
            time.sleep(0.05)
        return Execution(exec_id, code, output)

    def execution(self, exec_id: str) -> Execution:
        """What has become of a command; its output is not kept."""
        what = f"ask about the command {exec_id[:12]}"
        found = cast(Inspect, self._call(what, lambda api: api.exec_inspect(exec_id)))
        return Execution(exec_id, None if found["Running"] else int(found["ExitCode"] or 0), b"")

    def _call(self, what: str, request: Callable[[Any], Any], *, more_s: float = 0) -> Any:
        """
        Args:
            more_s: how much longer than any other request it may take.
        """
        self.before_call(self._timeout_s + more_s)
        with self._translated(what):
            if self._client is None:
                self._client = self._connect(self._timeout_s)
            return request(self._client)

    def _connect(self, timeout_s: float) -> Any:
        settings = docker.utils.kwargs_from_env(environment=self.environment)
        try:
            return docker.APIClient(version="auto", timeout=cast(int, timeout_s), **settings)
        except docker.errors.DockerException as exc:
            # what was wrong with the connection, in its own words only
            raise requests.exceptions.ConnectionError(str(exc)) from exc

    @contextmanager
    def _translated(self, what: str, code: str = "docker.error") -> Iterator[None]:
        try:
            yield
        except docker.errors.APIError as exc:
            raise _refused(what, exc, code) from exc
        except _LOST as exc:
            self.close()
            text = f"cannot {what}: Docker does not answer"
            raise HostUnavailable(text, code="docker.unavailable") from exc
        except docker.errors.DockerException as exc:
            raise DockerError(f"cannot {what}: {str(exc)[:300]}", code=code) from exc
        except ValueError as exc:  # an answer that is no JSON
            raise DockerError(f"cannot {what}: the engine's answer makes no sense", code=code) from exc


def _link_pairs(endpoint: Inspect) -> list[tuple[str, str]] | None:
    """As docker-py wants them; the Engine API has `container:alias`."""
    links = endpoint.get("Links") or ()
    return [(name, alias) for name, _, alias in (link.partition(":") for link in links)] or None


def problem_in(line: Inspect) -> str:
    """What a line of a load's progress stream says went wrong; empty for nothing. With containerd's store, what could
    not be unpacked is told in passing, behind "Loaded image" (seen on 28 and 29).
    """
    if "error" in line or "errorDetail" in line:
        return str(line.get("error") or line["errorDetail"])
    said = _SAID_IN_PASSING.search(str(line.get("stream") or ""))
    return said[0] if said else ""


def _output_of(connection: Any, timeout_s: float) -> bytes:
    """What comes over a connection that docker-py has taken over. Over TCP and unix sockets it hands out the file
    around the socket, and hangs the answer on it that has to be closed.
    """
    try:
        return read_output(getattr(connection, "_sock", connection), timeout_s)
    finally:
        getattr(connection, "_response", connection).close()


def _refused(what: str, exc: docker.errors.APIError, code: str) -> DockerError:
    text = f"cannot {what}: {str(exc.explanation or exc)[:300]}"
    if exc.status_code == 404:
        return NotFound(text, code="docker.not_found")
    if exc.status_code == 409:
        return Conflict(text, code="docker.conflict")
    return DockerError(text, code=code)
