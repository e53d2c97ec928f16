"""How far a transfer is: bytes, files, rate, time left; held by a pause, ended by a cancel."""

from __future__ import annotations

import threading

import pytest
from cloud_farm.errors import Cancelled
from cloud_farm.events import CancelToken, Event, PauseSwitch, Transfer
from cloud_farm.transfer import TransferMeter


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def told(events: list[Event]) -> list[Transfer]:
    return [event for event in events if isinstance(event, Transfer)]


def test_rate_and_time_left_follow_the_last_seconds() -> None:
    events: list[Event] = []
    clock = Clock()
    meter = TransferMeter("upload", events.append, files=1, size=10_000, clock=clock)
    tell = meter.progress("a.exr", CancelToken())
    for _ in range(20):
        clock.now += 1.0
        tell(100)
    last = told(events)[-1]
    assert (last.direction, last.file, last.done_bytes, last.total_bytes) == ("upload", "a.exr", 2000, 10_000)
    assert last.bytes_per_second == pytest.approx(100)
    assert last.eta_seconds == pytest.approx(80)
    for _ in range(20):
        clock.now += 1.0
        tell(200)
    assert told(events)[-1].bytes_per_second == pytest.approx(200), "the rate is that of the last seconds"


def test_a_break_takes_bytes_back() -> None:
    events: list[Event] = []
    clock = Clock()
    meter = TransferMeter("upload", events.append, files=1, size=1000, clock=clock)
    tell = meter.progress("a", CancelToken())
    for count in (800, -500):
        clock.now += 1.0
        tell(count)
    assert [event.done_bytes for event in told(events)] == [800, 300]
    for _ in range(12):
        clock.now += 1.0
        tell(0)
    assert told(events)[-1].bytes_per_second is None, "no rate is better than a wrong one"
    assert told(events)[-1].eta_seconds is None


def test_ten_thousand_small_steps_are_a_few_events_and_the_last_one_is_told() -> None:
    events: list[Event] = []
    clock = Clock()
    meter = TransferMeter("download", events.append, files=10_000, size=10_000, clock=clock)
    for number in range(10_000):
        clock.now += 0.001
        meter.progress(f"{number}", CancelToken())(1)
        meter.finished(f"{number}")
    assert 30 <= len(events) <= 60
    last = told(events)[-1]
    assert (last.done_bytes, last.done_files, last.total_files) == (10_000, 10_000, 10_000)


def test_a_pause_holds_every_thread_and_resume_lets_them_go() -> None:
    pause, stop, went_on = PauseSwitch(), CancelToken(), threading.Event()
    meter = TransferMeter("upload", lambda _event: None, files=1, size=1, pause=pause)
    pause.pause()

    def transfer() -> None:
        meter.progress("a", stop)(1)
        went_on.set()

    thread = threading.Thread(target=transfer)
    thread.start()
    assert not went_on.wait(0.3)
    pause.resume()
    assert went_on.wait(10)
    thread.join()


def test_a_cancel_ends_also_what_is_paused() -> None:
    pause, stop = PauseSwitch(), CancelToken()
    pause.pause()
    stop.cancel()
    meter = TransferMeter("upload", lambda _event: None, files=1, size=1, pause=pause)
    with pytest.raises(Cancelled):
        meter.progress("a", stop)(1)
