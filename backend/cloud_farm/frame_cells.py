"""The frames of a job in cells, for who draws them as a strip: one cell a frame while they fit, else as many as it takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .frame_table import FrameState

STATES = ("done", "rendering", "waiting", "failed")
PARTIAL = "partial"
MOST_CELLS = 120
"""Of one camera: more is more than a panel can show, and each has to reach Blender."""
_MOST_CAMERAS = 8


@dataclass(frozen=True)
class FrameCell:
    """Frames that stand beside each other.

    Attributes:
        first, last: Frames.
        counts: How many of them are done, rendering, waiting and failed, in the order of `STATES`.
    """

    first: int
    last: int
    counts: tuple[int, ...]

    @property
    def state(self) -> str:
        """What the cell looks like."""
        return cell_state([state for state, count in zip(STATES, self.counts, strict=True) if count])


def cell_state(states: Collection[str]) -> str:
    """Return the state of frames that share a cell: trouble shows first, then work, then how far it is."""
    for state in ("failed", "rendering"):
        if state in states:
            return state
    different = set(states)
    return different.pop() if len(different) == 1 else PARTIAL


def frame_cells(frames: Sequence[FrameState]) -> list[dict[str, Any]]:
    """Return the cells of each camera as plain data: `{camera, cells: [[first, last, done, rendering, waiting, failed], …]}`."""
    cameras: dict[str | None, list[FrameState]] = {}
    for frame in frames:
        cameras.setdefault(frame.camera, []).append(frame)
    return [
        {"camera": camera, "cells": [list(_flat(_cell(group))) for group in _groups(found)]}
        for camera, found in list(cameras.items())[:_MOST_CAMERAS]
    ]


def read_cells(rows: Iterable[Sequence[int]], *, most: int) -> list[FrameCell]:
    """Return the cells of one camera; neighbours are joined until there are at most so many."""
    cells = [FrameCell(row[0], row[1], tuple(row[2:])) for row in rows]
    size = max(1, -(-len(cells) // max(1, most)))
    return [_join(cells[start : start + size]) for start in range(0, len(cells), size)]


def _groups(frames: Sequence[FrameState]) -> Iterable[Sequence[FrameState]]:
    size = max(1, -(-len(frames) // MOST_CELLS))
    return (frames[start : start + size] for start in range(0, len(frames), size))


def _cell(frames: Sequence[FrameState]) -> FrameCell:
    counts = Counter(frame.state for frame in frames)
    return FrameCell(frames[0].frame, frames[-1].frame, tuple(counts[state] for state in STATES))


def _flat(cell: FrameCell) -> tuple[int, ...]:
    return cell.first, cell.last, *cell.counts


def _join(cells: Sequence[FrameCell]) -> FrameCell:
    counts = tuple(sum(column) for column in zip(*(cell.counts for cell in cells), strict=True))
    return FrameCell(cells[0].first, cells[-1].last, counts)
