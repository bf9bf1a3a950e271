"""Containers as people make them with `docker create`, by what is odd about them."""

from dataclasses import dataclass

FOREVER = ("sh", "-c", "trap 'exit 143' TERM INT QUIT; sleep 2147483647 & wait")


@dataclass(frozen=True, slots=True)
class Case:
    options: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    then: tuple[tuple[str, ...], ...] = ()
    """Further command lines once it is created."""
    runs: bool = True
    """Whether it is started; else the update leaves it stopped."""


def _case(options: str = "", *command: str, then: tuple[str, ...] = (), runs: bool = True) -> Case:
    return Case(tuple(options.split()), command, tuple(tuple(line.split()) for line in then), runs)


CASES = {
    # its image's defaults, and its own words instead
    "nothing of its own": _case(),
    "variables and labels": _case(
        "-e MODE=mine -e SITE=a=b -e NOWHERE -e EMPTY= -e MODE2=old -l maintainer=me -l mine=1 -l empty="
    ),
    "user, folder, signal, terminal": _case(
        "--user 1000:1000 --workdir /etc --stop-signal SIGINT --stop-timeout 3 --tty --interactive"
    ),
    "command": _case("", "sh", "-c", "trap 'exit 0' TERM QUIT; sleep 99 & wait"),
    "entrypoint": _case("--entrypoint sleep", "2147483647"),
    "entrypoint of the image and no command": _case("--entrypoint /bin/env", runs=False),
    "no entrypoint": Case(("--entrypoint", ""), FOREVER),
    "health check": _case("--health-cmd true --health-retries 4"),
    "interval of the health check": _case("--health-interval 9s --health-start-period 1s"),
    "no health check": _case("--no-healthcheck"),
    # volumes
    "volumes": _case("-v {VOL}-a:/data -v {VOL}-b:/slash/:ro -v /anonymous -v /data/below/"),
    "mounts": _case(
        "--mount type=volume,dst=/anonymous --mount type=volume,src={VOL}-c,dst=/slash/,volume-nocopy "
        "--mount type=bind,src=/etc,dst=/bound,readonly --mount type=tmpfs,dst=/memory,tmpfs-size=1m"
    ),
    "binds on a read-only root": _case("-v /etc:/bound:ro -v /etc:/again --tmpfs /run:size=1m --read-only"),
    "volumes of another container": _case("--volumes-from {STORE}:ro"),
    # networks
    "host network": _case("--network host"),
    "host network and a name of its own": _case("--network host --hostname mine"),
    "no network": _case("--network none"),
    "static addresses": _case(
        "--network {NET} --ip {IP} --ip6 {IP6} --mac-address 02:42:00:00:00:99 --network-alias www"
    ),
    "two networks": _case(
        "--network {OTHER} --network-alias www",
        then=("network connect --alias further --ip {IP2} --link {PEER}:friend {NET} {NAME}",),
    ),
    "default network and another": _case(
        "--mac-address 02:42:00:00:00:98", then=("network connect {NET} {NAME}",)
    ),
    "links": _case("--link {DB}:database --link {DB}"),
    "links on a network": _case("--network {NET} --link {PEER}:friend"),
    "network of another container": _case("--network container:{DB}"),
    "processes and memory of another container": _case("--pid container:{DB} --ipc container:{DB}"),
    "processes, memory and host name of the host": _case("--pid host --ipc host --uts host"),
    "names": _case(
        "--hostname mine --domainname example --add-host a:192.0.2.1 --dns 192.0.2.53 --dns-search example "
        "--dns-option ndots:2"
    ),
    # ports
    "fixed ports": _case("-p 127.0.0.1:0:81 -p 80 -p 53/udp --expose 99"),
    "all ports": _case("-P"),
    # what it may and how much
    "devices, capabilities and security": _case(
        "--device /dev/null:/dev/nothing:r --device-cgroup-rule={RULE} --cap-add NET_ADMIN --cap-drop CHOWN "
        "--group-add 99 --security-opt no-new-privileges --security-opt seccomp=unconfined "
        "--security-opt systempaths=unconfined"
    ),
    "limits, log and restart policy": _case(
        "--sysctl net.core.somaxconn=99 --ulimit nofile=99:100 --shm-size 32m --init --oom-score-adj 99 --memory 64m "
        "--memory-reservation 32m --memory-swap 128m --cpus 0.5 --cpu-shares 99 --cpuset-cpus 0 --pids-limit 99 "
        "--log-driver local --log-opt max-size=1m --restart on-failure:4"
    ),
    "privileged": _case("--privileged --cgroup-parent /mine", runs=False),
}
REPRESENTATIVE = (
    "variables and labels", "entrypoint", "interval of the health check", "volumes", "mounts", "static addresses",
    "two networks",
    "default network and another", "links", "fixed ports", "limits, log and restart policy",
)  # fmt: skip
"""What engines differ in, or might."""
