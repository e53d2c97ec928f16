"""What the Blenders of a job do now, from their logs: each look reads only what was written since the last one."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .errors import NotFoundError
from .events import CancelToken
from .job_logs import PROGRESS
from .layout import JobLayout
from .parallel import for_each
from .stores import Store

_TAIL = 16 * 1024
_OUR_LINE = PROGRESS.encode()


@dataclass(frozen=True)
class RunningFrame:
    """A frame that a Blender renders now.

    Attributes:
        started_at: When it began by the clock of the machine that renders, seconds since 1970; None if it did not say.
    """

    attempt: str
    chunk: str
    camera: str | None
    frame: int
    sample: int | None = None
    samples: int | None = None
    started_at: float | None = None


class RunningFrames:
    """Reads the logs of a job's open attempts."""

    def __init__(self, store: Store, layout: JobLayout) -> None:
        self._store = store
        self._layout = layout
        self._logs: dict[str, _Log] = {}

    def read(self, attempts: Iterable[str]) -> tuple[RunningFrame, ...]:
        """Return what these attempts render."""
        self._logs = {attempt: self._logs.get(attempt) or _Log(attempt) for attempt in sorted(attempts)}
        for_each(self._logs.values(), self._read_on, workers=self._store.connections)
        return tuple(frame for log in self._logs.values() if (frame := log.frame()) is not None)

    def _read_on(self, log: _Log, _stop: CancelToken) -> None:
        try:
            tail = self._store.tail(self._layout.logs / f"{log.attempt}.log", known=log.size, most=_TAIL)
        except NotFoundError:
            return  # it has not begun yet
        log.take(tail.content, tail.size)


class _Log:
    """What is known of one attempt's log."""

    def __init__(self, attempt: str) -> None:
        self.attempt = attempt
        self.size = 0
        self._rest = b""
        self._last: dict[str, Any] = {}

    def take(self, content: bytes, size: int) -> None:
        """Take in what was written since the last look."""
        if size - len(content) != self.size:
            self._rest = b""  # something between was left out
        self.size = size
        *lines, self._rest = (self._rest + content).split(b"\n")
        for line in lines:
            self._take_event(_event(line))

    def _take_event(self, event: dict[str, Any]) -> None:
        kind = event.get("cloud_farm")
        if kind in ("frame_started", "sample"):
            self._last = {**self._last, **event} if self._last.get("frame") == event.get("frame") else event
        elif kind in ("frame_done", "frame_failed"):
            self._last = {}

    def frame(self) -> RunningFrame | None:
        """Return the frame that it is about, None between two."""
        last = self._last
        if "frame" not in last:
            return None
        return RunningFrame(
            self.attempt,
            self.attempt.rsplit(".", 1)[0],
            last.get("camera"),
            int(last["frame"]),
            last.get("sample"),
            last.get("samples"),
            last.get("started"),
        )


def _event(line: bytes) -> dict[str, Any]:
    if not line.startswith(_OUR_LINE):
        return {}
    try:
        data = json.loads(line)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}
