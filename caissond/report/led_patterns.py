"""What the LEDs say, in one table: each state has a rhythm, so that one LED of any colour can tell them all apart.

The kernel's LED triggers blink, so that nobody has to run for it: timer, heartbeat and pattern
(kernel: Documentation/leds/leds-class.rst, ABI/testing/sysfs-class-led-trigger-pattern). Pure.
"""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """What there is to say, and in words."""

    OFF = "caissond does not run"
    IDLE = "ready, nothing to do"
    READING = "a stick is read: do not remove it"
    SAFE = "the stick may be removed"
    WORKING = "an update, or starting up"
    SUCCESS = "the service runs what was brought"
    FAILURE = "a package was refused or its update undone; the service runs as before"
    ATTENTION = (
        "somebody has to look: an update could not be undone, Docker is down, or a mistake in the settings"
    )
    NOT_PROVISIONED = "no catalog yet, or nobody to trust"


class Role(StrEnum):
    """What a LED is for: the keys of `[leds]`."""

    STATUS = "status"
    MEDIA = "media"
    SUCCESS = "success"
    FAULT = "fault"


SHOWN = {
    Role.STATUS: frozenset(State),
    Role.MEDIA: frozenset({State.READING, State.SAFE}),
    Role.SUCCESS: frozenset({State.SUCCESS}),
    Role.FAULT: frozenset({State.FAILURE, State.ATTENTION, State.NOT_PROVISIONED}),
}
"""What a LED of this role shows; it is off otherwise."""


@dataclass(frozen=True, slots=True)
class Blink:
    """A LED's rhythm by one trigger: on and off in turn, in milliseconds; for `heartbeat` the kernel has its own."""

    trigger: str
    steps: tuple[int, ...] = ()


_ON, _OFF = Blink("none", (1,)), Blink("none")


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How a state is shown."""

    words: str
    blink: Blink
    otherwise: Blink | None = None
    """Where the kernel lacks the trigger."""
    otherwise_words: str = ""


RHYTHMS = {
    State.OFF: Rhythm("off", _OFF),
    State.IDLE: Rhythm("a short flash every 3 seconds", Blink("timer", (50, 2950))),
    State.READING: Rhythm("flickers", Blink("timer", (80, 80))),
    State.SAFE: Rhythm("slowly on and off, a second each", Blink("timer", (1000, 1000))),
    State.WORKING: Rhythm(
        "beats like a heart: twice, pause",
        Blink("heartbeat"),
        Blink("timer", (300, 300)),
        "on and off quickly",
    ),
    State.SUCCESS: Rhythm("on", _ON),
    State.FAILURE: Rhythm(
        "three flashes, pause",
        Blink("pattern", (200, 200, 200, 200, 200, 1500)),
        Blink("timer", (1500, 300)),
        "on, with short gaps",
    ),
    State.ATTENTION: Rhythm(
        "long, short, pause",
        Blink("pattern", (1000, 300, 200, 1500)),
        Blink("timer", (700, 100)),
        "on, with quick gaps",
    ),
    State.NOT_PROVISIONED: Rhythm(
        "two flashes, long pause",
        Blink("pattern", (100, 200, 100, 2600)),
        Blink("timer", (50, 950)),
        "a short flash every second",
    ),
}


def choose_blink(state: State, triggers: frozenset[str]) -> Blink | None:
    """How to show the state with the triggers that the kernel has; None when it cannot be."""
    rhythm = RHYTHMS[state]
    for blink in (rhythm.blink, rhythm.otherwise):
        if blink is not None and blink.trigger in triggers | {"none"}:
            return blink
    return None


def plan_writes(blink: Blink, max_brightness: int) -> tuple[tuple[str, str], ...]:
    """What to write to which of a LED's files, in this order: the trigger makes the files that it is told by."""
    match blink.trigger:
        case "none":
            return (("trigger", "none"), ("brightness", str(max_brightness if blink.steps else 0)))
        case "timer":
            on_ms, off_ms = blink.steps
            return (("trigger", "timer"), ("delay_on", str(on_ms)), ("delay_off", str(off_ms)))
        case "pattern":
            return (("trigger", "pattern"), ("pattern", _pattern(blink.steps, max_brightness)))
    return (("trigger", blink.trigger),)


def _pattern(steps: tuple[int, ...], max_brightness: int) -> str:
    """Pairs of brightness and milliseconds. Between two pairs the kernel fades; a pair of no time makes it jump."""
    levels = (max_brightness, 0) * (len(steps) // 2)
    return " ".join(f"{level} {step_ms} {level} 0" for level, step_ms in zip(levels, steps, strict=True))


def led_table() -> str:
    """A Markdown table of what a LED says, for the README."""
    rows = [
        f"| {rhythm.words}{_otherwise(rhythm)} | {state.value} | {_roles(state)} |"
        for state, rhythm in RHYTHMS.items()
    ]
    return "\n".join(["| the LED | means | shown by |", "|---|---|---|", *rows]) + "\n"


def _otherwise(rhythm: Rhythm) -> str:
    return f" (or: {rhythm.otherwise_words})" if rhythm.otherwise else ""


def _roles(state: State) -> str:
    return ", ".join(f"`{role}`" for role, shown in SHOWN.items() if state in shown)
