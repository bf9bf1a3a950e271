"""The systemd units, the udev rule and their companions, read by the programs they are meant for."""

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from caissond.daemon import STOP_EXTENSION_S, WORKER_LIMIT_S
from caissond.intake.stick_unit import DEADLINE_S
from caissond.model.endpoint import REACHABLE
from caissond.report.stick import ANSWER_S

REPOSITORY = Path(__file__).parents[2]
UNITS = REPOSITORY / "systemd"
RULES = REPOSITORY / "udev/90-caisson-media.rules"

PROGRAMS = (
    "/usr/bin/caissond",
    "/usr/lib/caisson/caisson-mount",
    "/usr/lib/caisson/caisson-leds",
    "/usr/lib/caisson/caisson-hooks",
    "/usr/lib/caisson/caisson-stick",
)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and other users' files need root")


def said(*command: str | Path, code: int = 0) -> str:
    """What a program says on both channels."""
    done = subprocess.run(
        command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60
    )
    assert done.returncode == code, done.stdout
    return done.stdout


# systemd-analyze verify wants the programs to be there, and warns without failing


@pytest.fixture
def unit(tmp_path: Path) -> Callable[..., Path]:
    """A unit as it would be installed, but for its programs."""
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)

    def install(name: str, change: Callable[[str], str] = lambda text: text) -> Path:
        text = change((UNITS / name).read_text())
        for installed in PROGRAMS:
            text = text.replace(installed, str(program))
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return install


def warnings_about(path: Path) -> str:
    command = ["systemd-analyze", "verify", "--man=no", str(path)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60).stderr


@pytest.mark.parametrize("name", sorted(path.name for path in UNITS.glob("*.service")))
def test_unit_is_clean(unit: Callable[..., Path], name: str) -> None:
    for socket in UNITS.glob("*.socket"):
        unit(socket.name)
    assert warnings_about(unit(name)) == ""


@pytest.mark.parametrize("name", sorted(path.name for path in UNITS.glob("*.socket")))
def test_socket_is_clean_and_only_root_may_connect(unit: Callable[..., Path], name: str) -> None:
    unit(name.replace(".socket", "@.service"))
    assert warnings_about(unit(name)) == ""
    assert ("SocketMode", "0600") in settings_of(name)


def test_misspelt_setting_would_be_noticed(unit: Callable[..., Path]) -> None:
    path = unit("caissond.service", lambda text: text.replace("PrivateTmp=", "PrivateTemp="))
    assert "PrivateTemp" in warnings_about(path)


def test_wrong_value_would_be_noticed(unit: Callable[..., Path]) -> None:
    path = unit("caisson-media@.service", lambda text: text.replace("=oneshot", "=oneshoot"))
    assert "oneshoot" in warnings_about(path)


def exposure(path: Path, *, threshold: float, code: int) -> str:
    tenths = f"--threshold={int(threshold * 10)}"
    return said("systemd-analyze", "security", "--offline=true", "--no-pager", tenths, path, code=code)


def test_exposure_of_the_daemon_is_at_most_2_5() -> None:
    assert "Overall exposure level" in exposure(UNITS / "caissond.service", threshold=2.5, code=0)


def test_unit_that_remounts_is_no_larger_a_target_than_the_one_that_mounts() -> None:
    """2.5 is out of reach without a mount namespace."""
    for name in ("caisson-media@.service", "caisson-stick@.service"):
        assert "Overall exposure level" in exposure(UNITS / name, threshold=3.7, code=0)


def test_lost_hardening_would_be_noticed(unit: Callable[..., Path]) -> None:
    path = unit("caissond.service", lambda text: text.replace("CapabilityBoundingSet=", "#"))
    assert "Overall exposure level" in exposure(path, threshold=2.5, code=1)


def test_daemon_reaches_what_health_checks_may_ask_and_listens_on_nothing() -> None:
    settings = dict(settings_of("caissond.service"))
    assert settings["IPAddressAllow"].split() == list(REACHABLE)
    assert settings["IPAddressDeny"] == "any"
    assert ("SystemCallFilter", "~listen") in settings_of("caissond.service")


def settings_of(name: str) -> list[tuple[str, str]]:
    lines = (line.partition("=") for line in (UNITS / name).read_text().splitlines())
    return [(key, value) for key, equals, value in lines if equals and not key.startswith("#")]


@pytest.mark.parametrize("name", ["caisson-media@.service", "caisson-stick@.service"])
def test_unit_that_mounts_makes_no_mount_namespace(name: str) -> None:
    hiding = ("Private", "Protect", "ReadOnlyPaths", "ReadWritePaths", "BindPaths", "TemporaryFileSystem")
    assert not [key for key, _ in settings_of(name) if key.startswith(hiding)]


def test_stick_does_not_stay_writable_whatever_becomes_of_the_unit() -> None:
    settings = dict(settings_of("caisson-stick@.service"))
    assert settings["ExecStopPost"] == f"{settings['ExecStart']} tidy"
    longest_s = int(settings["RuntimeMaxSec"].removesuffix("s"))
    assert DEADLINE_S < longest_s <= ANSWER_S


def test_restart_of_docker_leaves_the_daemon_alone() -> None:
    tied = {"Requires", "Requisite", "BindsTo", "PartOf"}
    assert not tied & {key for key, _ in settings_of("caissond.service")}


def span_s(value: str) -> float:
    """How long that is to systemd."""
    found = re.search(r"^\s*μs: (\d+)$", said("systemd-analyze", "timespan", value), re.MULTILINE)
    assert found, value
    return int(found[1]) / 1_000_000


def test_daemon_comes_back_whatever_ended_it_and_however_often() -> None:
    settings = dict(settings_of("caissond.service"))
    assert settings["Restart"] == "always"
    assert settings["StartLimitIntervalSec"] == "0"
    assert "RestartPreventExitStatus" not in settings


def test_daemon_that_hangs_is_noticed() -> None:
    """Not before the worker could say something, or it would be ended in the middle of its work."""
    settings = dict(settings_of("caissond.service"))
    assert 0 < WORKER_LIMIT_S <= span_s(settings["WatchdogSec"])
    assert settings["Type"] == "notify"
    assert "WatchdogSignal" not in settings


def test_daemon_that_ends_an_update_first_is_not_killed_meanwhile() -> None:
    """It asks for more time with each word to the watchdog, for as long as a gate takes."""
    settings = dict(settings_of("caissond.service"))
    between_words_s = span_s(settings["WatchdogSec"]) / 2
    assert between_words_s < STOP_EXTENSION_S
    for name in ("TimeoutStartSec", "TimeoutStopSec"):
        assert span_s(settings[name]) > max(between_words_s, STOP_EXTENSION_S), name


# What the sandbox leaves is enough: the unit's own capabilities, tried on a real inbox

WORK_IN_INBOX = """
import os, sys
from caissond.intake.media import UdevMonitor
from caissond.package.staging import open_regular
from pathlib import Path
path = Path(sys.argv[1])
open_regular(path).close()
path.unlink()
UdevMonitor().drain()
"""


@needs_root
def test_capabilities_of_the_unit_suffice_for_files_of_others(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    inbox.chmod(0o1770)
    package = inbox / "a.edgepkg"
    package.touch(mode=0o600)
    os.chown(package, 65534, 65534)
    wanted = dict(settings_of("caissond.service"))["CapabilityBoundingSet"].lower().split()
    kept = ",".join(("-all", *(name.replace("cap_", "+") for name in wanted)))
    said("setpriv", f"--bounding-set={kept}", "--inh-caps=-all", sys.executable, "-c", WORK_IN_INBOX, package)
    assert not package.exists()


# sysusers and tmpfiles, on a root of their own


@pytest.fixture
def device_root(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    for name in ("sysusers", "tmpfiles"):
        folder = tmp_path / f"usr/lib/{name}.d"
        folder.mkdir(parents=True)
        shutil.copy(UNITS / f"caisson.{name}.conf", folder / "caisson.conf")
    said("systemd-sysusers", f"--root={tmp_path}", "caisson.conf")
    return tmp_path


@needs_root
def test_members_of_the_group_may_drop_packages_and_not_remove_each_others(device_root: Path) -> None:
    assert said("systemd-tmpfiles", "--create", f"--root={device_root}", "caisson.conf") == ""
    lines = (device_root / "etc/group").read_text().splitlines()
    group_id = next(int(line.split(":")[2]) for line in lines if line.startswith("caisson:"))
    inbox = (device_root / "var/lib/caisson/inbox").stat()
    assert (inbox.st_uid, inbox.st_gid, stat.S_IMODE(inbox.st_mode)) == (0, group_id, 0o1770)


@needs_root
def test_media_folder_is_there_before_the_daemon(device_root: Path) -> None:
    said("systemd-tmpfiles", "--create", f"--root={device_root}", "caisson.conf")
    assert stat.S_IMODE((device_root / "run/caisson/media").stat().st_mode) == 0o755


# The rule, run by udevadm on a /sys made of files, in a mount namespace of its own

FAKE_SYS = """
set -eu
rules=$1 disk=$2 properties=$3
mount -t tmpfs sys /sys
mount -t tmpfs run /run
mount -t tmpfs dev /dev
mkdir /dev/block
mknod -m 666 /dev/null c 1 3
mount -t tmpfs rules /usr/lib/udev/rules.d
mount -t tmpfs rules /etc/udev
mkdir -p /sys/bus/usb /sys/bus/pci /sys/class/block /run/udev/rules.d "$disk/sdz1"
parent=${disk%/*/block/*}
ln -s "/sys/bus/$BUS" "$parent/subsystem"
: >"$parent/uevent"
for device in "$disk" "$disk/sdz1"; do ln -s /sys/class/block "$device/subsystem"; done
printf 'MAJOR=8\\nMINOR=400\\nDEVNAME=sdz\\nDEVTYPE=disk\\n' >"$disk/uevent"
printf 'MAJOR=8\\nMINOR=401\\nDEVNAME=sdz1\\nDEVTYPE=partition\\n' >"$disk/sdz1/uevent"
printf '%s\\n' "$properties" >/run/udev/rules.d/60-properties.rules
cp "$rules" /run/udev/rules.d/90-caisson-media.rules
exec udevadm test --action="$ACTION" "$disk/sdz1"
"""


def udev_says(
    *, bus: str = "usb", properties: str = "", action: str = "add", rules: Path = RULES
) -> list[str]:
    """What `udevadm test` says of a partition with a vfat filesystem."""
    found = f'ENV{{ID_FS_USAGE}}="filesystem", ENV{{ID_FS_TYPE}}="vfat"{properties}'
    unshare = ("unshare", "--mount", "--propagation=private", "sh", "-c", FAKE_SYS, "sh")
    environment = {**os.environ, "SYSTEMD_DEVICE_VERIFY_SYSFS": "0", "BUS": bus, "ACTION": action}
    done = subprocess.run(
        [*unshare, rules, f"/sys/devices/{bus}1/1-1/block/sdz", found],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        timeout=60,
    )
    return done.stdout.splitlines()


def wanted(lines: list[str]) -> str | None:
    names = [line.partition("=")[2] for line in lines if line.startswith("SYSTEMD_WANTS=")]
    return names[0] if names else None


def complaints(lines: list[str]) -> list[str]:
    return [line for line in lines if "90-caisson-media.rules:" in line]


@needs_root
def test_filesystem_on_usb_asks_for_its_mount() -> None:
    lines = udev_says()
    assert wanted(lines) == "caisson-media@sdz1.service"
    assert "TAGS=:systemd:" in lines


@needs_root
def test_disk_in_a_usb_enclosure_is_usb_though_its_bus_says_ata() -> None:
    assert wanted(udev_says(properties=', ENV{ID_BUS}="ata"'))


@needs_root
def test_wants_of_other_rules_are_kept() -> None:
    assert wanted(udev_says(properties=', ENV{SYSTEMD_WANTS}="other.service"')) == (
        "other.service caisson-media@sdz1.service"
    )


@needs_root
@pytest.mark.parametrize(
    "properties",
    [
        ', ENV{ID_FS_TYPE}="ntfs"',
        ', ENV{ID_FS_TYPE}="vfat2"',
        ', ENV{ID_FS_USAGE}="crypto"',
        ', ENV{CAISSON_IGNORE}="1"',
    ],
)
def test_other_devices_are_left_alone(properties: str) -> None:
    assert wanted(udev_says(properties=properties)) is None


@needs_root
def test_filesystem_on_another_bus_is_left_alone() -> None:
    assert wanted(udev_says(bus="pci")) is None


@needs_root
def test_removal_asks_for_nothing() -> None:
    assert wanted(udev_says(action="remove")) is None


@needs_root
def test_rule_has_no_mistakes() -> None:
    assert complaints(udev_says()) == []


@needs_root
def test_mistake_in_the_rule_would_be_noticed(tmp_path: Path) -> None:
    broken = tmp_path / "broken.rules"
    broken.write_text(RULES.read_text().replace('SUBSYSTEMS=="usb"', 'SUBSYSTEMS="usb"'))
    assert "Invalid operator for SUBSYSTEMS" in complaints(udev_says(rules=broken))[0]
