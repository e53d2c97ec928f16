"""Following a large job through a FileBrowser: a look costs what is new."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from cloud_farm.engines import EngineStatus
from cloud_farm.events import Event, FrameDone
from cloud_farm.job import parse_job
from cloud_farm.landed import Landing
from cloud_farm.layout import JobLayout
from cloud_farm.sending import send
from cloud_farm.status import StatusReader
from cloud_farm.stores import Store
from cloud_farm.stores.folder import FolderStore

from ..backend.prepared_jobs import prepare, sha256
from ..backend.volume_job import StillEngine
from ..rigs.fault_proxy import FaultProxy
from .clients import Door

FRAMES = 10_001
CHUNK = 10


class RunningEngine(StillEngine):
    """Says that the job runs."""

    def status(self, job_id: str, *, fresh: bool = False) -> EngineStatus:
        return EngineStatus(running=True)


class BigJob:
    """A job of ten thousand frames, laid on the server's disk as renderers would; all but one are done."""

    def __init__(self, door: Door, folder: Path, *, missing: int, frames: int = FRAMES) -> None:
        ready = prepare(folder / "scene", {"shot.blend": b"BLENDER"}, frames=f"1-{frames}", chunk_size=CHUNK)
        send(ready, FolderStore(door.root))
        self.id = ready.plan.job_id
        self.layout = JobLayout(self.id)
        self._root = door.root
        for frame in range(1, frames + 1):
            if frame != missing:
                self.publish(frame)
        for chunk in ready.plan.chunks:
            open_now = missing in chunk.frames
            self._write(self.layout.attempts / f"{chunk.id}.0badcafe.start.json", b"{}")
            if not open_now:
                self._write(self.layout.attempts / f"{chunk.id}.0badcafe.end.json", b'{"exit": 0}')
                continue
            self.log = self.layout.logs / f"{chunk.id}.0badcafe.log"
            self._write(self.log, b"Fra:1 Mem:100M\n" * 200_000)
            self.say({"cloud_farm": "frame_started", "frame": missing, "camera": None})
        self._an_hour_ago()

    def publish(self, frame: int) -> None:
        """Finish a frame: its file, claim and record."""
        content = b"frame %d" % frame
        name = f"x_{frame:04d}.png"
        entry = {"path": name, "role": "main", "bytes": len(content), "sha256": sha256(content)}
        record = {
            "schema": 1, "frame": frame, "camera": None, "files": [entry], "render_hash": "h", "seconds": 1.0,
            "host": "box", "attempt": "r1c00001.0badcafe", "blender": "4.5.15", "device": "CUDA",
        }  # fmt: skip
        place = self.layout.record(1, None, frame)
        self._write(self.layout.frames(1, frame) / name, content)
        self._write(place.with_suffix(".claim"), json.dumps(record).encode())
        self._write(place, json.dumps(record).encode())

    def say(self, event: dict[str, object]) -> None:
        """Write a progress line to the log of the attempt that is open."""
        with open(self._root / self.log, "ab") as stream:
            stream.write(json.dumps(event).encode() + b"\n")

    def _write(self, path: object, content: bytes) -> None:
        place = self._root / str(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)

    def _an_hour_ago(self) -> None:
        """Let every folder rest for an hour: one that changed a moment ago is looked at again to be sure."""
        then = time.time() - 3600
        for folder, _, _ in os.walk(self._root / str(self.layout.folder)):
            os.utime(folder, (then, then))


def reader_of(store: Store, job_id: str, folder: Path) -> StatusReader:
    document = parse_job(store.read(JobLayout(job_id).job_json), where="job.json")
    return StatusReader(store, RunningEngine(), document, landing=folder)


@pytest.mark.parametrize("missing", [250, FRAMES], ids=["in a full block", "in a new block"])
def test_one_new_frame_of_ten_thousand_costs_little(door: Door, line: FaultProxy, tmp_path: Path, missing: int) -> None:
    job = BigJob(door, tmp_path, missing=missing)
    store = door.at(line.url).open()
    reader = reader_of(store, job.id, tmp_path / "out")
    first = reader.read()
    assert (first.frames_done, [frame.frame for frame in first.running]) == (FRAMES - 1, [missing])
    before = line.bytes_up + line.bytes_down
    assert reader.read().frames_done == FRAMES - 1
    still = line.bytes_up + line.bytes_down - before
    time.sleep(2.1)  # a large folder is not looked at more often
    job.publish(missing)
    job.say({"cloud_farm": "frame_done", "frame": missing, "camera": None})
    before = line.bytes_up + line.bytes_down
    second = reader.read()
    assert (second.frames_done, second.running) == (FRAMES, ())
    assert line.bytes_up + line.bytes_down - before <= 100_000
    assert still <= 30_000, "a look at a job in which nothing happened"


def test_what_landed_costs_nothing_when_somebody_follows_again(door: Door, line: FaultProxy, tmp_path: Path) -> None:
    frames = 1500
    job = BigJob(door, tmp_path, missing=frames, frames=frames)
    (tmp_path / "out").mkdir()
    events: list[Event] = []

    def follow(store: Store) -> None:
        landing = Landing(store, job.id, tmp_path / "out", created=time.time() - 7200)
        reader_of(store, job.id, tmp_path / "out").read(on_event=events.append, landing=landing)

    follow(FolderStore(door.root))
    assert len(list((tmp_path / "out").iterdir())) == frames - 1
    events.clear()
    before, asked = line.bytes_down, len(line.requests)
    follow(door.at(line.url).open())
    assert len([event for event in events if isinstance(event, FrameDone)]) == frames - 1, "a front wants all of them"
    assert len(line.requests) - asked < 60
    assert line.bytes_down - before < 250_000, "mostly the plan, and names"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"x_{n:04d}.png" for n in range(1, frames)}
