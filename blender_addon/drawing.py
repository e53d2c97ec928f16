"""How things are drawn that several places show: sentences, times, and how much room there is."""

from __future__ import annotations

import textwrap
from datetime import datetime
from typing import Any

import bpy

SEVERITIES: dict[str, Any] = {"error": "CANCEL", "warning": "ERROR", "info": "INFO"}
LEVELS: dict[str, Any] = {"red": "CANCEL", "yellow": "ERROR", "green": "CHECKMARK"}
_LETTER_PIXELS = 7.0  # of a letter of Blender's own font, on average and at a scale of 1
_UNIT_PIXELS = 20.0  # of an icon with its margin, likewise
_LEAST_LETTERS = 24


def windows() -> list[bpy.types.Window]:
    """Return all of Blender's windows; in the background there may be nothing that has any."""
    manager = bpy.context.window_manager
    return list(manager.windows) if manager is not None else []


def paragraph(layout: bpy.types.UILayout, text: str, context: bpy.types.Context, *, icon: Any = "NONE") -> None:
    """Draw a sentence in as many lines as the region's width asks for: Blender wraps no text."""
    for number, line in enumerate(wrapped(text, int(_width(context) / _LETTER_PIXELS) - 8)):
        layout.label(text=line, icon=icon if not number or icon == "NONE" else "BLANK1", translate=False)


def units_across(context: bpy.types.Context) -> float:
    """Return how many icons fit beside each other in a panel of this region, its margins and the scroll bar left out."""
    return _width(context) / _UNIT_PIXELS - 3.0


def _width(context: bpy.types.Context) -> float:
    """Return the region's width in pixels at a scale of 1."""
    assert context.preferences is not None
    scale = context.preferences.system.ui_scale or 1.0  # none without a window
    return (context.region.width if context.region is not None else 500) / scale


def wrapped(text: str, letters: int) -> list[str]:
    """Cut a text into lines of so many letters, not at the hyphens of paths and jobs."""
    cut = textwrap.TextWrapper(max(_LEAST_LETTERS, letters), break_on_hyphens=False)
    return [line for part in text.splitlines() for line in cut.wrap(part)] or [""]


def duration(seconds: float) -> str:
    """Return a time as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} d"


def age(created: str, now: datetime) -> str:
    """Return how long ago a job was made, briefly: `now`, `5 min`, `3 h`, `12 d`; empty if nobody knows.

    Args:
        created: ISO 8601, UTC.
    """
    try:
        seconds = (now - datetime.fromisoformat(created)).total_seconds()
    except (ValueError, TypeError):
        return ""
    for limit, unit, name in ((60, 0, "now"), (3600, 60, "min"), (86_400, 3600, "h")):
        if seconds < limit:
            return f"{seconds // unit:.0f} {name}" if unit else name
    return f"{seconds // 86_400:.0f} d"
