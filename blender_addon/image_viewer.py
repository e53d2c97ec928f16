"""Frames into the Image Editor: each job is one image sequence that grows, and can be scrubbed while the farm still works.

They are not Blender's Render Result: only a render engine can fill that, and only for a scene that names it as its own, which would
change the artist's scene. A sequence of multilayer files offers the same choice of layers and passes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

_LONG_AGO = -1_000_000
_JOB = "cloud_farm_job"
_PREVIEW = "cloud_farm_preview"
_LARGE_BYTES = 8 * 1024 * 1024
"""Blender's window stands still while it reads a file: up to a tenth of a second for this, seconds for one of many passes."""
_NUMBER = re.compile(r"(\d+)(?=\D*$)")


@dataclass
class _Shown:
    """A job's frames that are here: of several cameras those of the one whose frame came first.

    Attributes:
        first, last: Frames.
        newest: The frame that came last.
        path: Of the one that came last.
        pinned: The one that the artist asked to see.
        is_large: They are too large to be shown as they come.
    """

    first: int
    last: int
    newest: int
    path: Path
    camera: str | None = None
    pinned: int | None = None
    is_large: bool = False


_SHOWN: dict[str, _Shown] = {}
_CHANGED: dict[str, str] = {}
"""Jobs of which frames came that are not shown yet, and their titles."""


def frame_landed(job: str, title: str, path: Path, frame: int, camera: str | None) -> None:
    """Take note of a finished frame; `refresh` shows it."""
    shown = _SHOWN.get(job)
    if shown is None:
        shown = _SHOWN[job] = _Shown(frame, frame, frame, path, camera)
    if shown.camera != camera:
        return
    shown.path, shown.is_large = path, _is_large(path)
    shown.first, shown.last, shown.newest = min(shown.first, frame), max(shown.last, frame), frame
    _CHANGED[job] = title


def refresh(ask_for_preview: Callable[[str, Path], bool]) -> None:
    """Have editors that show a job show what came, and empty ones too: once, however many frames that are.

    Args:
        ask_for_preview: Has a small picture made of a job's large frame; False if that must wait.
    """
    for job, title in list(_CHANGED.items()):
        shown = _SHOWN[job]
        if shown.is_large and not ask_for_preview(job, shown.path):
            continue
        del _CHANGED[job]
        if not shown.is_large:
            _show_newest(job, shown, title)


def _show_newest(job: str, shown: _Shown, title: str) -> None:
    if not shown.path.is_file():
        return  # it was moved away meanwhile; the next one is shown
    image = _image(job, shown, title)
    image.reload()
    for space in _showing(image):
        _point(space, shown)


def _showing(image: bpy.types.Image) -> Iterator[bpy.types.SpaceImageEditor]:
    """Yield the editors that show an image; those that show nothing take it."""
    for space in _editors():
        if space.image is None:
            space.image = image
        if space.image == image:
            yield space


def is_large(job: str) -> bool:
    """Whether a job's frames are too large to be shown as they come: a preview is shown, and the frame itself when it is asked for."""
    return job in _SHOWN and _SHOWN[job].is_large


def _is_large(path: Path) -> bool:
    try:
        return path.stat().st_size > _LARGE_BYTES
    except OSError:
        return False  # it was moved away meanwhile


def preview_made(job: str, title: str, path: Path) -> None:
    """Show the preview of a job's newest frame."""
    image = _found(job, _PREVIEW)
    if image is None:
        image = bpy.data.images.load(str(path), check_existing=False)
        image.name = f"{title} (Cloud Farm preview)"
        image[_PREVIEW] = job
    image.reload()
    list(_showing(image))


def show(job: str, title: str, context: bpy.types.Context, *, frame: int | None = None) -> str:
    """Show a job's frames in an Image Editor, a window of its own if there is none.

    Args:
        frame: This one, until another is asked for; None shows the newest, or that of the timeline.

    Returns:
        Why they are not seen; empty if they are.
    """
    shown, files = _SHOWN.get(job), frames_here(job)
    if shown is None or not files:
        return "The job's frames are not in their folder any more"
    shown.path = files.get(shown.newest, next(iter(files.values())))
    image = _image(job, shown, title)
    space = _editor_for(image, context)
    if space is None:
        return "Open an Image Editor to see the frames"
    shown.pinned = frame
    space.image = image
    _point(space, shown)
    return ""


def open_image(image: bpy.types.Image, context: bpy.types.Context) -> bool:
    """Show an image in an Image Editor, a window of its own if there is none; False if that can't be."""
    space = _editor_for(image, context)
    if space is not None:
        space.image = image
    return space is not None


def has_frame(job: str, frame: int) -> bool:
    """Whether a frame of the job is on this computer."""
    shown = _SHOWN.get(job)
    return shown is not None and _path_of(shown, frame).is_file()


def frames_here(job: str) -> dict[int, Path]:
    """Return the frames of a job that are on this computer, of one camera."""
    shown = _SHOWN.get(job)
    if shown is None:
        return {}
    there = {entry.name for entry in os.scandir(shown.path.parent)} if shown.path.parent.is_dir() else set()
    paths = {frame: _path_of(shown, frame) for frame in range(shown.first, shown.last + 1)}
    return {frame: path for frame, path in paths.items() if path.name in there}


def _path_of(shown: _Shown, frame: int) -> Path:
    """Return where a frame is, as its neighbours are called."""
    number = _NUMBER.search(shown.path.stem)
    if number is None:
        return shown.path
    text = f"{abs(frame):0{len(number[1])}d}"
    return shown.path.with_name(
        f"{shown.path.stem[: number.start(1)]}{text}{shown.path.stem[number.end(1) :]}{shown.path.suffix}"
    )


def frames_known(job: str, title: str, path: Path, *, first: int, last: int, newest: int) -> str:
    """Take in the frames of a job that landed before this Blender started, and show them; returns why they are not seen."""
    _SHOWN[job] = _Shown(first, last, newest, path, is_large=_is_large(path))
    return show(job, title, bpy.context)


def has_frames(job: str) -> bool:
    """Whether a frame of the job came in since Blender started."""
    return job in _SHOWN


def forget() -> None:
    """Forget all jobs; their images stay in the file."""
    _SHOWN.clear()
    _CHANGED.clear()


def _image(job: str, shown: _Shown, title: str) -> bpy.types.Image:
    """Return the job's image; another file may have been opened since, which has none.

    Raises:
        RuntimeError: Its frames are not there any more.
    """
    image = _found(job)
    if image is None:
        image = bpy.data.images.load(str(shown.path), check_existing=False)
        image.name = f"{title} (Cloud Farm)"
        image[_JOB] = job  # names change, and other jobs have the same title
        if _NUMBER.search(shown.path.stem):
            image.source = "SEQUENCE"
    return image


def _found(job: str, mark: str = _JOB) -> bpy.types.Image | None:
    images: list[Any] = list(bpy.data.images)
    return next((image for image in images if image.get(mark) == job), None)


def refresh_all() -> None:
    """Have every job's editors follow the newest frame, or not any more."""
    for job, shown in _SHOWN.items():
        shown.pinned, image = None, _found(job)
        for space in _editors() if image is not None else ():
            if space.image == image:
                _point(space, shown)


def _windows() -> list[bpy.types.Window]:
    manager = bpy.context.window_manager
    return list(manager.windows) if manager is not None else []


def _editors() -> list[bpy.types.SpaceImageEditor]:
    """Return the Image Editors of all windows, the largest first."""
    found = []
    for window in _windows():
        for area in window.screen.areas:
            space = area.spaces.active
            if isinstance(space, bpy.types.SpaceImageEditor) and area.ui_type == "IMAGE_EDITOR":
                found.append((area.width * area.height, space))
    return [space for _, space in sorted(found, key=lambda item: -item[0])]


def _editor_for(image: bpy.types.Image, context: bpy.types.Context) -> bpy.types.SpaceImageEditor | None:
    """Return the editor that an image belongs into; where there is none, Blender opens one as it does for renders.

    It is one that shows it, or where the mouse is, or that shows nothing of the artist's own; only then the largest.
    """
    if not _editors() and context.window is not None and not bpy.app.background:
        bpy.ops.render.view_show("INVOKE_DEFAULT")  # as the preferences say: a window, full screen, or nowhere
    found = _editors()
    here = [space for space in found if space == context.space_data]
    shows = [space for space in found if space.image == image]
    free = [space for space in found if _is_free(space.image)]
    return next(iter((*shows, *here, *free, *found)), None)


def _is_free(image: Any) -> bool:
    return (
        image is None or image.type == "RENDER_RESULT" or image.get(_JOB) is not None or image.get(_PREVIEW) is not None
    )


def _point(space: bpy.types.SpaceImageEditor, shown: _Shown) -> None:
    """Have an editor know all frames, and show the newest or a pinned one if that is wanted."""
    from .properties import state_of

    user = space.image_user
    only = shown.newest if state_of(bpy.context).follow_newest else shown.pinned
    if only is not None:
        # A sequence of one frame that began long ago: whatever the scene's frame is, Blender computes this one from it.
        user.frame_start, user.frame_duration, user.frame_offset = _LONG_AGO, 1, only - 1
        user.use_auto_refresh = False
        user.frame_current = only
    else:
        user.frame_start, user.frame_offset = shown.first, shown.first - 1
        user.frame_duration = shown.last - shown.first + 1
        user.use_auto_refresh = True
