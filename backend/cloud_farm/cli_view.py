"""How a followed job looks: a live picture in a terminal, plain lines elsewhere, JSON lines for programs."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

import click

from .cli_common import plain_event, print_json
from .cli_picture import Canvas, Picture
from .cli_text import STYLES, Line, Span, clean, clock, fit, glyphs_for, wrapped
from .events import Event, Stage, Transfer
from .units import size

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


class _Drawn:
    """Something that rich draws again in place, by a thread of its own: clocks go on while we look at the volume."""

    def __init__(self, console: Console | None, *, transient: bool) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = console or Console(highlight=False, markup=False, emoji=False)
        self._glyphs = glyphs_for(self._console.file)
        self._live: Live = Live(
            console=self._console,
            get_renderable=self._render,
            refresh_per_second=8,
            redirect_stdout=False,
            transient=transient,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def _render(self) -> RenderableType:
        raise NotImplementedError


class LiveView(_Drawn):
    """The picture of a job; its last state stays on the screen."""

    def __init__(self, console: Console | None = None) -> None:
        self._picture: tuple[JobStatus, Picture, float] | None = None
        self._notes: list[str] = []
        super().__init__(console, transient=False)

    def event(self, event: Event) -> None:
        """Keep problems for the picture; the rest shows in it anyhow."""
        if event.kind in ("finding", "note") and (line := plain_event(event)) and line not in self._notes:
            self._notes = [*self._notes, line][-_NOTES:]

    def status(self, status: JobStatus) -> None:
        """Draw this picture from now on."""
        self._picture = (status, Picture(status), time.monotonic())

    def _render(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        if self._picture is None:
            return Text("")
        status, picture, read = self._picture
        canvas = Canvas(
            self._console.width,
            self._console.height,
            self._glyphs,
            late=0.0 if status.is_final else time.monotonic() - read,
            notes=self._notes,
            live=not status.is_final,
        )
        return Group(*(rich_text(line) for line in picture.lines(canvas)))


class StepView(_Drawn):
    """The steps of a submission: one line with a spinner that is gone afterwards; what the artist should know stays."""

    def __init__(self, console: Console | None = None) -> None:
        self._step, self._began = "", time.monotonic()
        super().__init__(console, transient=True)

    def __call__(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, Stage):
            self._step, self._began = clean(event.message or event.stage), time.monotonic()
        elif isinstance(event, Transfer):
            self._step = transfer_text(event)
        elif event.kind in ("finding", "note") and (text := plain_event(event)):
            for line in wrapped(text, min(self._console.width, 120) - 1, first=(Span(" ! ", "warning"),)):
                self._console.print(rich_text(line))

    def _render(self) -> RenderableType:
        now = time.monotonic()
        sign = self._glyphs.spinner[int(now * 8) % len(self._glyphs.spinner)]
        watch = f"  {clock(now - self._began)}" if now - self._began >= 2 else ""
        step = fit(self._step, self._console.width - 4 - len(watch), self._glyphs)
        return rich_text((Span(f" {sign} ", "busy"), Span(step), Span(watch, "dim")))


def transfer_text(event: Transfer) -> str:
    """Write how far a transfer is; what moves comes last, where it may be cut off."""
    verb = "Sending" if event.direction == "upload" else "Fetching"
    rate = f", {size(event.bytes_per_second)}/s" if event.bytes_per_second else ""
    left = f", {clock(event.eta_seconds)} left" if event.eta_seconds is not None else ""
    files = f", {event.done_files} of {event.total_files} files" if event.total_files > 1 else ""
    return (
        f"{verb} {size(event.done_bytes)} of {size(event.total_bytes)}{rate}{left}{files}  {clean(event.file)}".rstrip()
    )


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
