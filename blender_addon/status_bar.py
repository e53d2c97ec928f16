"""A scene on its way, in Blender's status bar: who works elsewhere sees it too."""

from __future__ import annotations

from typing import Any

import bpy

from .drawing import windows
from .session import SESSION
from .translating import iface_

_UNITS = 13.0


def _draw(self: Any, _context: bpy.types.Context) -> None:
    sending = SESSION.outbox.sending
    if sending is not None and sending.request:
        row = self.layout.row(align=True)
        row.ui_units_x = _UNITS
        row.progress(factor=sending.fraction, text=f"Cloud Farm: {iface_(sending.step)}")
        row.operator("cloud_farm.stop_sending", text="", icon="X")


def redraw() -> None:
    """Draw the bar again in each window.

    It is in no area that a script knows of; but a status text that is set draws it. Where an operator runs, that text may be its own:
    there it is drawn as soon as something else has it drawn.
    """
    if _draw not in _drawn_by(bpy.types.STATUSBAR_HT_header.draw):
        # `status_text_set` ends with the bar as it was at its first use, which may be before ours.
        bpy.types.STATUSBAR_HT_header.append(_draw)
    for window in windows():
        if not window.modal_operators:
            with bpy.context.temp_override(window=window):
                window.workspace.status_text_set_internal(None)


def _drawn_by(draw: Any) -> list[Any]:
    """Return what a header's function draws, one after the other."""
    functions: list[Any] = getattr(draw, "_draw_funcs", [])
    return functions


def register() -> None:
    """Take a place in the bar."""
    bpy.types.STATUSBAR_HT_header.append(_draw)


def unregister() -> None:
    """Leave it, also as `status_text_set` remembers it."""
    header = bpy.types.STATUSBAR_HT_header
    header.remove(_draw)
    remembered = _drawn_by(getattr(header, "_draw_orig", None))
    if _draw in remembered:
        remembered.remove(_draw)
