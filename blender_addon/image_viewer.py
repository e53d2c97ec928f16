"""Frames into the Image Editor: each job is one image sequence that grows, and can be scrubbed while the farm still works.

They are not Blender's Render Result: only a render engine can fill that, and only for a scene that names it as its own, which would
change the artist's scene. A sequence of multilayer files offers the same choice of layers and passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import bpy

from . import image_editors
from .image_editors import CAMERA, JOB_MARK, PREVIEW, editor_for, editors
from .shown_frames import ShownFrames, why_unreadable
from .translating import rpt_

_LONG_AGO = -1_000_000
_Key = tuple[str, str]
"""A job, and the camera of its frames; empty if that is the scene's own."""


_SHOWN: dict[_Key, ShownFrames] = {}
_CHANGED: dict[_Key, str] = {}
"""Of which frames came that are not shown yet, and their jobs' titles."""
_LOST: set[_Key] = set()
"""Of which frames were lost to another job since the last turn."""


def frame_landed(job: str, title: str, path: Path, frame: int, camera: str | None) -> None:
    """Take note of a finished frame; `refresh` shows it."""
    key = job, camera or ""
    _LOST.update([other for other, shown in _SHOWN.items() if other != key and shown.lose(path)])
    if key not in _SHOWN:
        _SHOWN[key] = ShownFrames(path, frame)
    _SHOWN[key].take(path, frame)
    _CHANGED[key] = title


def frames_known(job: str, cameras: Sequence[Mapping[str, Any]]) -> None:
    """Take in the frames of a job that landed before this Blender started.

    Args:
        cameras: Of each its name, frame and file of its first and last one, and which frames lie in which folder:
            `{camera, first, last, folders}`.
    """
    from .cloud_farm.frames import FrameRange

    for found in cameras:
        (first, first_path), (last, last_path) = found["first"], found["last"]
        shown = _SHOWN[job, found["camera"] or ""] = ShownFrames(Path(first_path), first)
        shown.take(Path(last_path), last)
        shown.put({Path(folder): FrameRange.parse(frames).frames for folder, frames in found["folders"].items()})


def refresh(ask_for_preview: Callable[[str, Path], bool]) -> None:
    """Have editors that show a job show what came, and empty ones too: once, however many frames that are.

    A frame that can't be read is a problem of its job (`problems_of`) and keeps no other.

    Args:
        ask_for_preview: Has a small picture made of a job's large frame; False if that must wait. Of several cameras the one
            whose frame came first has previews.
    """
    _put_back()
    while _LOST:
        _let_go(_LOST.pop())
    for key, title in list(_CHANGED.items()):
        shown = _SHOWN[key]
        path = shown.path(shown.newest)
        has_preview = shown.is_large and key == _first_of(key[0])
        if has_preview and path is not None and not ask_for_preview(key[0], path):
            continue
        del _CHANGED[key]
        if not shown.is_large and shown.there(shown.newest) is not None:  # else it was moved away meanwhile
            _show_newest(key, shown, title)


def _show_newest(key: _Key, shown: ShownFrames, title: str) -> None:
    try:
        image = _image(key, shown, title, shown.newest)
    except RuntimeError as error:
        _note_unreadable(shown, error)
        return  # the others go on
    image.reload()
    for space in _showing(image):
        _point(space, shown)


def _note_unreadable(shown: ShownFrames, error: RuntimeError) -> None:
    why_not = rpt_("Frame {:d} can't be shown: {:s}").format(shown.newest, str(error).strip())
    shown.note_unreadable(shown.newest, why_not)


def _put_back() -> None:
    """Show again what an Undo or Redo took out of editors, but for what is gone from the disk."""
    for space, before in image_editors.changed():
        key = before.job, before.camera
        try:
            if before.mark == PREVIEW:
                space.image = _preview(before.job, before.name, before.path)
            elif key in _SHOWN:
                _put_frames_back(space, key, before)
        except RuntimeError:
            continue


def _put_frames_back(space: bpy.types.SpaceImageEditor, key: _Key, before: image_editors.Seen) -> None:
    shown, is_gone = _SHOWN[key], _found(*key) is None
    there = shown.there(shown.frame(before.path))
    if there is None:
        return
    space.image = image = _image(key, shown, "", there)
    if is_gone:
        image.name = before.name
    if image.source == "FILE":
        image.filepath = str(shown.path(there))
    _point(space, shown)


def _let_go(key: _Key) -> None:
    """Show no file that is another job's by now: the image goes on with what the job has left, and editors are free if that is nothing."""
    shown, image = _SHOWN[key], _found(*key)
    if image is None:
        return
    left = shown.there(None)
    try:
        if left is not None:
            _image(key, shown, "", left)
    except RuntimeError:
        left = None
    for space in editors():
        if space.image == image and left is None:
            space.image = None
        elif space.image == image:
            _point(space, shown)


def _showing(image: bpy.types.Image) -> Iterator[bpy.types.SpaceImageEditor]:
    """Yield the editors that show an image; those that show nothing take it."""
    for space in editors():
        if space.image is None:
            space.image = image
        if space.image == image:
            yield space


def is_large(job: str) -> bool:
    """Whether a job's frames are too large to be shown as they come: a preview is shown, and the frame itself when it is asked for."""
    return any(shown.is_large for shown in _of(job))


def can_be_scrubbed(job: str) -> bool:
    """Whether Blender can show the job's frames as a sequence; else each is shown by itself."""
    return all(shown.can_be_scrubbed for shown in _of(job))


def is_scattered(job: str) -> bool:
    """Whether the job's frames lie in several folders, or another job's took their places."""
    return any(shown.is_scattered for shown in _of(job))


def problems_of(job: str) -> list[str]:
    """Return why frames of the job can't be shown: of each camera the last that could not."""
    return [shown.unreadable for shown in _of(job) if shown.unreadable]


def _of(job: str) -> list[ShownFrames]:
    return [shown for key, shown in _SHOWN.items() if key[0] == job]


def _first_of(job: str) -> _Key:
    """Return the camera of a job whose frame came first."""
    return next((key for key in _SHOWN if key[0] == job), (job, ""))


def preview_made(job: str, title: str, path: Path) -> None:
    """Show the preview of a job's newest frame; one that can't be read is told as frames are."""
    try:
        image = _preview(job, f"{title} (Cloud Farm preview)", path)
    except RuntimeError as error:
        if _first_of(job) in _SHOWN:
            _note_unreadable(_SHOWN[_first_of(job)], error)
        return
    image.reload()
    list(_showing(image))


def _preview(job: str, name: str, path: Path) -> bpy.types.Image:
    """Return the image of a job's previews.

    Raises:
        RuntimeError: It can't be read.
    """
    why_not = why_unreadable(path)
    if why_not:
        raise RuntimeError(why_not)
    image = _found(job, mark=PREVIEW)
    if image is None:
        image = bpy.data.images.load(str(path), check_existing=False)
        image.name, image[PREVIEW] = name, job
    return image


def show(
    job: str, title: str, context: bpy.types.Context, *, frame: int | None = None, camera: str | None = None
) -> str:
    """Show a job's frames in an Image Editor, a window of its own if there is none.

    Args:
        frame: This one, until another is asked for; None shows the newest, or that of the timeline.
        camera: Of this one; None is the one whose frame came first.

    Returns:
        Why they are not seen; empty if they are.
    """
    key = _first_of(job) if camera is None else (job, camera)
    shown = _SHOWN.get(key)
    there = None if shown is None else shown.there(frame)
    if shown is None or there is None:
        return _absent(frame, is_known=shown is not None)
    try:
        image = _image(key, shown, title, there)
    except RuntimeError as error:
        return str(error).strip()  # Blender can't read it, and says why
    space = editor_for(image, context)
    if space is None:
        return "Open an Image Editor to see the frames"
    if frame is not None:
        _state().follow_newest = False
    shown.pinned = frame
    space.image = image
    _point(space, shown)
    return ""


def _absent(frame: int | None, *, is_known: bool) -> str:
    if frame is not None:
        return rpt_("Frame {:d} is not here yet").format(frame)
    return "The job's frames are not in their folder any more" if is_known else "The farm has no frames of this job"


def open_image(image: bpy.types.Image, context: bpy.types.Context) -> bool:
    """Show an image in an Image Editor, a window of its own if there is none; False if that can't be."""
    space = editor_for(image, context)
    if space is not None:
        space.image = image
    return space is not None


def frames_here(job: str) -> dict[int, Path]:
    """Return the frames of a job that are on this computer, of the camera whose frame came first."""
    shown = _SHOWN.get(_first_of(job))
    return {} if shown is None else shown.here()


def has_frames(job: str, camera: str | None = None, frame: int | None = None) -> bool:
    """Whether frames of the job came in since Blender started, of this camera or of any, and some or this one kept its place.

    Of others the worker knows more: it brings those here, or to another place.
    """
    shown = _SHOWN.get(_first_of(job) if camera is None else (job, camera))
    return shown is not None and shown.may_be_there(frame)


def forget() -> None:
    """Forget all jobs; their images stay in the file."""
    _SHOWN.clear()
    _CHANGED.clear()
    _LOST.clear()
    image_editors.forget()


def _image(key: _Key, shown: ShownFrames, title: str, frame: int) -> bpy.types.Image:
    """Return the image of a job's camera; another file may have been opened since, which has none.

    Args:
        frame: One that is there.

    Raises:
        RuntimeError: It can't be read.
    """
    (job, camera), path = key, shown.path(frame)
    assert path is not None
    why_not = why_unreadable(path)
    if why_not:
        raise RuntimeError(why_not)
    image = _found(job, camera)
    if image is None:
        image = bpy.data.images.load(str(path), check_existing=False)
        image.name = f"{title} {camera} (Cloud Farm)" if camera else f"{title} (Cloud Farm)"
        image[JOB_MARK], image[CAMERA] = key  # names change, and other jobs have the same title
    source: Any = "SEQUENCE" if shown.can_be_scrubbed else "FILE"
    if image.source != source:
        image.source = source
    if shown.frame(Path(bpy.path.abspath(image.filepath))) is None:  # another job's by now, or moved
        image.filepath = str(path)
    return image


def _found(job: str, camera: str = "", mark: str = JOB_MARK) -> bpy.types.Image | None:
    images: list[Any] = list(bpy.data.images)
    return next((one for one in images if one.get(mark) == job and one.get(CAMERA, "") == camera), None)


def refresh_all() -> None:
    """Have every job's editors follow the newest frame, or not any more."""
    for (job, camera), shown in _SHOWN.items():
        shown.pinned, image = None, _found(job, camera)
        for space in editors() if image is not None else ():
            if space.image == image:
                _point(space, shown)


def _point(space: bpy.types.SpaceImageEditor, shown: ShownFrames) -> None:
    """Have an editor know all frames, and show the newest or a pinned one if that is wanted."""
    user, image = space.image_user, space.image
    only = shown.there(None) if _state().follow_newest else shown.pinned
    if image is not None and image.source == "FILE":
        if only is not None and shown.there(only) is not None:
            image.filepath = str(shown.path(only))
    elif only is not None:
        # A sequence of one frame that began long ago: whatever the scene's frame is, Blender computes this one from it.
        user.frame_start, user.frame_duration, user.frame_offset = _LONG_AGO, 1, only - 1
        user.use_auto_refresh = False
        user.frame_current = only
    else:
        user.frame_start, user.frame_offset = shown.first, shown.first - 1
        user.frame_duration = shown.last - shown.first + 1
        user.use_auto_refresh = True


def _state() -> Any:
    from .properties import state_of

    return state_of(bpy.context)
