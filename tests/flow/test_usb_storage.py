"""What udev knows of USB storage, read by the adapter from a /sys and a /run/udev made of files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from caissond.intake.sticks import Stick, Volume

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a mount namespace needs root")

# A bus with a stick (sdy), an empty card reader (sdz), and a disk that is not on USB (sdx); libudev checks that /sys is
# a sysfs, but for a variable of its own
FAKE_SYS = """
set -eu
mount -t tmpfs sys /sys
mount -t tmpfs run /run
mkdir -p /run/udev/data /sys/bus/usb /sys/bus/pci /sys/class/block /sys/dev/block
disk() { # BUS NAME MINOR SECTORS
    device=/sys/devices/$1/1-$3
    mkdir -p "$device/block/$2/holders"
    [ -e "$device/subsystem" ] || ln -s "/sys/bus/${1%1}" "$device/subsystem"
    [ -e "$device/uevent" ] || printf 'DEVTYPE=usb_device\\n' >"$device/uevent"
    node "$device/block/$2" "$3" disk
    echo "$4" >"$device/block/$2/size"
    echo "1$3" >"$device/block/$2/diskseq"
}
node() { # PATH MINOR DEVTYPE
    mkdir -p "$1"
    ln -s /sys/class/block "$1/subsystem"
    printf 'MAJOR=8\\nMINOR=%s\\nDEVNAME=%s\\nDEVTYPE=%s\\n' "$2" "${1##*/}" "$3" >"$1/uevent"
    ln -s "$1" "/sys/class/block/${1##*/}"
    ln -s "$1" "/sys/dev/block/8:$2"
}
knows() { # MINOR LINE...
    minor=$1; shift
    { printf 'I:12000000\\n'; printf 'E:%s\\n' "$@"; } >"/run/udev/data/b8:$minor"
}
disk pci1 sdx 1 100
disk usb1 sdy 16 100
node /sys/devices/usb1/1-16/block/sdy/sdy1 17 partition
node /sys/devices/usb1/1-16/block/sdy/sdy2 18 partition
disk usb1 sdz 32 0
knows 1
knows 16 ID_FS_USAGE=filesystem ID_FS_TYPE=iso9660
knows 17 ID_FS_USAGE=filesystem ID_FS_TYPE=ntfs ID_PART_ENTRY_TYPE=0x7
knows 32
eval "$PREPARE"
exec "$0" -c "$1"
"""
FIND = """
from caissond.intake.mounts import sequence_of
from caissond.intake.sticks import Stick, Volume
from caissond.intake.udev import find_sticks
print((find_sticks(), sequence_of("8:18"), sequence_of("8:99"), sequence_of("0:40")))
"""


def found(prepare: str = "") -> tuple[tuple[Stick, ...], str, str | None, str]:
    """What is found on such a machine."""
    done = subprocess.run(
        ["unshare", "--mount", "--propagation=private", "sh", "-c", FAKE_SYS, sys.executable, FIND],
        env={**os.environ, "SYSTEMD_DEVICE_VERIFY_SYSFS": "0", "PREPARE": prepare},
        cwd=Path(__file__).parents[2],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    names = {"Stick": Stick, "Volume": Volume, "None": None, "True": True, "False": False}
    answer: tuple[tuple[Stick, ...], str, str | None, str] = eval(done.stdout, {"__builtins__": {}}, names)
    return answer


def test_sticks_are_found_with_their_partitions_and_other_disks_are_not() -> None:
    sticks, *_ = found()
    assert sticks == (
        Stick(
            "sdy",
            "116",
            (
                Volume("sdy", "8:16", 12.0, usage="", fs_type="iso9660"),
                Volume("sdy1", "8:17", 12.0, usage="filesystem", fs_type="ntfs", part_type="0x7"),
                Volume("sdy2", "8:18", None),
            ),
        ),
        Stick("sdz", "132", (Volume("sdz", "8:32", 12.0),), left_alone=True),
    )


@pytest.mark.parametrize(
    "prepare",
    ["knows 17 CAISSON_IGNORE=1", "mkdir -p /sys/devices/usb1/1-16/block/sdy/sdy1/holders/dm-0"],
    ids=["a rule says so", "LUKS or LVM on it"],
)
def test_stick_is_left_alone_when_somebody_has_a_claim_on_it(prepare: str) -> None:
    (stick, _), *_ = found(prepare)
    assert stick.left_alone


def test_machine_without_udev_has_sticks_that_nobody_has_handled() -> None:
    (stick, _), *_ = found("rm -r /run/udev")
    assert [volume.seen_s for volume in stick.volumes] == [None, None, None]


def test_partitions_are_told_from_those_of_the_stick_before() -> None:
    _, partition, pulled_out, no_disk = found()
    assert (partition, pulled_out, no_disk) == ("116", None, "")
