"""The strip of a job's frames: a cell a frame while they fit, else one for as many as it takes. Shapes differ, not only colours."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import bpy
import bpy.utils.previews

from .drawing import units_across

if TYPE_CHECKING:
    from .cloud_farm.frame_cells import FrameCell

_PIXELS = 32
_CELL_UNITS = 0.7
"""Least width of a cell in Blender's units: that of an icon without its margin."""
_LEFT, _RIGHT = 2, _PIXELS - 2
_LOW, _HIGH = 2, _PIXELS - 2
_MOST_ROWS = 4
_MOST_CAMERAS = 4
_GREEN, _BLUE, _RED, _GREY = (0.25, 0.62, 0.34), (0.28, 0.55, 0.94), (0.88, 0.26, 0.24), (0.5, 0.5, 0.5)
_DARK_BLUE = (0.17, 0.33, 0.56)
_Colour = tuple[float, float, float, float]
_CLEAR: _Colour = (0.0, 0.0, 0.0, 0.0)
_ICONS: dict[str, Any] = {}
"""Blender's collection of our icons, once something was drawn."""


def draw(layout: bpy.types.UILayout, picture: Mapping[str, Any], context: bpy.types.Context) -> None:
    """Draw how every frame of a job is; a click on a cell shows its first frame."""
    from .cloud_farm.frame_cells import read_cells

    strips = picture.get("strip") or ()
    across = max(8, int(units_across(context) / _CELL_UNITS))
    for strip in strips[:_MOST_CAMERAS]:
        column = layout.column(align=True)
        if len(strips) > 1:
            column.label(text=strip["camera"] or "", icon="CAMERA_DATA", translate=False)
        cells = read_cells(strip["cells"], most=across * _MOST_ROWS)
        grid = _grid(column, len(cells), across)
        for cell in cells:
            button = grid.operator("cloud_farm.show_frame", text="", icon_value=_icon(cell.state), emboss=False)
            button.frame, button.tip, button.camera = cell.first, cell_tip(cell), strip["camera"] or ""


def _grid(column: bpy.types.UILayout, cells: int, across: int) -> bpy.types.UILayout:
    """Return where cells go: a few stay beside each other, more fill rows of which the last is not much shorter than the others."""
    if cells <= across:
        row = column.row(align=True)
        row.alignment = "LEFT"
        return row
    rows = -(-cells // across)
    return column.grid_flow(row_major=True, columns=-(-cells // rows), even_columns=True, align=True)


def cell_tip(cell: FrameCell) -> str:
    """Say which frames a cell stands for, and how they are: `Frames 37-54: 15 done, 3 waiting`."""
    from .cloud_farm.frame_cells import STATES

    if cell.first == cell.last:
        return f"Frame {cell.first}: {cell.state}"
    parts = [f"{count} {state}" for state, count in zip(STATES, cell.counts, strict=True) if count]
    return f"Frames {cell.first}-{cell.last}: {', '.join(parts)}"


def _icon(state: str) -> int:
    if "all" not in _ICONS:
        _ICONS["all"] = bpy.utils.previews.new()
    icons = _ICONS["all"]
    if state not in icons:
        icon = icons.new(state)
        icon.icon_size = (_PIXELS, _PIXELS)
        icon.icon_pixels_float = _pixels(_LOOKS[state])
    return int(icons[state].icon_id)


def _pixels(look: Callable[[int, int], _Colour]) -> array[float]:
    """Return the icon's pixels; a look gives the colour at a place within the cell."""
    pixels = array("f")
    for y in range(_PIXELS):
        for x in range(_PIXELS):
            inside = _LEFT <= x < _RIGHT and _LOW <= y < _HIGH
            pixels.extend(look(x, y) if inside else _CLEAR)
    return pixels


def _full(colour: tuple[float, float, float]) -> Callable[[int, int], _Colour]:
    return lambda _x, _y: (*colour, 1.0)


def _outline(x: int, y: int) -> _Colour:
    edge = x < _LEFT + 2 or x >= _RIGHT - 2 or y < _LOW + 2 or y >= _HIGH - 2
    strength = 0.8 if edge else 0.1
    red, green, blue = _GREY
    return red * strength, green * strength, blue * strength, strength  # premultiplied, as Blender draws icons


def _partial(x: int, y: int) -> _Colour:
    return (*_GREEN, 1.0) if y < _PIXELS // 2 else _outline(x, y)


def _rendering(x: int, y: int) -> _Colour:
    return (*_BLUE, 1.0) if (x - _LEFT + y) % 8 < 5 else (*_DARK_BLUE, 1.0)


def _failed(x: int, y: int) -> _Colour:
    is_cross = abs(abs(x - _PIXELS / 2 + 0.5) - abs(y - _PIXELS / 2 + 0.5)) < 1.6
    return (1.0, 1.0, 1.0, 1.0) if is_cross else (*_RED, 1.0)


_LOOKS: Mapping[str, Callable[[int, int], _Colour]] = {
    "done": _full(_GREEN), "rendering": _rendering, "waiting": _outline, "failed": _failed, "partial": _partial,
}  # fmt: skip


def register() -> None:
    """Do nothing: icons are made when the first strip is drawn."""


def unregister() -> None:
    """Give the icons back."""
    if "all" in _ICONS:
        bpy.utils.previews.remove(_ICONS.pop("all"))
