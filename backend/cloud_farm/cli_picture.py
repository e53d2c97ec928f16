"""The picture of a job: what a live view draws again and again, and `status` once. Plain data, drawn by others."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .cli_strip import draw_strip, legend
from .cli_text import Glyphs, Line, Span, cells, clean, clock, crop, fit, line_cells, short_path, spread, wrapped

if TYPE_CHECKING:
    from .running import RunningFrame
    from .status import JobStatus

WIDEST = 120
NARROWEST = 40
_PROBLEM_LINES = 5
STATE_STYLES = {
    "done": "good", "failed": "bad", "cancelled": "warning", "cancelling": "warning", "paused": "warning",
    "interrupted": "bad", "unreadable": "bad", "not on volume": "warning",
}  # fmt: skip


@dataclass(frozen=True)
class Canvas:
    """Where and how a picture is drawn.

    Attributes:
        width: Cells of the terminal.
        height: Its lines; a live picture never grows beyond them.
        late: Seconds since the status was read: clocks go on between two looks.
        notes: Problems that came up before the job was on the farm.
        live: Somebody watches; says how to leave.
    """

    width: int
    height: int
    glyphs: Glyphs
    late: float = 0.0
    notes: Sequence[str] = ()
    live: bool = False


def draw(status: JobStatus, canvas: Canvas) -> list[Line]:
    """Draw a job: title, figures, strip of frames, what each Blender does, the last file, problems and what to do."""
    return Picture(status).lines(canvas)


class Picture:
    """One status, drawn again and again while clocks go on: what depends on every frame is drawn once for each size."""

    def __init__(self, status: JobStatus) -> None:
        self._status = status
        self._strips: dict[tuple[int, int], list[Line]] = {}

    def lines(self, canvas: Canvas) -> list[Line]:
        """Draw it now."""
        status, width = self._status, max(NARROWEST, min(canvas.width, WIDEST)) - 1
        head = [
            *_title(status, width), (), _figures(status, canvas), *_stages(status, width), (),
            *self._strip(canvas, width - 2),
        ]  # fmt: skip
        tail = _tail(status, canvas, width)
        room = canvas.height - len(head) - len(tail) - 3
        worst = _problems(status, canvas, width, most=_PROBLEM_LINES)
        workers = _workers(status, canvas, width, most=max(1, room - len(worst)))
        problems = _problems(status, canvas, width, most=max(2, room - len(workers)))
        lines = [*head, *_block(workers), *_block(problems), *_block(tail)]
        return [line if line and line[-1].style == "title" else crop(line, width + 1) for line in lines]

    def _strip(self, canvas: Canvas, width: int) -> list[Line]:
        size = (width, _strip_rows(canvas))
        if size not in self._strips:
            self._strips = {size: self._draw_strip(canvas, *size)}
        return self._strips[size]

    def _draw_strip(self, canvas: Canvas, width: int, rows: int) -> list[Line]:
        frames = self._status.frame_states
        strip = draw_strip(frames, width=width, rows=rows, glyphs=canvas.glyphs)
        lines: list[Line] = [(Span(" "), *line) for line in strip.lines]
        if frames:
            lines.append((Span(" "), *legend(frames, strip, width=width, glyphs=canvas.glyphs)))
        return lines


def elapsed(status: JobStatus, *, late: float = 0.0) -> float:
    """Return how long the job has been worked on since it was last submitted or retried, in seconds."""
    if not status.started_at:
        return 0.0
    end = status.last_frame_at if status.is_final else status.read_at + late
    return max(0.0, end - status.started_at)


def rate_text(frames_per_second: float) -> str:
    """Write a speed so that slow renders are readable, too."""
    if frames_per_second >= 10:
        return f"{frames_per_second:.0f} frames/s"
    if frames_per_second >= 0.1:
        return f"{frames_per_second:.2g} frames/s"
    return f"{clock(1 / frames_per_second)} a frame"


def advice(status: JobStatus) -> list[str]:
    """Say what a person can do about a job that stands still; each a whole command line after a colon."""
    if status.stalled:
        return []  # its message says it
    return {
        "failed": [
            f"See why: cloud-farm logs {status.id}",
            f"Render what is missing: cloud-farm retry {status.id}",
        ],
        "cancelled": [f"Render the rest: cloud-farm retry {status.id}"],
        "paused": [f"Go on: cloud-farm resume {status.id}"],
    }.get(status.state, [])


def _block(lines: list[Line]) -> list[Line]:
    return [(), *lines] if lines else []


def _strip_rows(canvas: Canvas) -> int:
    return max(1, min(10, canvas.height // 6))


def _title(status: JobStatus, width: int) -> list[Line]:
    state = STATE_STYLES.get(status.state, "busy")
    right = (Span(status.state, state), Span(f" on {clean(status.farm)} ", "dim"))
    revision = f"  revision {status.revision}" if status.revision > 1 else ""
    return spread((Span(" "), Span(clean(status.id), "title"), Span(revision, "dim")), right, width)


def _figures(status: JobStatus, canvas: Canvas) -> Line:
    share = 100 * status.frames_done // status.frames_total if status.frames_total else 0
    parts = [f"{status.frames_done} of {status.frames_total} frames", f"{share} %"]
    if status.frames_per_second:
        parts.append(rate_text(status.frames_per_second))
    if spent := elapsed(status, late=canvas.late):
        parts.append(f"took {clock(spent)}" if status.is_final else f"{clock(spent)} so far")
    if status.eta_seconds is not None and not status.is_final:
        parts.append(f"{clock(max(0.0, status.eta_seconds - canvas.late))} left")
    while len(parts) > 2 and cells("  ".join(parts)) + 2 > canvas.width:
        del parts[2]  # the speed goes first, the time that is left stays
    gap = "   " if cells("   ".join(parts)) + 2 <= canvas.width else "  "
    first, *rest = parts
    return (Span(f" {first}", "title"), *(Span(gap + part) for part in rest))


def _stages(status: JobStatus, width: int) -> list[Line]:
    """Say where the time of a chunk goes; the last stages are what one wants to know where there is no room for all."""
    parts = [f"{stage} {clock(seconds)}" for stage, seconds in status.stages.items()]
    while parts and cells("   ".join([" a chunk:", *parts])) > width:
        del parts[0]
    return [(Span("   ".join([" a chunk:", *parts]), "dim"),)] if parts else []


def _workers(status: JobStatus, canvas: Canvas, width: int, *, most: int) -> list[Line]:
    numbers = max((len(str(item.frame)) for item in status.running), default=1)
    now = status.read_at + canvas.late
    lines = [_worker(item, canvas, width, numbers, now) for item in status.running]
    if not status.is_final:
        rendering = {item.chunk for item in status.running}
        lines += [
            _starting(task.id, canvas) for task in status.tasks if task.phase == "running" and task.id not in rendering
        ]
    if len(lines) > most:
        lines = [*lines[: most - 1], (Span(f"   and {len(lines) - most + 1} more at work", "dim"),)]
    return lines


def _starting(task: str, canvas: Canvas) -> Line:
    text = "preparing the scene" if task == "prepare" else f"Blender starts on {task}"
    return (Span(f" {canvas.glyphs.worker} ", "rendering"), Span(text, "dim"))


def _worker(item: RunningFrame, canvas: Canvas, width: int, numbers: int, now: float) -> Line:
    camera = f" {fit(clean(item.camera), 14, canvas.glyphs)}" if item.camera else ""
    head = (Span(f" {canvas.glyphs.worker} ", "rendering"), Span(f"frame {item.frame:>{numbers}}{camera}  "))
    clock_text = f"  {clock(now - item.started_at):>5}" if item.started_at is not None else ""
    if item.sample is None or not item.samples:
        return (*head, Span(f"getting ready{clock_text}", "dim"))
    digits = len(str(item.samples))
    tail = f"  {item.sample:>{digits}}/{item.samples} samples{clock_text}"
    room = min(60, width - line_cells(head) - cells(tail) - 1)
    if room < 6:
        return (*head, Span(tail.strip(), "dim"))
    full = min(room, room * item.sample // item.samples)
    bar = (Span(canvas.glyphs.bar * full, "rendering"), Span(canvas.glyphs.rest * (room - full), "dim"))
    return (*head, *bar, Span(tail, "dim"))


def _problems(status: JobStatus, canvas: Canvas, width: int, *, most: int) -> list[Line]:
    lines: list[Line] = []
    texts = list(dict.fromkeys([*canvas.notes, *status.messages]))
    for number, text in enumerate(texts, start=1):
        lines += wrapped(text, width - 1, first=(Span(" ! ", "warning"),))
        if len(lines) > most:
            rest = f" and {len(texts) - number} more" if number < len(texts) else ""
            more = fit(
                f"   {canvas.glyphs.ellipsis}{rest}; all of it: cloud-farm status {status.id}", width, canvas.glyphs
            )
            return [*lines[: most - 1], (Span(more, "dim"),)]
    return lines


def _tail(status: JobStatus, canvas: Canvas, width: int) -> list[Line]:
    lines: list[Line] = []
    if status.last_file:
        name = os.path.basename(status.last_file)  # noqa: PTH119 - the path may be another system's
        lines.append(_named(" last  ", status.last_file if len(name) < width else name, canvas, width))
    for sentence in advice(status):
        what, _, command = sentence.partition(": ")
        one = (Span(f" {what}: ", "dim"), Span(command, "title"))
        # A command is never cut: it is there to be copied.
        lines += [one] if line_cells(one) < width else [(Span(f" {what}:", "dim"),), (Span(f" {command}", "title"),)]
    if canvas.live and not status.is_final:
        lines.append((Span(" Ctrl-C stops watching; the job goes on.", "dim"),))
    return lines


def _named(label: str, path: str, canvas: Canvas, width: int) -> Line:
    return (Span(label, "dim"), Span(short_path(path, width - cells(label) - 1, canvas.glyphs)))
