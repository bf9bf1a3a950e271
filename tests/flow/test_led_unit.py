"""The unit of the LEDs: what it may write to is enough, and what caissond itself may is not. In a mount namespace, on a
/sys made of files, with the mounts that systemd makes for these settings.
"""

import os
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PROGRAM = REPOSITORY / "packaging/caisson-leds"

SANDBOX = """
set -eu
program=$1
shift
mount -t tmpfs sys /sys
mkdir -p /sys/class/leds /sys/devices/platform/leds/status
ln -s ../../devices/platform/leds/status /sys/class/leds/status
echo none >/sys/devices/platform/leds/status/trigger
mount --bind /sys /sys
mount -o remount,bind,ro /sys
for path; do
    mount --bind "$path" "$path"
    mount -o remount,bind,rw "$path"
done
printf 'status\\ttrigger\\ttimer\\n' | "$program"
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mount namespaces need root")


def settings_of(unit: str) -> dict[str, list[str]]:
    lines = (line.partition("=") for line in (REPOSITORY / "systemd" / unit).read_text().splitlines())
    settings: dict[str, list[str]] = {}
    for key, equals, value in lines:
        if equals and not key.startswith("#"):
            settings.setdefault(key, []).append(value)
    return settings


def answer_where_writable(*paths: str) -> str:
    """What the program says when it is to set a LED, and /sys is read-only but for these."""
    done = subprocess.run(
        ["unshare", "--mount", "--propagation=private", "sh", "-c", SANDBOX, "sh", PROGRAM, *paths],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return done.stdout


def test_unit_may_write_to_leds() -> None:
    settings = settings_of("caisson-leds@.service")
    assert settings["ProtectKernelTunables"] == ["yes"]
    paths = [path.lstrip("-") for value in settings["ReadWritePaths"] for path in value.split()]
    assert answer_where_writable(*paths) == "ok\n"


def test_folder_of_links_would_not_do() -> None:
    assert answer_where_writable("/sys/class/leds") == "cannot write to trigger\n"


def test_daemon_itself_may_write_to_nothing_below_sys() -> None:
    settings = settings_of("caissond.service")
    assert settings["ProtectKernelTunables"] == ["yes"]
    assert "ReadWritePaths" not in settings
    assert answer_where_writable() == "cannot write to trigger\n"


@pytest.mark.parametrize(
    "name", ["caisson-leds@.service", "caisson-hooks@.service", "caisson-stick@.service"]
)
def test_unit_talks_over_its_connection(name: str) -> None:
    assert settings_of(name)["StandardInput"] == ["socket"]


def test_daemon_brings_docker_and_the_sockets_along_but_does_not_need_them() -> None:
    settings, helpers = settings_of("caissond.service"), ("leds", "hooks", "stick")
    wanted = {"docker.service", *(f"caisson-{helper}.socket" for helper in helpers)}
    for key in ("Wants", "After"):
        assert wanted <= set(settings[key][0].split())


def test_unit_of_the_leds_is_a_small_target() -> None:
    path = REPOSITORY / "systemd/caisson-leds@.service"
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=25", str(path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
