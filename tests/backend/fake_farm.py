"""A farm that plays a job: what the command line shows is tested without Blender."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cloud_farm.engines import TaskStatus
from cloud_farm.errors import JobNotFoundError
from cloud_farm.events import CancelToken, Event, FrameDone, Listener, Note, Progress, StateChanged, ignore
from cloud_farm.frame_table import FrameState
from cloud_farm.outcomes import Fetched
from cloud_farm.running import RunningFrame
from cloud_farm.status import JobStatus, JobSummary

JOB = "shot-20261123-abc123"


def make_status(
    frames: int = 24,
    *,
    done: int = 0,
    running: int = 0,
    failed: tuple[int, ...] = (),
    cameras: tuple[str | None, ...] = (None,),
    **more: Any,
) -> JobStatus:
    """A picture of a job: the first `done` frames are done, the next `running` ones render."""
    keys = [(camera, frame) for camera in cameras for frame in range(1, frames + 1)]
    states = tuple(
        FrameState(camera, frame, _state(index, frame, done, running, failed))
        for index, (camera, frame) in enumerate(keys)
    )
    work = tuple(
        RunningFrame(f"r1c{i:05d}.0badcafe", f"r1c{i:05d}", frame.camera, frame.frame, 7 * i % 64, 64, started_at=980.0)
        for i, frame in enumerate(item for item in states if item.state == "rendering")
    )
    values: dict[str, Any] = {
        "id": JOB, "title": "shot", "state": "rendering", "revision": 1, "owner": "ada", "host": "box",
        "created": "2026-11-23T21:30:00Z", "farm": "local", "frames_total": len(states),
        "frames_done": sum(item.state == "done" for item in states), "frames_failed": len(failed),
        "frame_states": states, "running": work, "tasks": (), "frames_per_second": 1.25, "eta_seconds": 12.0,
        "last_file": "/shots/frames/shot_0012.png", "landing": "/shots/frames", "messages": (),
        "started_at": 1000.0, "last_frame_at": 1031.0, "read_at": 1042.0,
    }  # fmt: skip
    return JobStatus(**{**values, **more})


def _state(index: int, frame: int, done: int, running: int, failed: tuple[int, ...]) -> str:
    if frame in failed:
        return "failed"
    return "done" if index < done else "rendering" if index < done + running else "waiting"


@dataclass
class FakeFarm:
    """Has one job; `last` is how it ends."""

    last: JobStatus = field(default_factory=lambda: make_status(3, done=3, state="done"))
    on_follow: Callable[[CancelToken], None] = lambda token: None
    calls: list[tuple[str, Any]] = field(default_factory=list)

    def find(self, text: str) -> str:
        if text in ("", "last") or JOB.startswith(text):
            return JOB
        raise JobNotFoundError(f"Farm 'local' has no job '{text}'.", job_id=text)

    def jobs(self) -> tuple[JobSummary, ...]:
        rows = [("done", 24, 0), ("rendering", 7, 0), ("failed", 20, 4)]
        return tuple(
            JobSummary(
                f"a-scene-{n}-20261123-abc12{n}",
                "x",
                state,
                "ada",
                "box",
                "2026-11-23T21:30:00Z",
                24,
                done,
                bad,
                tags=("film", f"shot{n}"),
            )
            for n, (state, done, bad) in enumerate(rows)
        )

    def status(self, job_id: str) -> JobStatus:
        return self.last

    def follow(
        self,
        job_id: str,
        *,
        land: bool = True,
        target: Path | None = None,
        on_event: Listener = ignore,
        on_status: Callable[[JobStatus], None] | None = None,
        cancel: CancelToken | None = None,
    ) -> JobStatus:
        self.calls.append(("follow", (job_id, land)))
        token = cancel or CancelToken()
        for event in self._events():
            on_event(event)
        if on_status is not None:
            on_status(self.last)
        self.on_follow(token)
        token.raise_if_cancelled()
        return self.last

    def _events(self) -> Iterator[Event]:
        yield StateChanged(JOB, "rendering")
        for item in self.last.frame_states:
            if item.state == "done":
                yield FrameDone(JOB, item.camera, item.frame, f"/shots/f_{item.frame:04d}.png", 1.25, "CPU", "box")
        yield Progress(JOB, self.last.state, self.last.frames_done, 0, self.last.frames_total, 1.25, None)

    def logs(self, job_id: str, *, chunk: str | None = None) -> Iterator[str]:
        yield f"== {chunk or 'prepare.0badcafe'}"
        yield "a line"

    def follow_logs(self, job_id: str, *, chunk: str | None = None, cancel: CancelToken | None = None) -> Iterator[str]:
        yield from self.logs(job_id, chunk=chunk)
        token = cancel or CancelToken()
        self.on_follow(token)
        token.raise_if_cancelled()
        yield "the last line"

    def older_than(self, age: datetime.timedelta) -> tuple[JobSummary, ...]:
        self.calls.append(("older_than", age))
        return self.jobs()[:2]

    def fetch(self, job_id: str, *, target: Path | None = None, on_event: Listener = ignore) -> Fetched:
        missing = self.last.not_landed
        for reason in missing:
            on_event(Note(reason))
        return Fetched(target or Path("/shots"), self.last.frames_done - len(missing), missing)

    def cancel(self, job_id: str) -> None:
        self.calls.append(("cancel", job_id))

    def pause(self, job_id: str) -> None:
        self.calls.append(("pause", job_id))

    def resume(self, job_id: str) -> None:
        self.calls.append(("resume", job_id))

    def delete(self, job_id: str) -> None:
        self.calls.append(("delete", job_id))

    def retry(self, job_id: str, **more: Any) -> int:
        self.calls.append(("retry", more))
        return 2


__all__ = ["JOB", "FakeFarm", "TaskStatus", "make_status"]
