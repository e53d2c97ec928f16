"""Which Image Editors there are, which of them an image belongs into, and what they showed before an Undo."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import bpy

from .drawing import windows

JOB_MARK = "cloud_farm_job"
"""Marks what shows a job's frames; so does `PREVIEW`. By both the farm knows images that are no part of a scene."""
PREVIEW = "cloud_farm_preview"
CAMERA = "cloud_farm_camera"


class Seen(NamedTuple):
    """An image of ours that an editor showed."""

    job: str
    camera: str
    mark: str
    name: str
    path: Path
    source: str


_SEEN: dict[int, Seen] = {}
"""By editor, until somebody asks which show something else now."""


def note_shown() -> None:
    """Take note what editors show, before an Undo or Redo.

    It goes to a step of the file in which a job's image may not have been, so that editors are empty then, or was another frame:
    frames come without steps of their own, for Ctrl-Z takes back what the artist did, not what the farm does.
    """
    for space in editors():
        image: Any = space.image
        for mark in (JOB_MARK, PREVIEW) if image is not None else ():
            if image.get(mark) is not None:
                _SEEN[space.as_pointer()] = Seen(image[mark], image.get(CAMERA, ""), mark, image.name, *_file_of(image))


def _file_of(image: bpy.types.Image) -> tuple[Path, str]:
    return Path(bpy.path.abspath(image.filepath)), image.source


def changed() -> Iterator[tuple[bpy.types.SpaceImageEditor, Seen]]:
    """Yield the editors that an Undo or Redo emptied or turned back, and what they showed; both leave the windows as they are."""
    before = dict(_SEEN)
    _SEEN.clear()
    for space in editors() if before else ():
        image: Any = space.image
        seen = before.get(space.as_pointer())
        if seen is None or (image is not None and image.get(seen.mark) != seen.job):
            continue  # nothing of ours, then or now
        if image is None or _file_of(image) != (seen.path, seen.source):
            yield space, seen


def forget() -> None:
    """Forget what editors showed."""
    _SEEN.clear()


def editors() -> list[bpy.types.SpaceImageEditor]:
    """Return the Image Editors of all windows, the largest first."""
    found = []
    for window in windows():
        for area in window.screen.areas:
            space = area.spaces.active
            if isinstance(space, bpy.types.SpaceImageEditor) and area.ui_type == "IMAGE_EDITOR":
                found.append((area.width * area.height, space))
    return [space for _, space in sorted(found, key=lambda item: -item[0])]


def editor_for(image: bpy.types.Image, context: bpy.types.Context) -> bpy.types.SpaceImageEditor | None:
    """Return the editor that an image belongs into; where there is none, Blender opens one as it does for renders.

    It is one that shows it, or where the mouse is, or that shows nothing of the artist's own; only then the largest.
    """
    found = editors() or _opened(context)
    here = [space for space in found if space == context.space_data]
    shows = [space for space in found if space.image == image]
    free = [space for space in found if _is_free(space.image)]
    return next(iter((*shows, *here, *free, *found)), None)


def _opened(context: bpy.types.Context) -> list[bpy.types.SpaceImageEditor]:
    """Open an editor as the preferences say: a window, full screen, or nowhere. What the worker answers has no window of its own."""
    window = context.window or next(iter(windows()), None)
    if window is not None and not bpy.app.background:
        with bpy.context.temp_override(window=window):
            bpy.ops.render.view_show("INVOKE_DEFAULT")
    return editors()


def _is_free(image: Any) -> bool:
    return (
        image is None
        or image.type == "RENDER_RESULT"
        or image.get(JOB_MARK) is not None
        or image.get(PREVIEW) is not None
    )
