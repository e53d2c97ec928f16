"""The state of every frame of a job and how fast they come, kept up to date by what is new: a look costs no whole pass."""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from dataclasses import dataclass

from .tracking import FrameFailure, FrameKey, JobTracker, Published

_WINDOW = 20
"""Frames/s is taken from this many last frames: it follows the job, and one slow frame does not shake it."""


@dataclass(frozen=True)
class FrameState:
    """One frame of one camera: waiting, rendering, done or failed."""

    camera: str | None
    frame: int
    state: str


class FrameTable:
    """Every frame of a job in order of camera and frame.

    Attributes:
        done: How many are done in the newest revision that wants them.
    """

    def __init__(self, tracker: JobTracker) -> None:
        self._tracker = tracker
        self._revisions = 0
        self._places: dict[FrameKey, int] = {}
        self._states: list[FrameState] = []
        self._marked: set[FrameKey] = set()
        self._drawn: tuple[FrameState, ...] | None = None
        self.done = 0

    def update(self, fresh: Iterable[Published]) -> None:
        """Take in new records; a new revision makes the table anew."""
        if self._revisions != len(self._tracker.revisions):
            self._build()
            return
        for found in fresh:
            if found.key in self._places and self._tracker.is_done(found.key):
                self._set(found.key, "done")

    def states(self, running: Iterable[FrameKey]) -> tuple[FrameState, ...]:
        """Return the state of every frame; these ones render now."""
        rendering = {key for key in running if key in self._places}
        marked = rendering | self.failed().keys()
        for key in self._marked | marked:
            self._set(key, self._state(key, rendering))
        self._marked = marked
        if self._drawn is None:
            self._drawn = tuple(self._states)
        return self._drawn

    def failed(self) -> dict[FrameKey, FrameFailure]:
        """Return the frames that failed for good, and why."""
        found = ((key, self._tracker.failure(key)) for key in self._tracker.failures)
        return {key: failure for key, failure in found if failure is not None and failure.final}

    def _build(self) -> None:
        self._revisions = len(self._tracker.revisions)
        keys = sorted(self._tracker.wanted, key=lambda key: (key[0] or "", key[1]))
        self._places = {key: place for place, key in enumerate(keys)}
        self._states = [FrameState(*key, self._state(key, set())) for key in keys]
        self.done = sum(state.state == "done" for state in self._states)
        self._marked, self._drawn = set(), None

    def _state(self, key: FrameKey, rendering: set[FrameKey]) -> str:
        if self._tracker.is_done(key):
            return "done"
        failure = self._tracker.failure(key)
        if failure is not None and failure.final:
            return "failed"
        return "rendering" if key in rendering else "waiting"

    def _set(self, key: FrameKey, state: str) -> None:
        place = self._places[key]
        before = self._states[place].state
        if before != state:
            self.done += (state == "done") - (before == "done")
            self._states[place] = FrameState(*key, state)
            self._drawn = None


class Pace:
    """How fast frames come, from the times of their records by the volume's clock.

    Attributes:
        last: When the newest frame was published; 0 while there is none.
    """

    def __init__(self) -> None:
        self._times: list[float] = []
        self.last = 0.0

    def add(self, fresh: Iterable[Published]) -> None:
        """Take in new records."""
        for found in fresh:
            bisect.insort(self._times, found.at)
            self.last = max(self.last, found.at)

    def per_second(self, *, since: float, now: float | None) -> float | None:
        """Return frames a second: of the last few frames, or on average while their times do not tell them apart.

        Args:
            since: When the job was submitted or retried last.
            now: The present while something renders, None when nothing does.
        """
        count = len(self._times) - bisect.bisect_left(self._times, since)
        if not count:
            return None
        begin = since
        if count > _WINDOW:
            # Records that were found together may have one time: who comes late knows only when the last of them came.
            begin = self._times[-_WINDOW]
            recent = len(self._times) - bisect.bisect_right(self._times, begin)
            begin, count = (begin, recent) if recent else (since, count)
        end = self._times[-1] if now is None else max(now, self._times[-1])
        return count / (end - begin) if end > begin else None
