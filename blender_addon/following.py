"""Jobs whose frames are brought here as they finish: those that run, and those that ended while nobody here followed them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .worker_client import WorkerClient

_AGAIN_SECONDS = 15.0
_AWAY = ("StoreUnreachableError", "EngineUnreachableError")
_MAY_PASS = ("LandingError", *_AWAY)
"""Errors after which a job is followed again by itself: a disk that is full, a farm that is away."""
_FINISHED_STATES = ("done", "failed", "cancelled", "paused")
_ACTIVE_STATES = ("queued", "rendering", "cancelling")
_MOST_FETCHED = 4  # jobs at a time that ended while Blender was closed
_MOST_CRASHES = 3


class Following:
    """Follows jobs, each once.

    Args:
        client: Returns the worker.
        on_picture: Called with a job and how it stands.
        on_frame: Called with a job and the event of each frame that came here.
        on_problem: Called with what keeps a job's frames from coming.
        on_mended: Called with it again once they come after all.
        may_reach: Whether a farm may be spoken to now.
        folder: Returns where it is noted what is followed, a file for each job, for the next start.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        client: Callable[[], WorkerClient],
        *,
        on_picture: Callable[[str, Mapping[str, Any]], None],
        on_frame: Callable[[str, Mapping[str, Any]], None],
        on_problem: Callable[[str], None],
        on_mended: Callable[[str], None],
        may_reach: Callable[[str], bool],
        folder: Callable[[], Path],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._on_picture = on_picture
        self._on_frame = on_frame
        self._on_problem = on_problem
        self._on_mended = on_mended
        self._may_reach = may_reach
        self._folder = folder
        self._clock = clock
        self._followed: dict[str, tuple[int, str]] = {}
        self._let_gone: set[str] = set()
        self._fetched: set[tuple[str, int]] = set()
        self._broken_off: dict[str, tuple[float, str, str]] = {}
        self._crashes: dict[str, int] = {}
        self._looked_back: set[str] = set()

    @property
    def jobs(self) -> list[str]:
        """The jobs that are followed now."""
        return list(self._followed)

    def begin(self, job: str, farm: str) -> None:
        """Bring a job's frames here as they finish."""
        if job not in self._followed:
            take = lambda line: self._take(job, farm, line)  # noqa: E731
            self._followed[job] = self._client().ask("follow", take, farm=farm, job=job), farm
            with contextlib.suppress(OSError):  # then they land once the job is seen in the list
                (self._folder() / job).write_text(farm, encoding="utf-8")

    def look_back(self) -> None:
        """Go on with what an earlier Blender followed when it was closed, each as soon as its farm may be spoken to."""
        with contextlib.suppress(OSError):
            for note in self._folder().iterdir():
                with contextlib.suppress(OSError, UnicodeDecodeError):  # unreadable: not in the others' way
                    self._go_on_later(note.name, note.read_text(encoding="utf-8"))
                    self._looked_back.add(note.name)

    def take_list(self, jobs: Sequence[Mapping[str, Any]]) -> None:
        """Follow those of our jobs that run, and some whose frames are not all here."""
        for job in jobs:
            is_crashing = self._crashes.get(job["id"], 0) >= _MOST_CRASHES
            if job["state"] in _ACTIVE_STATES and job["is_ours"] and not is_crashing:
                self.begin(job["id"], job["farm"])
        for job in [job for job in jobs if self._has_frames_elsewhere(job)][:_MOST_FETCHED]:
            self._fetched.add((job["id"], job["frames_done"]))
            self.begin(job["id"], job["farm"])

    def tick(self) -> None:
        """Leave jobs alone whose farm may not be spoken to any more, and go on with those that were broken off a while ago."""
        for job, (request, farm) in self._followed.items():
            if not self._may_reach(farm) and job not in self._let_gone:
                self._let_gone.add(job)
                self._client().stop(request)
        for job, (at, farm, _said) in self._broken_off.items():
            if self._clock() >= at and job not in self._followed and self._may_reach(farm):
                self.begin(job, farm)

    def _has_frames_elsewhere(self, job: Mapping[str, Any]) -> bool:
        """Whether a job ended while nobody here followed it; each is asked for once."""
        is_over = job["state"] in _FINISHED_STATES and job["is_ours"] and job["frames_done"] > job["landed"]
        return is_over and (job["id"], job["frames_done"]) not in self._fetched

    def _take(self, job: str, farm: str, line: Mapping[str, Any]) -> None:
        event = line.get("event")
        if event is None:
            self._take_end(job, farm, line)
        elif event["event"] == "status":
            self._on_picture(job, event)
        elif event["event"] == "frame_done" and event["path"]:
            self._mended(job)
            self._on_frame(job, event)

    def _take_end(self, job: str, farm: str, line: Mapping[str, Any]) -> None:
        self._followed.pop(job, None)
        was_let_go = job in self._let_gone
        self._let_gone.discard(job)
        if "result" in line:
            self._mended(job)
            self._forget(job)
            self._on_picture(job, line["result"])
            return
        kind, message = str(line["error"]["kind"]), str(line["error"]["message"])
        if kind == "WorkerDied":
            self._crashes[job] = self._crashes.get(job, 0) + 1
        if was_let_go or (kind == "WorkerDied" and self._crashes[job] < _MOST_CRASHES):
            self._go_on_later(job, farm)  # by the next worker
        elif kind in _AWAY and job in self._looked_back:  # perhaps of last week, of a farm that nobody looks at now
            self._go_on_later(job, farm, _AGAIN_SECONDS)
        elif kind != "Cancelled":
            self._on_problem(message)
            if kind in _MAY_PASS:
                self._go_on_later(job, farm, _AGAIN_SECONDS, said=message)
            else:
                self._broken_off.pop(job, None)
                self._forget(job)

    def _go_on_later(self, job: str, farm: str, seconds: float = 0.0, *, said: str = "") -> None:
        """Follow a job again after a while, once its farm may be spoken to; `said` is what the artist was told of it."""
        self._broken_off[job] = self._clock() + seconds, farm, said

    def _forget(self, job: str) -> None:
        """Nothing is to be brought here any more."""
        with contextlib.suppress(OSError):
            (self._folder() / job).unlink()

    def _mended(self, job: str) -> None:
        """Frames of a job come here again: what kept them is no problem any more."""
        self._crashes.pop(job, None)
        self._looked_back.discard(job)
        _, _, said = self._broken_off.pop(job, (0.0, "", ""))
        if said:
            self._on_mended(said)
