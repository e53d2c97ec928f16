"""The table of frames says after every change what a look at everything would say; the pace follows the job."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from cloud_farm.control import publish_plan
from cloud_farm.frame_table import FrameState, FrameTable, Pace
from cloud_farm.frames import FrameRange
from cloud_farm.history import read_history, revisions
from cloud_farm.job import parse_job
from cloud_farm.status import StatusReader
from cloud_farm.stores.folder import FolderStore
from cloud_farm.tracking import FrameKey, JobTracker, Published

from .test_plan import JOB_ID, planned
from .volume_job import LAYOUT, StillEngine, publish_frame, submit


def by_looking_at_everything(tracker: JobTracker, running: set[FrameKey]) -> list[FrameState]:
    found = []
    for key in sorted(tracker.wanted, key=lambda key: (key[0] or "", key[1])):
        failure = tracker.failure(key)
        state = "rendering" if key in running else "waiting"
        if tracker.is_done(key):
            state = "done"
        elif failure is not None and failure.final:
            state = "failed"
        found.append(FrameState(*key, state))
    return found


def end_attempt(store: FolderStore, number: int, frame: int, *, final: bool, message: str = "") -> None:
    """Write the end of an attempt at the chunk of a frame, which failed."""
    chunk = next(chunk for chunk in planned().chunks if frame in chunk.frames)
    end = {
        "schema": 1, "chunk": chunk.id, "revision": 1, "exit": 78 if final else 12, "cause": 12 if final else None,
        "failed": [{"frame": frame, "camera": None, "message": message or f"frame {frame} failed"}],
    }  # fmt: skip
    store.put(json.dumps(end).encode(), LAYOUT.attempts / f"{chunk.id}.{number:08x}.end.json")


@pytest.mark.parametrize("seed", range(5))
def test_it_says_what_a_look_at_everything_says(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    store = FolderStore(tmp_path)
    submit(store)
    tracker = JobTracker(store, JOB_ID)
    table = FrameTable(tracker)
    for step in range(30):
        act, frame = dice.choice(("publish", "fail", "end", "nothing", "revise")), dice.randint(1, 24)
        if act == "publish":
            publish_frame(store, frame)
        elif act in ("fail", "end"):
            end_attempt(store, step, frame, final=act == "fail")
        elif act == "revise" and step == 15:
            publish_plan(planned(revision=2, only=FrameRange.of([frame, 24])), store)
        table.update(tracker.refresh(revisions(read_history(store, JOB_ID)), at_once=True))
        running: set[FrameKey] = {(None, dice.randint(1, 30)) for _ in range(2)}
        states = table.states(running)
        assert list(states) == by_looking_at_everything(tracker, running)
        assert table.done == sum(state.state == "done" for state in states)
        assert len(table.failed()) == sum(state.state == "failed" for state in states)


def test_frames_that_failed_alike_are_told_in_one_sentence(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    submit(store)
    for number, (frame, message) in enumerate([(1, "No memory."), (24, "No memory."), (13, "No camera.")]):
        end_attempt(store, number, frame, final=True, message=message)
    document = parse_job(store.read(LAYOUT.job_json), where="job.json")
    status = StatusReader(store, StillEngine(), document, landing=tmp_path).read()
    assert status.messages[:2] == ("Frames 1,24: No memory.", "Frame 13: No camera.")


def test_nothing_new_makes_nothing_new(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    submit(store)
    tracker = JobTracker(store, JOB_ID)
    table = FrameTable(tracker)
    table.update(tracker.refresh((1,)))
    assert table.states([(None, 3)]) is table.states([(None, 3)])


def pace_of(*times: float) -> Pace:
    pace = Pace()
    for number, at in enumerate(times):
        pace.add([Published(1, None, number, at)])
    return pace


@pytest.mark.parametrize(
    ("times", "now", "wanted"),
    [
        ((), 100.0, None),
        ((110.0, 120.0), None, 0.1),
        ((110.0, 120.0), 140.0, 0.05),
        (tuple(100.0 + 2 * n for n in range(1, 101)), None, 0.5),
        ((*(100.0 + n for n in range(1, 101)), *(200.0 + 10 * n for n in range(1, 31))), None, 0.1),
        ((200.0,) * 60, 220.0, 0.5),
        ((*(200.0,) * 60, 210.0, 220.0, 230.0), 230.0, 0.1),
        ((50.0, 90.0, 110.0), None, 0.1),
    ],
    ids=["none", "few", "it goes on", "steady", "slower now", "found together", "found together, then watched", "retried"],
)  # fmt: skip
def test_the_pace(times: tuple[float, ...], now: float | None, wanted: float | None) -> None:
    assert pace_of(*times).per_second(since=100.0, now=now) == (wanted and pytest.approx(wanted))
    assert pace_of(*times).last == max(times, default=0.0)
