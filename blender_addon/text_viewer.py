"""Logs in the Text Editor: where one is open, there; else in a window of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import bpy

from .drawing import windows

_FEW_LINES = 30
"""Shown of a text's end in an editor that was never drawn and can't say how many it has room for."""


def show(name: str, lines: Sequence[str]) -> None:
    """Put lines into a text of the open file, and show its end in every Text Editor that is open."""
    text = bpy.data.texts.get(name) or bpy.data.texts.new(name)
    text.clear()
    text.write("\n".join(lines))
    for area, editor in _editors():
        editor.text = text
        editor.top = max(0, len(text.lines) - (editor.visible_lines or _FEW_LINES))
        area.tag_redraw()


def open_editor(context: bpy.types.Context) -> None:
    """Open a window with a Text Editor, unless there is one somewhere."""
    if bpy.app.background or context.window is None or any(True for _ in _editors()):
        return
    before = set(windows())
    bpy.ops.wm.window_new()
    for window in set(windows()) - before:
        window.screen.areas[0].ui_type = "TEXT_EDITOR"


def log_lines(lines: Sequence[str], *, count: int, path: str) -> list[str]:
    """Return what is shown of a log of so many lines that lies whole in a file."""
    if count <= len(lines):
        return list(lines)
    return [f"== The last {len(lines):,} of {count:,} lines. All of them: {path}", *lines]


def _editors() -> Iterator[tuple[bpy.types.Area, bpy.types.SpaceTextEditor]]:
    for window in windows():
        for area in window.screen.areas:
            space = area.spaces.active
            if isinstance(space, bpy.types.SpaceTextEditor):
                yield area, space
