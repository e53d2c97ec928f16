"""How things are drawn that several places show: sentences, and what they are about."""

from __future__ import annotations

import textwrap
from typing import Any

import bpy

SEVERITIES: dict[str, Any] = {"error": "CANCEL", "warning": "ERROR", "info": "INFO"}
LEVELS: dict[str, Any] = {"red": "CANCEL", "yellow": "ERROR", "green": "CHECKMARK"}
_LETTER_PIXELS = 7.0  # of a letter of Blender's own font, on average and at a scale of 1
_LEAST_LETTERS = 24


def paragraph(layout: bpy.types.UILayout, text: str, context: bpy.types.Context, *, icon: Any = "NONE") -> None:
    """Draw a sentence in as many lines as the region's width asks for: Blender wraps no text."""
    assert context.preferences is not None
    scale = context.preferences.system.ui_scale or 1.0  # none without a window
    width = context.region.width if context.region is not None else 400
    for number, line in enumerate(wrapped(text, int(width / (_LETTER_PIXELS * scale)) - 8)):
        layout.label(text=line, icon=icon if not number else "BLANK1")


def wrapped(text: str, letters: int) -> list[str]:
    """Cut a text into lines of so many letters."""
    width = max(_LEAST_LETTERS, letters)
    return [line for part in text.splitlines() for line in textwrap.wrap(part, width)] or [""]
