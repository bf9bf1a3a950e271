"""The bus: one event in, the same words to everybody, and nobody in anybody's way."""

import pytest

from caissond.errors import CaissonError
from caissond.model.events import EVENTS, Event
from caissond.report.bus import Bus, default_text


class Listener:
    def __init__(self, error: Exception | None = None) -> None:
        self.events: list[Event] = []
        self.phases: list[tuple[str, int, int]] = []
        self._error = error

    def __call__(self, event: Event) -> None:
        if self._error:
            raise self._error
        self.events.append(event)

    def progress(self, phase: str, done_bytes: int, total_bytes: int) -> None:
        if self._error:
            raise self._error
        self.phases.append((phase, done_bytes, total_bytes))


def test_every_sink_hears_the_event_that_is_returned() -> None:
    first, second = Listener(), Listener()
    told = Bus([first, second]).tell("update.committed", service="frontend", version="1.2.3")
    assert first.events == second.events == [told]
    assert told.fields == {"service": "frontend", "version": "1.2.3"}


@pytest.mark.parametrize(
    "error", [OSError(28, "full"), ValueError("closed"), CaissonError("cannot", code="store.failed")]
)
def test_failing_sink_stops_neither_the_others_nor_the_caller(error: Exception) -> None:
    broken, well = Listener(error), Listener()
    bus = Bus([broken, well], progress=[broken.progress, well.progress])
    bus.tell("daemon.started")
    bus.progress("loading", 1, 2)
    assert [event.code for event in well.events] == ["daemon.started"]
    assert well.phases == [("loading", 1, 2)]


def test_mistake_in_a_sink_is_not_hidden() -> None:
    with pytest.raises(TypeError):
        Bus([Listener(TypeError())]).tell("daemon.started")


def test_unknown_code_is_a_mistake_in_the_program() -> None:
    with pytest.raises(KeyError):
        Bus().tell("no.such_code")


@pytest.mark.parametrize(
    ("code", "fields", "text"),
    [
        (
            "update.committed",
            {"service": "web", "version": "1.2.3"},
            "web 1.2.3: the service runs the new release",
        ),
        ("package.received", {"package": "web.edgepkg"}, "web.edgepkg: a package came in"),
        ("docker.error", {"service": "web"}, "web: Docker refused a request"),
        ("daemon.started", {}, "caissond is ready"),
        ("docker.unavailable", {"update": "0a1b"}, "Docker does not answer"),
    ],
)
def test_text_by_default_names_who_and_says_what(code: str, fields: dict[str, str], text: str) -> None:
    assert Bus().tell(code, **fields).text == text


def test_default_text_of_every_event_is_one_line_without_full_stop() -> None:
    for spec in EVENTS.values():
        text = default_text(spec, {"package": "x"})
        assert "\n" not in text
        assert not text.endswith(".")


def test_words_from_a_package_cannot_hide_or_forge_a_line() -> None:
    event = Bus().tell("package.received", "a\nb\x1b[2K", package="x\u202egkpegde\n", source="")
    assert event.text == "a?b?[2K"
    assert event.fields == {"package": "x?gkpegde?"}
