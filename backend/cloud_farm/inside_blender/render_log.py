"""What Blender says while it renders: the text of its log, and statistics as they come."""

from __future__ import annotations

import ctypes
import os
import re
import sys
import time
from pathlib import Path

import bpy  # type: ignore[import-not-found,unused-ignore]
import scene_setup
import volume

_SAMPLE = re.compile(r"Sample (?P<sample>\d+)/(?P<samples>\d+)")
_REMAINING = re.compile(r"Remaining:\s?(?:(?P<hours>\d+):)?(?P<minutes>\d+):(?P<seconds>\d+(?:\.\d+)?)")


class RenderLog:
    """Reads this process' own output back from the file that the supervisor sends it to (CLOUD_FARM_LOG)."""

    def __init__(self) -> None:
        name = os.environ.get("CLOUD_FARM_LOG")
        self._path = Path(name) if name else None
        self._mark = 0

    def mark(self) -> None:
        """Remember the present end of the log."""
        self.flush()
        self._mark = self._path.stat().st_size if self._path else 0

    def since_mark(self) -> str:
        """Return what was written since the mark; empty if nobody keeps a log."""
        if self._path is None:
            return ""
        self.flush()
        with open(self._path, "rb") as stream:
            stream.seek(self._mark)
            return stream.read().decode("utf-8", "replace")

    @staticmethod
    def flush() -> None:
        """Blender writes through C's buffers, Python through its own."""
        sys.stdout.flush()
        sys.stderr.flush()
        if os.name == "posix":
            ctypes.CDLL(None).fflush(None)


class StatsListener:
    """Turns Cycles' statistics into progress lines, at most one a second.

    Attributes:
        started: When the frame began, seconds since 1970. Each line has it: who comes late reads only the log's end.
    """

    def __init__(self) -> None:
        self._frame = 0
        self.started = 0.0
        self._last = 0.0
        bpy.app.handlers.render_stats.append(self._listen)

    def begin(self, frame: int) -> None:
        """The next statistics are about this frame."""
        self._frame = frame
        self.started = round(time.time(), 3)

    def close(self) -> None:
        """Stop listening."""
        if self._listen in bpy.app.handlers.render_stats:
            bpy.app.handlers.render_stats.remove(self._listen)

    def _listen(self, *arguments: object) -> None:
        text = next((item for item in arguments if isinstance(item, str)), "")
        match = _SAMPLE.search(text)
        now = time.monotonic()
        if match is None or now - self._last < 1.0:
            return
        self._last = now
        volume.emit(
            "sample",
            frame=self._frame,
            started=self.started,
            sample=int(match["sample"]),
            samples=int(match["samples"]),
            remaining=_remaining(text),
            peak_memory=scene_setup.peak_memory(),
        )


def _remaining(text: str) -> float | None:
    match = _REMAINING.search(text)
    if match is None:
        return None
    return int(match["hours"] or 0) * 3600 + int(match["minutes"]) * 60 + float(match["seconds"])
