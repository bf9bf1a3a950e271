"""The Debian package, made as `./dev deb` makes it, installed on a copy of this Debian 12 in a tmpfs.

systemd is played by a program that writes down what it is asked: when the daemon is stopped and started matters here.
The package under a real systemd is a matter of tests/device.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from debbuild.suites import SUITES
from debbuild.tree import site_packages

REPOSITORY = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0
    or platform.machine() != "x86_64"
    or not Path("/usr/bin/python3.11").exists()
    or not shutil.which("lintian"),
    reason="needs root, lintian and the Python of Debian 12 on amd64",
)

COPY_OF_THIS_SYSTEM = """
set -eu
mount -t tmpfs -o mode=755 device "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" device "$1/root"
for folder in proc run tmp; do mount -t tmpfs "$folder" "$1/root/$folder"; done
mount -t proc proc "$1/root/proc"
mount --bind /dev "$1/root/dev"
mkdir "$1/root/packages"
cp "$2"/* "$1/root/packages"
exec chroot "$1/root" /bin/sh -eu -c "$3"
"""
PAGES = (
    "man1/caisson.1.gz",
    "man5/caissond.toml.5.gz",
    "man5/edgepkg.5.gz",
    "man5/services.toml.5.gz",
    "man8/caissond.8.gz",
)
PAPERS = ["/usr/share/bash-completion/completions/caisson", *(f"/usr/share/man/{page}" for page in PAGES)]
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

PLAYED_SYSTEMD = r"""
mkdir -p /run/systemd/system
echo inactive >/state
cat >/usr/bin/systemctl <<'END'
#!/bin/sh
case "$*" in
*ActiveState*) cat /state ;;
*is-enabled*) [ ! -e /disabled ] && echo enabled ;;
*is-active*) [ "$(cat /state)" = active ] ;;
*stop*caissond*) echo inactive >/state; echo "stopped with release $(cat /usr/lib/caisson/release)" >>/log ;;
*start*caissond*) echo active >/state; echo "started with release $(cat /usr/lib/caisson/release)" >>/log ;;
esac
END
ln -sf /bin/true /usr/sbin/policy-rc.d
"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, `whole.deb`, and two versions with hardly a module in them, `1.deb` and `2.deb`."""
    folder = tmp_path_factory.mktemp("deb")
    command = [sys.executable, "-m", "debbuild", "bookworm", "amd64", "--compress", "gzip", "--output"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "packaging/deb")}
    done = subprocess.run([*command, folder], check=True, env=environment, capture_output=True, timeout=600)
    root, made = folder / "root", folder / "made"
    made.mkdir()
    shutil.move(done.stdout.decode().strip(), made / "whole.deb")
    subprocess.run(["dpkg-deb", "-R", made / "whole.deb", root], check=True)
    for library in site_packages(root, SUITES["bookworm"]).iterdir():
        if library.name != "caissond":
            shutil.rmtree(library) if library.is_dir() else library.unlink()
    for release in ("1", "2"):
        (root / "usr/lib/caisson/release").write_text(f"{release}\n")
        control = root / "DEBIAN/control"
        control.write_text(re.sub(r"Version: .*", f"Version: {release}", control.read_text()))
        subprocess.run(
            ["dpkg-deb", "-Znone", "--root-owner-group", "-b", root, made / f"{release}.deb"], check=True
        )
    return made


Device = Callable[..., str]


@pytest.fixture
def device(packages: Path, tmp_path: Path) -> Device:
    """Runs a script on a system of its own; what it says."""

    def run(script: str) -> str:
        unshare = ["unshare", "--mount", "--pid", "--fork", "--propagation=private", "sh", "-c"]
        done = subprocess.run(
            [*unshare, COPY_OF_THIS_SYSTEM, "sh", tmp_path, packages, script],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={"PATH": PATH, "DEBIAN_FRONTEND": "noninteractive"},
            timeout=300,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    return run


def log_of(said: str) -> list[str]:
    return [line for line in said.splitlines() if line.startswith(("stopped", "started"))]


def test_lintian_finds_no_error_and_no_warning(packages: Path) -> None:
    command = ["lintian", "--allow-root", "--fail-on=error,warning", str(packages / "whole.deb")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    assert (done.stdout, done.returncode) == ("", 0)


def test_package_says_nothing_of_where_it_was_made(packages: Path, tmp_path: Path) -> None:
    """So the same sources give the same bytes in any folder."""
    subprocess.run(["dpkg-deb", "-x", packages / "whole.deb", tmp_path], check=True)
    records = [path.read_text() for path in tmp_path.rglob("*.dist-info/RECORD")]
    assert len(records) > 10
    assert not [line for text in records for line in text.splitlines() if line.startswith(("..", "/"))]


def test_whole_package_runs_on_nothing_but_itself(device: Device) -> None:
    said = device(
        "dpkg -i /packages/whole.deb\n"
        "mkdir /tmp/strange; echo 'raise SystemExit(9)' >/tmp/strange/tomllib.py\n"
        "cd /tmp/strange; export PYTHONPATH=. PYTHONHOME=/nowhere\n"
        "caisson --version; caissond --version\n"
        "cp /usr/share/doc/caisson/examples/*.toml /etc/caisson; caisson service list | cut -d ' ' -f 1 | xargs\n"
        "/usr/lib/caisson/bin/python3 -I -c 'import bcrypt, cryptography.hazmat.bindings._rust, docker, pyudev'\n"
        "find /usr/lib/caisson -name '*.new' -o -name dist-packages\n"
        "dpkg --verify caisson\n"
        "systemd-analyze verify /usr/lib/systemd/system/caisson*.s*\n"
        "zcat /usr/share/man/man8/caissond.8.gz | head -c 14; echo\n"
        "journalctl --list-catalog | grep -c Caisson\n"
        "dpkg -L caisson | grep -E '/man./|/completions/' | sort | xargs"
    )
    assert not re.search("not compiled|cannot compile", said, re.IGNORECASE)
    *_, version, daemon, services, page, entries, papers = said.splitlines()
    assert papers.split() == PAPERS
    assert (version, daemon, page) == ("caisson 1.0.0", "caissond 1.0.0", ".TH CAISSOND 8")
    assert services.startswith("SERVICE frontend")
    assert int(entries) > 100


def test_compiled_modules_are_used_and_go_with_the_package(device: Device) -> None:
    said = device(
        "dpkg -i /packages/1.deb >/dev/null\n"
        "cd /usr/lib/caisson\n"
        "bin/python3 -v -I -c 'import caissond.errors' 2>&1 | grep -o 'code object from.*caissond.*errors.*'\n"
        "find . -name '*.new' | wc -l\n"
        "dpkg -r caisson >/dev/null; ls -d /usr/lib/caisson 2>&1 || true"
    )
    assert re.search(r"code object from '.*/errors.cpython-311.pyc'\n0\n.*No such file", said, re.DOTALL)


def test_module_that_does_not_compile_is_named_and_costs_no_other(device: Device) -> None:
    said = device(
        "mkdir -p /usr/lib/caisson/lib; cd /usr/lib/caisson/lib\n"
        "echo 'print 2' >a.py; printf '\\0' >b.py; echo 'print(2)' >c.py\n"
        "dpkg -i /packages/1.deb; find . -name '*.new'; ls __pycache__"
    )
    assert re.search("cannot compile /usr/lib/caisson/lib/a.py: .", said)
    assert re.search("cannot compile /usr/lib/caisson/lib/b.py: .", said)
    assert "Modules are not compiled" not in said
    assert said.endswith("c.cpython-311.pyc\n")


STICK_AND_OTHER_DISKS = """
mount -t tmpfs sys /sys
mkdir -p /sys/bus/usb /sys/bus/pci /sys/class/block /sys/class/sound /run/udev
disk() {
    place=/sys/devices/pci0000:00/$1/$2
    mkdir -p "$place"
    ln -s "/sys/class/$3" "$place/subsystem"
    ln -s "$place" "/sys/class/$3/${2##*/}"
    printf 'MAJOR=8\nMINOR=%s\nDEVNAME=%s\n' "$(ls /sys/class/block | wc -l)" "${2##*/}" >"$place/uevent"
}
disk 0000:00:01.0/ata1/host0/target0:0:0/0:0:0:0/block sda block
disk 0000:00:01.0/ata1/host0/target0:0:0/0:0:0:0/block sda/sda1 block
disk 0000:00:02.0/usb2/2-1/2-1:1.0/host6/target6:0:0/6:0:0:0/block sdb block
disk 0000:00:02.0/usb2/2-1/2-1:1.0/host6/target6:0:0/6:0:0:0/block sdb/sdb1 block
disk 0000:00:02.0/usb2/2-1.4/2-1.4:1.0/host7/target7:0:0/7:0:0:0/block sr0 block
disk 0000:00:02.0/usb2/2-2/2-2:1.0/sound sdx sound
disk 0000:00:03.0/virtio1/block vda block
: >/run/udev/control
export SYSTEMD_DEVICE_VERIFY_SYSFS=0 SYSTEMD_IGNORE_CHROOT=1
"""


def test_stick_that_is_in_already_gets_an_event_and_no_other_disk(device: Device) -> None:
    """udevadm is the real one, /sys is made of files."""
    said = device(
        f"{PLAYED_SYSTEMD}{STICK_AND_OTHER_DISKS}\ndpkg -i /packages/1.deb\n"
        "echo; grep -rl '^change' /sys/devices | sort"
    )
    usb = "/sys/devices/pci0000:00/0000:00:02.0/usb2/2-1/2-1:1.0/host6/target6:0:0/6:0:0:0/block"
    assert said.split("\n\n")[-1].splitlines() == [f"{usb}/sdb/sdb1/uevent", f"{usb}/sdb/uevent"]


def test_state_outlives_removal_and_goes_with_a_purge(device: Device) -> None:
    said = device(
        "dpkg -i /packages/1.deb\n"
        "touch /var/lib/caisson/state.db /etc/caisson/services.toml /etc/caisson/hooks.d/mine\n"
        "dpkg -r caisson; ls /var/lib/caisson/state.db /etc/caisson/services.toml\n"
        "dpkg -P caisson; find /var/lib/caisson /etc/caisson 2>&1 || true"
    )
    assert "/etc/caisson/services.toml\n/var/lib/caisson/state.db\n" in said
    _, after = said.split("Purging configuration files", 1)
    assert re.search("/var/lib/caisson.: No such file", after)
    assert after.endswith("/etc/caisson\n/etc/caisson/hooks.d\n/etc/caisson/hooks.d/mine\n")


PARTITION_FOR_DATA = """
mkdir -p /data /var/lib/caisson /run/caisson/media/one /tmp/stick
mount -t tmpfs data /data
mkdir -p /data/state/old /data/state/inbox /data/drop
touch /data/state/state.db /data/state/old/one /data/drop/mine /tmp/stick/mine
mount --bind /data/state /var/lib/caisson
mount --bind /data/drop /var/lib/caisson/inbox
mount --bind /tmp/stick /run/caisson/media/one
"""


def test_purge_spares_what_is_mounted_below_the_state_and_succeeds(device: Device) -> None:
    said = device(
        f"{PARTITION_FOR_DATA}\ndpkg-deb -e /packages/1.deb /tmp/scripts\n"
        "DPKG_MAINTSCRIPT_PACKAGE=caisson /tmp/scripts/postrm purge\n"
        "find /data /tmp/stick -type f; ls -A /data/state; [ -e /run/caisson ] || echo gone"
    )
    assert said.splitlines() == [
        "Left, with what is mounted there: /var/lib/caisson",
        *("/data/drop/mine", "/tmp/stick/mine"),
        *("inbox", "gone"),
    ]


def test_upgrade_that_failed_and_is_repaired_starts_the_daemon(device: Device) -> None:
    said = device(
        f"{PLAYED_SYSTEMD}\ndpkg -i /packages/1.deb\n"
        "chmod -x /usr/bin/systemd-sysusers; dpkg -i /packages/2.deb || echo 'no upgrade'\n"
        "chmod +x /usr/bin/systemd-sysusers; dpkg -i /packages/2.deb; cat /log"
    )
    assert "no upgrade" in said
    assert log_of(said)[-1] == "started with release 2"


def test_upgrade_stops_the_daemon_before_its_files_change_and_starts_the_new_one(device: Device) -> None:
    said = device(f"{PLAYED_SYSTEMD}\ndpkg -i /packages/1.deb; dpkg -i /packages/2.deb; cat /log")
    assert log_of(said) == ["started with release 1", "stopped with release 1", "started with release 2"]


def test_daemon_that_was_stopped_stays_stopped_over_an_upgrade(device: Device) -> None:
    said = device(
        f"{PLAYED_SYSTEMD}\ndpkg -i /packages/1.deb; echo inactive >/state; dpkg -i /packages/2.deb; cat /log /state"
    )
    assert "started with release 2" not in said
    assert said.endswith("inactive\n")


def test_disabled_daemon_that_ran_runs_again_after_an_upgrade(device: Device) -> None:
    said = device(
        f"{PLAYED_SYSTEMD}\ndpkg -i /packages/1.deb; touch /disabled; dpkg -i /packages/2.deb; cat /log"
    )
    assert log_of(said)[-1] == "started with release 2"


def test_daemon_starts_when_the_package_comes_back_after_a_removal(device: Device) -> None:
    said = device(
        f"{PLAYED_SYSTEMD}\ndpkg -i /packages/1.deb; dpkg -r caisson; dpkg -i /packages/2.deb; cat /log"
    )
    assert log_of(said) == ["started with release 1", "stopped with release 1", "started with release 2"]


COMMAND_THAT_UPDATES = """
touch /holds
until grep -q "^Waiting for" /said; do sleep 0.1; done
sleep 1
echo "the command is done" >>/said
"""


def test_upgrade_waits_for_a_command_that_updates(device: Device) -> None:
    said = device(
        "dpkg -i /packages/1.deb\n"
        "echo 'caisson, process 7' >/var/lib/caisson/lock; touch /said\n"
        f"flock /var/lib/caisson/lock sh -c '{COMMAND_THAT_UPDATES}' &\n"
        "until [ -e /holds ]; do sleep 0.1; done\n"
        "dpkg -i /packages/2.deb >>/said; cat /said"
    )
    waits, done, unpacks = (
        said.index(words)
        for words in ("Waiting for caisson, process 7", "the command is done", "Unpacking caisson (2)")
    )
    assert waits < done < unpacks
