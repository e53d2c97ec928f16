"""How a followed job looks: a live picture in a terminal, plain lines elsewhere, JSON lines for programs."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

import click

from .cli_common import plain_event, print_json
from .cli_picture import Canvas, draw
from .cli_text import STYLES, Line, Span, clean, clock, fit, glyphs_for, size, wrapped
from .events import Event, Stage, Transfer

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live
    from rich.text import Text

    from .status import JobStatus

_NOTES = 50


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
            click.echo(clean(line))

    def status(self, status: JobStatus) -> None:
        """Nothing: the events say it."""


class LiveView:
    """A picture that is drawn again in place, by a thread of rich: its clocks go on while we look at the volume."""

    def __init__(self, console: Console | None = None) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = console or Console(highlight=False, markup=False, emoji=False)
        self._glyphs = glyphs_for(self._console.file)
        self._status: JobStatus | None = None
        self._read = time.monotonic()
        self._seen: dict[tuple[str, int], float] = {}
        self._notes: list[str] = []
        self._live: Live = Live(
            console=self._console, get_renderable=self._render, refresh_per_second=8, redirect_stdout=False
        )

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def event(self, event: Event) -> None:
        """Keep problems for the picture; the rest shows in it anyhow."""
        if event.kind in ("finding", "note") and (line := plain_event(event)) and line not in self._notes:
            self._notes = [*self._notes, line][-_NOTES:]

    def status(self, status: JobStatus) -> None:
        """Draw this picture from now on."""
        now = time.monotonic()
        self._seen = {(run.attempt, run.frame): self._seen.get((run.attempt, run.frame), now) for run in status.running}
        self._status, self._read = status, now

    def _render(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        status, now = self._status, time.monotonic()
        if status is None:
            return Text("")
        canvas = Canvas(
            self._console.width,
            self._console.height,
            self._glyphs,
            late=0.0 if status.is_final else now - self._read,
            busy_for={key: now - since for key, since in self._seen.items()},
            notes=self._notes,
            live=not status.is_final,
        )
        return Group(*(rich_text(line) for line in draw(status, canvas)))


class StepView:
    """The steps of a submission: one line with a spinner that is gone afterwards; what the artist should know stays."""

    def __init__(self, console: Console | None = None) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = console or Console(highlight=False, markup=False, emoji=False)
        self._glyphs = glyphs_for(self._console.file)
        self._step, self._began = "", time.monotonic()
        self._live: Live = Live(
            console=self._console,
            get_renderable=self._render,
            refresh_per_second=8,
            redirect_stdout=False,
            transient=True,
        )

    def __enter__(self) -> StepView:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def __call__(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, Stage):
            self._step, self._began = clean(event.message or event.stage), time.monotonic()
        elif isinstance(event, Transfer):
            self._step = f"Sending {clean(event.file)}, {size(event.done_bytes)} of {size(event.total_bytes)}"
        elif event.kind in ("finding", "note") and (text := plain_event(event)):
            for line in wrapped(text, min(self._console.width, 120) - 1, first=(Span(" ! ", "warning"),)):
                self._console.print(rich_text(line))

    def _render(self) -> RenderableType:
        now = time.monotonic()
        sign = self._glyphs.spinner[int(now * 8) % len(self._glyphs.spinner)]
        watch = f"  {clock(now - self._began)}" if now - self._began >= 2 else ""
        step = fit(self._step, self._console.width - 4 - len(watch), self._glyphs)
        return rich_text((Span(f" {sign} ", "busy"), Span(step), Span(watch, "dim")))


def rich_text(line: Line) -> Text:
    """Turn a line into what rich draws, never wrapped."""
    from rich.text import Text

    words = {
        name: " ".join([k for k in ("bold", "dim") if style.get(k)] + [style.get("fg", "")]).strip()
        for name, style in STYLES.items()
    }
    return Text.assemble(*((span.text, words.get(span.style, "")) for span in line), no_wrap=True, overflow="crop")


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
