"""Following a job while the way to the farm is broken: told, waited for, nothing lost."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from cloud_farm.errors import Cancelled, StoreUnreachableError
from cloud_farm.events import CancelToken, Event, FrameDone, Note
from cloud_farm.following import look_patiently
from cloud_farm.job import parse_job
from cloud_farm.landed import Landing
from cloud_farm.status import StatusReader
from cloud_farm.stores.folder import FolderStore

from ..backend.test_plan import JOB_ID
from ..backend.volume_job import LAYOUT, StillEngine, publish_frame, submit
from ..rigs.fault_proxy import FaultProxy
from .clients import Door


class Follower:
    """Follows a job through a line that may break."""

    def __init__(self, door: Door, line: FaultProxy, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("cloud_farm.following._PAUSE_SECONDS", 0.1)
        self.volume = FolderStore(door.root)
        submit(self.volume)
        store = door.at(line.url).open()
        document = parse_job(store.read(LAYOUT.job_json), where="job.json")
        self._reader = StatusReader(store, StillEngine(), document, landing=folder)
        folder.mkdir()
        self._landing = Landing(store, JOB_ID, folder, created=0.0)
        self.cancel = CancelToken()
        self.events: list[Event] = []

    def look(self) -> None:
        look_patiently(self._reader, on_event=self.events.append, landing=self._landing, cancel=self.cancel)

    def landed(self) -> list[int]:
        return sorted(event.frame for event in self.events if isinstance(event, FrameDone))

    def notes(self) -> list[str]:
        return [event.message for event in self.events if isinstance(event, Note)]


def cut(line: FaultProxy) -> None:
    """Break the line: what is open ends, nothing new comes through."""
    line.refuse = True
    line.reset_connections()


@pytest.fixture
def follower(door: Door, line: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Follower:
    return Follower(door, line, tmp_path / "frames", monkeypatch)


def test_an_outage_is_told_once_and_waited_for(follower: Follower, line: FaultProxy) -> None:
    publish_frame(follower.volume, 1)
    follower.look()
    publish_frame(follower.volume, 2)
    cut(line)
    threading.Timer(3.0, lambda: setattr(line, "refuse", False)).start()
    follower.look()
    assert follower.landed() == [1, 2]
    (note,) = follower.notes()
    assert "can't be reached" in note and "The job goes on; looking again for 10 minutes." in note


@pytest.mark.parametrize("request_number", (1, 3, 5, 7))
def test_a_line_that_breaks_at_any_request_loses_no_frame(
    follower: Follower, line: FaultProxy, request_number: int
) -> None:
    """Also between the look at the records and the landing of the frames."""
    publish_frame(follower.volume, 1)
    follower.look()
    for frame in (2, 3, 4):
        publish_frame(follower.volume, frame)
    asked = len(line.requests)
    over = threading.Event()

    def break_there() -> None:
        while not over.wait(0.001):
            if len(line.requests) - asked >= request_number:
                cut(line)
                over.wait(2.0)
                line.refuse = False
                return

    breaker = threading.Thread(target=break_there)
    breaker.start()
    follower.look()
    over.set()
    breaker.join()
    line.refuse = False
    follower.look()
    assert follower.landed() == [1, 2, 3, 4]


def test_patience_ends(follower: Follower, line: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud_farm.following._PATIENCE_SECONDS", 0.5)
    cut(line)
    with pytest.raises(StoreUnreachableError):
        follower.look()


def test_a_cancel_ends_the_wait(follower: Follower, line: FaultProxy) -> None:
    cut(line)
    threading.Timer(1.0, follower.cancel.cancel).start()
    with pytest.raises(Cancelled):
        follower.look()
