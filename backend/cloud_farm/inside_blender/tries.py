"""What earlier attempts tell about frames: which are done, which may be tried again, which are given up (contract §4).

A marker stays behind for each frame that an attempt started and did not finish; the attempt's end says why.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import volume

CRASHES = frozenset({"SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE"})
MOST_CRASHES = 2
MOST_UNEXPLAINED = 6
_MARKER = re.compile(r"(?P<slug>[a-z0-9-]+)\.(?P<frame>-?\d+)\.(?P<attempt>[a-z0-9]+\.[0-9a-f]{8})")


@dataclass
class FrameTries:
    """How often a frame was begun in vain.

    Attributes:
        failed: It failed in a Blender that lived on.
        crashed: Blender died of a crash while it rendered.
        unexplained: Killed from outside, or the attempt has no end.
        last_message: What the last clean failure said.
    """

    failed: int = 0
    crashed: int = 0
    unexplained: int = 0
    last_message: str = ""
    signals: Counter[str] = field(default_factory=Counter)

    def verdict(self, frame_tries: int) -> str:
        """Say why the frame is given up; empty while it may be tried again."""
        if self.crashed >= MOST_CRASHES:
            names = ", ".join(sorted(self.signals))
            return f"Blender crashed {self.crashed} times while it rendered this frame ({names}). The log has its last words."
        if self.unexplained >= MOST_UNEXPLAINED:
            if self.last_message:
                return f"Blender gave up {self.unexplained} times at this frame. {self.last_message}"
            return (
                f"Blender was killed {self.unexplained} times while it rendered this frame, probably for lack of memory."
                " Lower the resolution or the textures' size, or render on a bigger machine."
            )
        if self.failed >= frame_tries:
            return self.last_message or f"The frame failed {self.failed} times."
        return ""


def read_tries(paths: volume.JobPaths, slug: str, frames: list[int], *, prefix: str) -> dict[int, FrameTries]:
    """Count the tries of a chunk's frames.

    Args:
        prefix: Only attempts whose id begins so count (`r2c`): another revision is another matter.
    """
    wanted = set(frames)
    tries: dict[int, FrameTries] = {}
    ends: dict[str, dict[str, Any] | None] = {}
    for name in _names(paths):
        match = _MARKER.fullmatch(name)
        if (
            match is None
            or match["slug"] != slug
            or int(match["frame"]) not in wanted
            or not match["attempt"].startswith(prefix)
        ):
            continue
        attempt = match["attempt"]
        if attempt not in ends:
            ends[attempt] = _end(paths, attempt)
        _count(tries.setdefault(int(match["frame"]), FrameTries()), int(match["frame"]), ends[attempt])
    return tries


def _names(paths: volume.JobPaths) -> list[str]:
    try:
        return sorted(path.name for path in paths.markers.iterdir())
    except FileNotFoundError:
        return []


def _end(paths: volume.JobPaths, attempt: str) -> dict[str, Any] | None:
    try:
        return volume.read_json(paths.attempt_end(attempt))
    except (OSError, ValueError):
        return None


def _count(tries: FrameTries, frame: int, end: dict[str, Any] | None) -> None:
    if end is None:
        tries.unexplained += 1
        return
    clean = next((item for item in end.get("failed", ()) if item.get("frame") == frame), None)
    death = end.get("death") or {}
    if clean is not None:
        tries.failed += 1
        tries.last_message = str(clean.get("message", ""))
    elif end.get("exit") == volume.STOPPED or death.get("signal") == "SIGTERM":
        return
    elif not death and end.get("exit") in (volume.UNHANDLED, volume.DEVICE_ERROR):
        # Blender ended by itself at this frame; left uncounted, one such frame would keep the rest of its chunk out for ever.
        tries.unexplained += 1
        tries.last_message = str(end.get("reason", ""))
    elif death.get("frame") != frame:
        return
    elif death.get("signal") in CRASHES:
        tries.crashed += 1
        tries.signals[str(death["signal"])] += 1
    else:
        tries.unexplained += 1
