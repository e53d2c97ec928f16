"""The strip of frames: one cell a frame while they fit, else as many frames a cell as it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .cli_text import Glyphs, Line, Span, cells, clean, fit
from .frame_cells import PARTIAL, STATES, cell_state

if TYPE_CHECKING:
    from .frame_table import FrameState

_WIDEST_CELL = 4
_LONGEST_NAME = 14


@dataclass(frozen=True)
class Strip:
    """A drawn strip.

    Attributes:
        lines: Without indentation, at most as wide as was asked for.
        per_cell: The most frames that one cell stands for.
    """

    lines: tuple[Line, ...]
    per_cell: int


def draw_strip(frames: Sequence[FrameState], *, width: int, rows: int, glyphs: Glyphs) -> Strip:
    """Draw every frame, camera by camera.

    Args:
        width: Cells of a line.
        rows: Lines that may be used.
    """
    cameras: dict[str | None, list[FrameState]] = {}
    for frame in frames:
        cameras.setdefault(frame.camera, []).append(frame)
    shown = dict(list(cameras.items())[: rows if len(cameras) <= rows else max(1, rows - 1)])
    names = {camera: fit(clean(camera or "scene"), _LONGEST_NAME, glyphs) for camera in shown}
    label = max(cells(name) for name in names.values()) + 1 if len(cameras) > 1 else 0
    lines: list[Line] = []
    most = 1
    for camera, of_camera in shown.items():
        part = _draw_camera(of_camera, width=width - label, rows=max(1, rows // len(shown)), glyphs=glyphs)
        most = max(most, part.per_cell)
        for number, line in enumerate(part.lines):
            name = names[camera] if label and number == 0 else ""
            lines.append((Span(name + " " * (label - cells(name))), *line) if label else line)
    hidden = [frame for camera, group in cameras.items() if camera not in shown for frame in group]
    if hidden:
        done = sum(frame.state == "done" for frame in hidden)
        rest = len(cameras) - len(shown)
        text = f"and {rest} more camera{'s' * (rest > 1)}: {done} of {len(hidden)} frames done"
        lines.append((Span(fit(text, width, glyphs), "dim"),))
    return Strip(tuple(lines), most)


def legend(frames: Sequence[FrameState], strip: Strip, *, width: int, glyphs: Glyphs) -> Line:
    """Say what the signs mean, with the number of frames of each."""
    counts = dict.fromkeys(STATES, 0)
    for frame in frames:
        counts[frame.state] += 1
    spans: list[Span] = []
    for state in STATES:
        if counts[state]:
            gap = Span("   " if spans else "")
            spans += [gap, Span(f"{glyphs.of(state)} ", state), Span(f"{counts[state]} {state}", "dim")]
    if strip.per_cell > 1:
        note = f"   a cell is {strip.per_cell} frames"
        if sum(cells(span.text) for span in spans) + len(note) <= width:
            spans.append(Span(note, "dim"))
    return tuple(spans)


def _draw_camera(frames: list[FrameState], *, width: int, rows: int, glyphs: Glyphs) -> Strip:
    numbers = max(len(str(frames[0].frame)), len(str(frames[-1].frame)))
    room = max(8, width - 2 * numbers - 2)
    per_cell = -(-len(frames) // (room * rows))
    groups = [frames[start : start + per_cell] for start in range(0, len(frames), per_cell)]
    per_row = _row_length(len(groups), room)
    cell = min(_WIDEST_CELL, room // per_row) if len(groups) == per_row else 1
    lines = []
    for start in range(0, len(groups), per_row):
        row = groups[start : start + per_row]
        spans = _cells([cell_state({frame.state for frame in group}) for group in row], cell, glyphs)
        first, last = row[0][0].frame, row[-1][-1].frame
        lines.append((Span(f"{first:>{numbers}} ", "dim"), *spans, Span(f" {last}", "dim")))
    return Strip(tuple(lines), per_cell)


def _row_length(groups: int, room: int) -> int:
    """Even rows; round ones where that costs no row."""
    if groups <= room:
        return groups
    even = -(-groups // -(-groups // room))
    rounded = -(-even // 10) * 10
    return rounded if rounded <= room else even


def _cells(states: Sequence[str], cell: int, glyphs: Glyphs) -> list[Span]:
    """Draw cells with a gap between wide ones; neighbours of one state share a span."""
    spans: list[Span] = []
    for number, state in enumerate(states):
        text = glyphs.of(state) * max(1, cell - 1)
        if cell > 1 and number + 1 < len(states):
            text += " "
        style = "done" if state == PARTIAL else state
        if spans and spans[-1].style == style:
            spans[-1] = Span(spans[-1].text + text, style)
        else:
            spans.append(Span(text, style))
    return spans
