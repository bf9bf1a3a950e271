"""LEDs on a folder made like /sys/class/leds, and the program that writes there for the hardened daemon."""

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from caissond.model.events import Event
from caissond.model.settings import LedSettings
from caissond.report import leds as module
from caissond.report.bus import Bus
from caissond.report.led_states import Resting
from caissond.report.leds import Leds, UnitWriter

PROGRAM = Path(__file__).parents[3] / "packaging/caisson-leds"
FOUND = Event("media.found", "", {"medium": "sda1"})
COMMITTED = Event("update.committed", "", {"outcome": "succeeded"})


@dataclass
class Sys:
    """A /sys with LEDs, as links into /sys/devices like the real ones."""

    root: Path
    told: list[tuple[str, str]] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.root / "class/leds"

    @property
    def socket(self) -> Path:
        return self.root / "leds.sock"

    def add(self, name: str, triggers: str = "[none] mmc0 timer heartbeat pattern") -> str:
        device = self.root / "devices/platform/leds/leds" / name
        device.mkdir(parents=True)
        files = {"trigger": triggers, "max_brightness": "255\n", "brightness": "255\n"}
        for file in ("delay_on", "delay_off", "pattern"):
            files[file] = "0\n"
        for file, content in files.items():
            (device / file).write_text(content)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / name).symlink_to(device)
        return name

    def read(self, name: str, *files: str) -> tuple[str, ...]:
        return tuple((self.folder / name / file).read_text() for file in files)

    def is_off(self, name: str) -> bool:
        return self.read(name, "trigger", "brightness") == ("none", "0")

    def leds(self, **names: str) -> Leds:
        leds = Leds(self.folder, self.socket)
        self.configure(leds, **names)
        return leds

    def configure(self, leds: Leds, **names: str) -> None:
        leds.configure(LedSettings.model_validate(names), lambda code, text: self.told.append((code, text)))


@pytest.fixture
def sys(tmp_path: Path) -> Sys:
    return Sys(tmp_path)


def test_led_beats_while_the_daemon_starts_and_flashes_when_it_is_ready(sys: Sys) -> None:
    leds = sys.leds(status=sys.add("status"))
    assert sys.read("status", "trigger") == ("heartbeat",)
    leds.rest(Resting())
    assert sys.read("status", "trigger", "delay_on", "delay_off") == ("timer", "50", "2950")


def test_success_is_steady_light_and_goes_out_with_the_daemon(sys: Sys) -> None:
    leds = sys.leds(status=sys.add("status"))
    leds(COMMITTED)
    leds.rest(Resting())
    assert sys.read("status", "trigger", "brightness") == ("none", "255")
    leds.close()
    assert sys.is_off("status")


def test_light_of_a_daemon_that_was_killed_goes_out_at_the_next_start(sys: Sys) -> None:
    sys.leds(success=sys.add("success"))
    assert sys.is_off("success")


def test_further_leds_show_only_what_they_are_for(sys: Sys) -> None:
    leds = sys.leds(media=sys.add("usb"), fault=sys.add("red"))
    leds.rest(Resting())
    leds(FOUND)
    assert sys.read("usb", "trigger", "delay_on", "delay_off") == ("timer", "80", "80")
    assert sys.is_off("red")


def test_led_that_the_settings_name_no_more_goes_out(sys: Sys) -> None:
    leds = sys.leds(status=sys.add("one"))
    sys.configure(leds, status=sys.add("two"))
    assert sys.is_off("one")
    assert sys.read("two", "trigger") == ("heartbeat",)


def test_kernel_without_the_pattern_trigger_gets_a_rhythm_by_timer(sys: Sys) -> None:
    leds = sys.leds(status=sys.add("status", "[none] timer"))
    leds.rest(Resting(provisioned=False))
    assert sys.read("status", "trigger", "delay_on", "delay_off") == ("timer", "50", "950")
    assert sys.told == []


def test_kernel_without_triggers_is_told_once_and_the_led_stays_dark(sys: Sys) -> None:
    leds = sys.leds(status=sys.add("status", "[none]"))
    leds.rest(Resting())
    leds(FOUND)
    assert sys.told == [
        (
            "led.failed",
            "cannot set the LED status: the kernel has no trigger to show: an update, or starting up",
        )
    ]
    assert sys.read("status", "trigger") == ("none",)


def test_led_that_is_not_there_is_told_once_and_the_others_go_on(sys: Sys) -> None:
    leds = sys.leds(media="nowhere", status=sys.add("status"))
    leds(FOUND)
    assert sys.told == [("led.failed", "cannot set the LED nowhere: No such file or directory")]
    assert sys.read("status", "trigger") == ("timer",)


def test_led_that_comes_later_is_set_at_the_next_change(sys: Sys) -> None:
    leds = sys.leds(status="status")
    sys.add("status")
    leds(FOUND)
    assert sys.read("status", "trigger") == ("timer",)


def test_file_that_cannot_be_written_is_told_once(sys: Sys) -> None:
    delay = sys.folder / sys.add("status") / "delay_on"
    delay.unlink()
    delay.mkdir()
    leds = sys.leds(status="status")
    leds.rest(Resting())
    leds(FOUND)
    assert sys.told == [("led.failed", "cannot set the LED status: Is a directory")]


def test_trouble_with_a_led_that_is_told_on_the_bus_does_not_come_round_again(sys: Sys) -> None:
    leds = Leds(sys.folder, sys.socket)
    events: list[str] = []
    bus = Bus([leds, lambda event: events.append(event.code)])
    leds.configure(LedSettings(status="nowhere"), bus.tell)
    bus.tell("media.found", medium="sda1")
    assert events == ["led.failed", "media.found"]


def test_without_leds_in_the_settings_nothing_is_touched(sys: Sys) -> None:
    before = sys.read(sys.add("status"), "trigger", "brightness")
    leds = sys.leds()
    leds(COMMITTED)
    leds.close()
    assert sys.read("status", "trigger", "brightness") == before


# packaging/caisson-leds, on a real connection


def start(connection: socket.socket, folder: Path) -> subprocess.Popen[bytes]:
    """The program as systemd starts it: its standard input and output are the connection."""
    environment = {**os.environ, "CAISSON_LEDS": str(folder)}
    channel = connection.fileno()
    process = subprocess.Popen(
        [PROGRAM], stdin=channel, stdout=channel, stderr=subprocess.DEVNULL, env=environment
    )
    connection.close()
    return process


@contextmanager
def program(connection: socket.socket, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with start(connection, folder) as process:
        try:
            yield process
        finally:
            process.kill()


def ask(connection: socket.socket, line: str) -> str:
    connection.settimeout(60)
    connection.sendall(line.encode())
    return connection.recv(512).decode()


def test_program_writes_what_it_is_told(sys: Sys) -> None:
    sys.add("mmc0::ok 1")
    ours, theirs = socket.socketpair()
    with program(theirs, sys.folder):
        assert ask(ours, "mmc0::ok 1\tpattern\t255 100 255 0\n") == "ok\n"
        assert sys.read("mmc0::ok 1", "pattern") == ("255 100 255 0",)
        ours.close()


@pytest.mark.parametrize(
    "line",
    [
        "../../etc\ttrigger\tx\n",
        "..\ttrigger\tx\n",
        "status\tuevent\tadd\n",
        "status\t../status/trigger\tx\n",
        "nowhere\ttrigger\tx\n",
        "status\n",
        "\n",
        "status\tdevice\tx\n",
    ],
)
def test_program_writes_nothing_else(sys: Sys, line: str) -> None:
    sys.add("status")
    (sys.root / "etc").mkdir()
    for outside in ("class/trigger", "etc/trigger"):
        (sys.root / outside).touch()
    ours, theirs = socket.socketpair()
    with program(theirs, sys.folder):
        assert ask(ours, line).startswith("cannot write")
        assert sys.read("status", "trigger") == ("[none] mmc0 timer heartbeat pattern",)
        ours.close()


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def ask_to_end(process: subprocess.Popen[bytes]) -> None:
    """Once it waits for the next line: a signal just before would be heard after that line only."""
    state = Path(f"/proc/{process.pid}/stat")
    wait_until(lambda: state.read_text().rpartition(")")[2].split()[0] == "S")
    process.terminate()


def test_leds_go_out_when_the_daemon_is_gone_however_it_went(sys: Sys) -> None:
    sys.add("status")
    ours, theirs = socket.socketpair()
    with program(theirs, sys.folder):
        ask(ours, "status\ttrigger\ttimer\n")
        ours.close()  # as the kernel does for a process that is killed
        wait_until(lambda: sys.is_off("status"))


def test_leds_go_out_when_the_program_is_stopped(sys: Sys) -> None:
    sys.add("status")
    ours, theirs = socket.socketpair()
    with program(theirs, sys.folder) as process:
        ask(ours, "status\ttrigger\ttimer\n")
        ask_to_end(process)
        wait_until(lambda: sys.is_off("status"))
        ours.close()


@contextmanager
def unit(sys: Sys) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """The unit of the LEDs but for systemd; yields what starts the program for the next connection."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(sys.socket))
        listener.listen()
        listener.settimeout(60)
        started: list[subprocess.Popen[bytes]] = []

        def accept() -> subprocess.Popen[bytes]:
            started.append(start(listener.accept()[0], sys.folder))
            return started[-1]

        try:
            yield accept
        finally:
            for process in started:
                process.kill()
                process.wait(60)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer is waited for, however slow this machine is."""
    for limit in ("START_S", "ANSWER_S"):
        monkeypatch.setattr(module, limit, 60)


@pytest.mark.usefixtures("patient")
def test_daemon_has_its_leds_set_by_the_unit_where_it_is(sys: Sys) -> None:
    sys.add("status")
    with unit(sys) as accept:
        thread = threading.Thread(target=accept)
        thread.start()
        leds = sys.leds(status="status")
        thread.join()
        assert sys.read("status", "trigger") == ("heartbeat",)
        leds.close()
        wait_until(lambda: sys.is_off("status"))  # the program turns it off once more
    assert sys.told == []


@pytest.mark.usefixtures("patient")
def test_unit_that_was_stopped_is_asked_again(sys: Sys) -> None:
    sys.add("status")
    with unit(sys) as accept, ThreadPoolExecutor(1) as thread:
        first = thread.submit(accept)
        leds = sys.leds(status="status")
        ask_to_end(first.result())
        wait_until(lambda: sys.is_off("status"))
        second = thread.submit(accept)
        leds(FOUND)
        second.result()
        assert sys.read("status", "delay_on") == ("80",)
        leds.close()
    assert sys.told == []


@pytest.mark.usefixtures("patient")
def test_every_led_is_set_again_when_the_unit_was_stopped(sys: Sys) -> None:
    with unit(sys) as accept, ThreadPoolExecutor(1) as thread:
        first = thread.submit(accept)
        leds = sys.leds(status=sys.add("status"), fault=sys.add("red"))
        leds.rest(Resting(provisioned=False))
        ask_to_end(first.result())
        wait_until(lambda: sys.is_off("status") and sys.is_off("red"))
        second = thread.submit(accept)
        leds(FOUND)
        second.result()
        assert sys.read("status", "trigger", "delay_on") == ("timer", "80")
        assert sys.read("red", "trigger") == ("pattern",)
        leds.close()
    assert sys.told == []


def test_led_that_went_out_between_two_writes_is_set_again(sys: Sys) -> None:
    """The program ends with the first LED set and the second one asked for."""
    names: list[str] = []

    def serve(listener: socket.socket) -> None:
        with listener.accept()[0] as first, first.makefile("rw") as lines:
            for line in lines:
                if line.startswith("red"):
                    break
                print("ok", file=lines, flush=True)
        with listener.accept()[0] as second, second.makefile("rw") as lines:
            for line in lines:
                names.append(line.split("\t")[0])
                print("ok", file=lines, flush=True)

    with socket.socket(socket.AF_UNIX) as listener, ThreadPoolExecutor(1) as thread:
        listener.bind(str(sys.socket))
        listener.listen()
        served = thread.submit(serve, listener)
        leds = sys.leds(status=sys.add("status"), fault=sys.add("red"))
        shown = list(names)
        leds.close()
        served.result()
    assert {"status", "red"} == set(shown)


def test_unit_that_does_not_answer_is_told_and_costs_a_few_seconds_only(sys: Sys) -> None:
    sys.add("status")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(sys.socket))
        listener.listen()
        began = time.monotonic()
        leds = sys.leds(status="status")
        for event in (FOUND, COMMITTED) * 20:
            leds(event)
        leds.close()
        assert time.monotonic() - began < 20
    assert sys.told == [("led.failed", "cannot set the LED status: no answer")]


def test_first_answer_is_waited_for_longer_than_others(sys: Sys, monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd starts the program when the first line comes."""
    monkeypatch.setattr(module, "START_S", 60)
    monkeypatch.setattr(module, "ANSWER_S", 0.01)
    sys.add("status")
    with unit(sys) as accept:
        late = threading.Timer(0.5, accept)
        late.start()
        writer = UnitWriter(sys.socket)
        writer.put("status", "trigger", "heartbeat")
        assert sys.read("status", "trigger") == ("heartbeat",)
        late.join()
        writer.close()


def test_unit_that_hangs_is_waited_for_once(sys: Sys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each further wait is a short one: an update goes on meanwhile."""
    monkeypatch.setattr(module, "START_S", 0.2)
    monkeypatch.setattr(module, "ANSWER_S", 0.01)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(sys.socket))
        listener.listen()
        writer = UnitWriter(sys.socket, spared_s=0)
        waits = [_wait_s(lambda: writer.put("status", "trigger", "none")) for _ in range(10)]
        writer.close()
    assert waits[0] >= 0.2
    assert min(waits[1:]) < 0.2


def _wait_s(put: Callable[[], None]) -> float:
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        put()
    return time.monotonic() - began


def test_unit_that_takes_a_while_to_start_sets_the_led_all_the_same(
    sys: Sys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow device: the first line waits in the socket for longer than anybody waits for its answer."""
    for limit in ("START_S", "ANSWER_S"):
        monkeypatch.setattr(module, limit, 3)  # long enough for this machine once the unit is up
    sys.add("status")
    with unit(sys) as accept:
        leds = Leds(sys.folder, sys.socket, spared_s=0)
        sys.configure(leds, status="status")
        assert sys.told == []
        accept()
        wait_until(lambda: sys.read("status", "trigger") == ("heartbeat",))
        leds(FOUND)
        assert sys.read("status", "delay_on") == ("80",)
        leds.close()
    assert sys.told == []


@pytest.mark.usefixtures("patient")
def test_refusal_of_the_unit_is_told(sys: Sys) -> None:
    (sys.folder / sys.add("status") / "delay_on").unlink()
    with unit(sys) as accept:
        thread = threading.Thread(target=accept)
        thread.start()
        leds = sys.leds(status="status")
        leds(FOUND)
        thread.join()
        leds.close()
    assert sys.told == [("led.failed", "cannot set the LED status: cannot write to delay_on")]
