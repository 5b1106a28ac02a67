from __future__ import annotations

from image_syncer.coordinator.listeners import EventReporter, call_all
from image_syncer.errors import TransportError
from image_syncer.scheduling import Breakers
from image_syncer.telemetry import ImageResult, Outcome, Report, Totals
from image_syncer.telemetry.events import (
    Event,
    ImageEnded,
    RegistryBack,
    RegistryDown,
    RegistryGivenUp,
    RunEnded,
    Warned,
)

HOST = "registry.example"
IMAGE = ImageResult("a/b:1", "c/d:1", Outcome.COPIED)


def report(*warnings: str) -> Report:
    return Report({}, Totals(), "2026-01-01T00:00:00Z", 1.0, warnings=warnings)


def teller_to(events: list[Event]) -> EventReporter:
    return EventReporter(events.append, on_failure=lambda error: events.append(Warned(repr(error))))


def test_without_a_listener_nothing_is_put_in_the_way() -> None:
    silent = EventReporter(None, on_failure=lambda _error: None)
    images: list[ImageResult] = []
    assert call_all(silent.maker(ImageEnded), None) is None
    on_image = images.append
    assert call_all(silent.maker(ImageEnded), on_image) is on_image
    silent.report_end(report("one"))


def test_both_are_told() -> None:
    events: list[Event] = []
    images: list[ImageResult] = []
    on_image = call_all(teller_to(events).maker(ImageEnded), images.append)
    assert on_image is not None
    on_image(IMAGE)
    assert (images, events) == ([IMAGE], [ImageEnded(IMAGE)])


def test_each_warning_is_told_once() -> None:
    events: list[Event] = []
    teller = teller_to(events)
    for warnings in ([], ["a"], ["a"], ["a", "b"]):
        teller.report_warnings(warnings)
    ended = report("a", "b", "c")
    teller.report_end(ended)
    assert events == [Warned("a"), Warned("b"), Warned("c"), RunEnded(ended)]


def test_registries_are_told_of() -> None:
    events: list[Event] = []
    breakers = Breakers(10.0)
    breakers.listen(lambda breaker: setattr(breaker, "since", "today"))
    teller_to(events).listen(breakers)
    error = TransportError("nobody there", phase="connect")
    breakers.answered(HOST, 0.0)
    for now in (1.0, 1.1, 1.2):
        breakers.failed(HOST, error, now)
    breakers.of(HOST).probed()
    breakers.answered(HOST, 2.0, probe=True)
    for now in (3.0, 3.1, 3.2):
        breakers.failed(HOST, error, now)
    breakers.of(HOST).probed()
    breakers.probe_failed(HOST, error, 20.0)
    down = RegistryDown(HOST, "today")
    assert events[:3] == [down, RegistryBack(HOST), down]
    [last] = events[3:]
    assert isinstance(last, RegistryGivenUp)
    assert f"the registry {HOST} was given up" in last.reason
    assert "nobody there" in last.reason


def test_a_listener_that_fails_is_told_nothing_more_but_the_end() -> None:
    events: list[Event] = []
    failures: list[Exception] = []

    def on_event(event: Event) -> None:
        events.append(event)
        if isinstance(event, ImageEnded):
            raise ZeroDivisionError

    teller = EventReporter(on_event, on_failure=failures.append)
    on_image = teller.maker(ImageEnded)
    assert on_image is not None
    on_image(IMAGE)
    on_image(IMAGE)
    ended = report("late")
    teller.report_end(ended)
    assert events == [ImageEnded(IMAGE), RunEnded(ended)]
    assert [type(error) for error in failures] == [ZeroDivisionError]
