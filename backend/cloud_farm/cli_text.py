"""Text for terminals: safe, measured in cells, styled by name. Knows no job and no library but click's colours."""

from __future__ import annotations

import os
import textwrap
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import click

STYLES: Mapping[str, Mapping[str, Any]] = {
    "title": {"bold": True},
    "dim": {"dim": True},
    "done": {"fg": "green"},
    "rendering": {"fg": "cyan"},
    "waiting": {"dim": True},
    "failed": {"fg": "red", "bold": True},
    "good": {"fg": "green", "bold": True},
    "busy": {"fg": "cyan", "bold": True},
    "warning": {"fg": "yellow"},
    "bad": {"fg": "red", "bold": True},
}
"""Style name to click's words for it; rich understands the same ones."""


class Span(NamedTuple):
    """A piece of a line in one style."""

    text: str
    style: str = ""


Line = tuple[Span, ...]


@dataclass(frozen=True)
class Glyphs:
    """The signs that a terminal can show; each state has its own, so that colour is never needed to tell them apart."""

    done: str
    rendering: str
    waiting: str
    failed: str
    partial: str
    bar: str
    rest: str
    worker: str
    ellipsis: str
    spinner: str

    def of(self, state: str) -> str:
        """Return the sign of a frame's state."""
        return str(getattr(self, state))


UNICODE = Glyphs("█", "▒", "·", "✗", "▄", "━", "─", "▸", "…", "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
ASCII = Glyphs("#", ">", ".", "x", "=", "=", "-", ">", "...", "|/-\\")


def glyphs_for(stream: IO[str]) -> Glyphs:
    """Choose signs that the stream's encoding can write."""
    try:
        "█▒▄✗━▸⠋…".encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE


def is_terminal(stream: IO[str]) -> bool:
    """Tell whether a stream is a terminal that understands cursor movement."""
    return stream.isatty() and os.environ.get("TERM", "") != "dumb"


def wants_color(stream: IO[str]) -> bool:
    """Tell whether to colour what is written: on terminals, unless NO_COLOR is set."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


def clean(text: str) -> str:
    """Return text as one line in which nothing can move the cursor: names and messages come from files and farms."""
    return "".join(char if char.isprintable() else " " if char.isspace() else "\ufffd" for char in text)


def cells(text: str) -> int:
    """Count the terminal cells that text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def fit(text: str, width: int, glyphs: Glyphs, *, keep_end: bool = False) -> str:
    """Shorten text to at most `width` cells, with an ellipsis where something was left out."""
    if cells(text) <= width:
        return text
    room = max(0, width - cells(glyphs.ellipsis))
    if keep_end:
        return glyphs.ellipsis + _head(text[::-1], room)[::-1]
    return _head(text, room) + glyphs.ellipsis


def line_cells(line: Line) -> int:
    """Count the cells of a whole line."""
    return sum(cells(span.text) for span in line)


def crop(line: Line, width: int) -> Line:
    """Cut a line off at `width` cells."""
    if line_cells(line) <= width:
        return line
    kept: list[Span] = []
    for span in line:
        room = width - line_cells(tuple(kept))
        kept.append(Span(_head(span.text, room), span.style))
    return tuple(kept)


def _head(text: str, width: int) -> str:
    """Return as much of the beginning as fits into `width` cells."""
    for index, char in enumerate(text):
        width -= cells(char)
        if width < 0:
            return text[:index]
    return text


def paint(line: Line, *, color: bool) -> str:
    """Return a line as text, with colours for a terminal if wanted."""
    if not color:
        return "".join(span.text for span in line).rstrip()
    return "".join(click.style(span.text, **STYLES[span.style]) if span.style else span.text for span in line)


def echo_lines(lines: Iterable[Line], stream: IO[str]) -> None:
    """Write lines to a stream in the way that it can show them."""
    color = wants_color(stream)
    for line in lines:
        click.echo(paint(line, color=color), file=stream, color=color)


def wrapped(text: str, width: int, *, first: Line, style: str = "") -> list[Line]:
    """Break a sentence into lines of at most `width` cells; the first begins with `first`, the others are indented."""
    indent = line_cells(first)
    pieces = [
        piece
        for part in text.splitlines()
        for piece in textwrap.wrap(clean(part), max(10, width - indent), break_on_hyphens=False)
    ]
    heads = [first, *[(Span(" " * indent),)] * len(pieces)]
    return [(*head, Span(piece, style)) for head, piece in zip(heads, pieces, strict=False)]


def spread(left: Line, right: Line, width: int) -> list[Line]:
    """Put two pieces at both ends of one line, or below one another where they don't fit."""
    gap = width - line_cells(left) - line_cells(right)
    if gap >= 2:
        return [(*left, Span(" " * gap), *right)]
    return [left, (Span(" "), *right)]


def clock(seconds: float) -> str:
    """Write a duration as 0:07, 12:34, 1:02:03 or 3 d 4 h."""
    whole = max(0, round(seconds))
    if whole >= 2 * 86400:
        return f"{whole // 86400} d {whole % 86400 // 3600} h"
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def short_path(path: str, width: int, glyphs: Glyphs) -> str:
    """Write a path with `~` for the home folder; its end is kept where it is too long."""
    home = str(Path.home()) + os.sep
    text = f"~{os.sep}{path[len(home) :]}" if path.startswith(home) else path
    return fit(clean(text), width, glyphs, keep_end=True)


def columns(rows: Sequence[Sequence[Span]], *, gap: int = 2) -> list[Line]:
    """Align rows of cells; the last column is left as it is."""
    widths = [max(cells(span.text) for span in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        *head, last = (
            Span(span.text + " " * (width - cells(span.text) + gap), span.style)
            for span, width in zip(row, widths, strict=True)
        )
        lines.append((*head, Span(last.text.rstrip(), last.style)))
    return lines
