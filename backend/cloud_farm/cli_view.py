"""How a followed job looks: a live picture in a terminal, plain lines elsewhere, JSON lines for programs."""

from __future__ import annotations

import os
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import click

from .cli_common import plain_event, print_json
from .events import Event

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

    from .status import FrameState, JobStatus

_STYLES = {"done": "green", "failed": "bold red", "rendering": "bold cyan", "waiting": "bright_black"}
_GLYPHS = {"done": "█", "failed": "✗", "rendering": "▒", "waiting": "·"}
_ASCII = {"done": "#", "failed": "x", "rendering": ">", "waiting": "."}
_WORST_FIRST = ("failed", "rendering", "waiting", "done")


class View(Protocol):
    """Shows a job while it is followed."""

    def event(self, event: Event) -> None:
        """Take one event."""

    def status(self, status: JobStatus) -> None:
        """Take a whole picture."""


def view_for(*, as_json: bool, live: bool) -> AbstractContextManager[View]:
    """Return the view that fits the output."""
    if as_json:
        return _Open(JsonView())
    return LiveView() if live else _Open(PlainView())


class JsonView:
    """One JSON object a line."""

    def event(self, event: Event) -> None:
        """Write the event."""
        print_json(event.to_json())

    def status(self, status: JobStatus) -> None:
        """Nothing: the events say it."""


class PlainView:
    """One line for each thing that a person wants to know."""

    def event(self, event: Event) -> None:
        """Write the event as a sentence."""
        line = plain_event(event)
        if line:
            click.echo(line)

    def status(self, status: JobStatus) -> None:
        """Nothing: the events say it."""


class LiveView:
    """A picture that is drawn again in place."""

    def __init__(self, console: Console | None = None) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = console or Console(highlight=False)
        self._live: Live = Live(console=self._console, refresh_per_second=8, transient=False)
        self._began = time.monotonic()
        self._notes: list[str] = []

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def event(self, event: Event) -> None:
        """Keep problems for the picture; the rest shows in it anyhow."""
        data = event.to_json()
        if data["event"] in ("finding", "note", "frame_failed") and (line := plain_event(event)):
            self._notes.append(line)

    def status(self, status: JobStatus) -> None:
        """Draw the picture."""
        self._live.update(picture(status, self._console, elapsed=time.monotonic() - self._began, notes=self._notes))


def picture(status: JobStatus, console: Console, *, elapsed: float, notes: list[str]) -> RenderableType:
    """Draw a job: title, strip of frames, figures, what each Blender does, the last file, problems."""
    from rich.console import Group
    from rich.text import Text

    glyphs = _GLYPHS if _unicode(console) else _ASCII
    style = {"done": "bold green", "failed": "bold red", "cancelled": "bold yellow", "paused": "bold yellow"}.get(
        status.state, "bold cyan"
    )
    title = Text.assemble(
        (status.title, "bold"), "  ", (status.state, style), "  ", (f"{status.id} on {status.farm}", "bright_black")
    )
    rows: list[Any] = [title, strip(status.frame_states, console.width, glyphs), Text(figures(status, elapsed))]
    for running in status.running:
        sample = f"sample {running.sample}/{running.samples}" if running.sample is not None else "starting"
        camera = f" {running.camera}" if running.camera else ""
        rows.append(Text(f"  frame {running.frame}{camera}  {sample}", style="cyan"))
    if status.last_file:
        rows.append(Text(f"  {_short(status.last_file, console.width - 4)}", style="bright_black"))
    problems = list(dict.fromkeys([*notes, *status.messages]))
    rows += [Text(f"! {line}", style="yellow") for line in problems[-4:]]
    for row in rows:
        row.no_wrap = row is title or row in rows[2:3]
        row.overflow = "ellipsis" if row.no_wrap else "fold"
    return Group(*rows)


def strip(frames: tuple[FrameState, ...], width: int, glyphs: dict[str, str]) -> Any:
    """Draw the frames as cells: one each while they fit, else as many to a cell as it takes; the worst shows."""
    from rich.text import Text

    if not frames:
        return Text("no frames yet")
    rows, room = 4, max(10, width)
    per_cell = -(-len(frames) // (rows * room)) if len(frames) > rows * room else 1
    text = Text()
    for start in range(0, len(frames), per_cell):
        states = {frame.state for frame in frames[start : start + per_cell]}
        state = next(state for state in _WORST_FIRST if state in states)
        text.append(glyphs[state], style=_STYLES[state])
    return text


def figures(status: JobStatus, elapsed: float) -> str:
    """Write the numbers in one line that fits 80 columns."""
    parts = [f"{status.frames_done}/{status.frames_total} frames"]
    if status.frames_failed:
        parts.append(f"{status.frames_failed} failed")
    if status.frames_per_second:
        rate = status.frames_per_second
        parts.append(f"{rate:.2f} frames/s" if rate >= 0.1 else f"{1 / rate:.0f} s/frame")
    parts.append(f"{clock(elapsed)} so far" if not status.is_final else clock(elapsed))
    if status.eta_seconds is not None and not status.is_final:
        parts.append(f"{clock(status.eta_seconds)} left")
    return "  ".join(parts)


def clock(seconds: float) -> str:
    """Write a duration as 4 s, 3:07 or 1:02:09."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def _short(path: str, width: int) -> str:
    home = str(Path.home()) + os.sep
    text = f"~{os.sep}{path.removeprefix(home)}" if path.startswith(home) else path
    return text if len(text) <= width else f"…{text[-(width - 1) :]}"


def _unicode(console: Console) -> bool:
    return (console.encoding or sys.stdout.encoding or "").lower().startswith("utf")


class _Open:
    """A view that needs no opening or closing."""

    def __init__(self, view: View) -> None:
        self._view = view

    def __enter__(self) -> View:
        return self._view

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None
