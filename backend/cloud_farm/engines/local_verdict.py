"""What the local engine makes of an attempt's end (contract §4). Pure."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

DONE, NO_DEVICE, SOME_FAILED, NEVER, STOPPED = 0, 11, 12, 78, 143
MOST_STRIKES = 20
_LONGEST_WAIT = 30.0
_FRAME_WAIT = 1.0
_REASONS = {
    10: "Blender ended unexpectedly",
    11: "the wanted device is not on this computer",
    12: "frames failed",
    13: "the output can't be written",
    16: "the device failed",
    78: "it can't be rendered",
    143: "it was stopped from outside",
}


class Verdict(NamedTuple):
    """What becomes of a task.

    Attributes:
        phase: done, failed, stopped or backing_off.
        strike: The attempt counts against the limit; one that blames a frame does not, frames are counted by themselves.
        wait_seconds: How long to wait before the next attempt.
    """

    phase: str
    message: str = ""
    strike: bool = False
    wait_seconds: float = 0.0


def judge(
    task_id: str,
    code: int,
    strikes: int,
    end: Mapping[str, Any],
    *,
    chance: Callable[[float, float], float] = random.uniform,
) -> Verdict:
    """Decide whether a task is over or tried again.

    Args:
        code: The supervisor's exit code; negative: the signal that ended it.
        strikes: How many of its attempts ended for no frame's reason so far.
        end: What the attempt wrote about its end; empty if it could not.
        chance: Draws the jitter, so that chunks that failed together do not start together.
    """
    if code == DONE:
        return Verdict("done")
    reason = explain(task_id, code, end)
    if code in (NEVER, NO_DEVICE):
        return Verdict("failed", reason)
    blames_frame = code == SOME_FAILED or (end.get("death") or {}).get("frame") is not None
    if not blames_frame and strikes + 1 >= MOST_STRIKES:
        return Verdict("failed", f"{reason} That was attempt {strikes + 1}; there are no more.", strike=True)
    wait = _FRAME_WAIT if blames_frame else min(_LONGEST_WAIT, 2.0**strikes)
    wait *= chance(0.5, 1.0)
    return Verdict("backing_off", f"{reason} It is tried again.", strike=not blames_frame, wait_seconds=wait)


def explain(task_id: str, code: int, end: Mapping[str, Any]) -> str:
    """Say in plain words how an attempt ended."""
    if code < 0:
        return f"{_title(task_id)}: the process that watches Blender was ended by {_signal_name(-code)}."
    if end.get("reason"):
        return f"{_title(task_id)}: {end['reason']}"
    return f"{_title(task_id)}: {_REASONS.get(code, 'what watches Blender ended unexpectedly')} (exit code {code})."


def _title(task_id: str) -> str:
    return "Preparing the scene" if task_id == "prepare" else f"Chunk {task_id}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
