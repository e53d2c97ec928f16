"""The only reader of a scene: what the artist set becomes a job, and what is open becomes a snapshot that outlives Blender."""

from __future__ import annotations

import dataclasses
import errno
import functools
import json
import os
import shutil
import uuid
from array import array
from pathlib import Path
from typing import Any

import bpy

from .cloud_farm.errors import FrameRangeError, InvalidJobError, SnapshotError
from .cloud_farm.frames import FrameRange
from .cloud_farm.job import RenderJob
from .cloud_farm.json_data import to_json
from .cloud_farm.snapshots import HOLD, SNAPSHOT
from .preflight import CAMERA_ELSEWHERE, CHOOSE_CAMERA, NO_PREVIEW_RANGE, SET_PREVIEW_RANGE
from .properties import camera_elsewhere, chosen_layers, settings_of

_LEAST_ROOM = 1 << 20
_UNTITLED = "untitled"
_SUFFIXES = {
    "OPEN_EXR": ".exr",
    "OPEN_EXR_MULTILAYER": ".exr",
    "JPEG": ".jpg",
    "TIFF": ".tif",
    "TARGA": ".tga",
    "HDR": ".hdr",
}


def frames_text(scene: bpy.types.Scene) -> str:
    """Return which frames are wanted, as a job writes them.

    Raises:
        FrameRangeError: What the artist typed makes no sense.
        InvalidJobError: The preview range is wanted, and there is none.
    """
    settings = settings_of(scene)
    if settings.frames in ("SCENE", ""):  # empty: a newer add-on had a choice that we don't know
        return "scene"
    if settings.frames == "CURRENT":
        return str(scene.frame_current)
    if settings.frames == "PREVIEW":
        if not scene.use_preview_range:  # its values are those of long ago, or 0
            raise InvalidJobError(f"{NO_PREVIEW_RANGE} {SET_PREVIEW_RANGE}")
        return f"{scene.frame_preview_start}-{scene.frame_preview_end}:{scene.frame_step}"
    if why_not := why_no_frames(scene):
        raise FrameRangeError(why_not, expression=settings.custom_frames)
    return str(settings.custom_frames)


def why_no_frames(scene: bpy.types.Scene) -> str:
    """Return why the frames that the artist typed make no sense; empty if they do."""
    span = scene.frame_start, scene.frame_end, scene.frame_step
    return _why_no_frames(settings_of(scene).custom_frames, span)


@functools.lru_cache(maxsize=16)
def _why_no_frames(text: str, span: tuple[int, int, int]) -> str:
    """Asked at each drawing of the panel; half a million frames take their time, and too many no less."""
    try:
        FrameRange.parse(text, scene=span)
    except FrameRangeError as error:
        return str(error)
    return ""


def read_job(scene: bpy.types.Scene, *, scene_file: Path, name: str) -> RenderJob:
    """Return the job that the artist asks for.

    Args:
        scene_file: The snapshot.
        name: What people call the job.

    Raises:
        InvalidJobError: It can't be rendered as it is set.
        FrameRangeError: Likewise.
    """
    settings = settings_of(scene)
    if any(other != scene and other.name == scene.name and other.library is None for other in bpy.data.scenes):
        raise InvalidJobError(
            f"Scene '{scene.name}' is linked from another file, and this file has a scene '{scene.name}' of its own. Rename"
            " that one, so that the farm can tell them apart."
        )
    if settings.camera is None and scene.camera is None and not any(marker.camera for marker in scene.timeline_markers):
        raise InvalidJobError(f"Scene '{scene.name}' has no camera. Add one, or choose one in the Cloud Farm panel.")
    if (elsewhere := camera_elsewhere(scene)) is not None:
        raise InvalidJobError(f"{CAMERA_ELSEWHERE.format(elsewhere.name)} {CHOOSE_CAMERA}")
    layers = chosen_layers(scene)
    if layers == ():
        raise InvalidJobError("No view layer is chosen to be rendered. Choose one in the Cloud Farm panel, Overrides.")
    return RenderJob(
        str(scene_file),
        name=name,
        scene=scene.name,
        cameras=(settings.camera.name,) if settings.camera is not None else (),
        view_layers=layers or (),
        frames=frames_text(scene),
        device=settings.device or "auto",
        samples=settings.samples if settings.use_samples else None,
        percentage=settings.percentage if settings.use_percentage else None,
        chunk_size=settings.chunk_size or None,
    )


def take_snapshot(scene: bpy.types.Scene, *, farm: str, below: Path, hold: bool = False) -> Path:
    """Write a snapshot of a scene that is rendered as its panel says; see `write_snapshot`.

    Raises:
        InvalidJobError: The job can't be rendered as it is set; nothing was written.
        FrameRangeError: Likewise.
        SnapshotError: It can't be written.
    """
    name = Path(bpy.data.filepath).stem or _UNTITLED
    job = read_job(scene, scene_file=Path(f"{name}.blend"), name=name)
    return write_snapshot(job, farm=farm, below=below, hold=hold, source=source_of(scene))


def source_of(scene: bpy.types.Scene) -> str:
    """Return what a snapshot is a copy of: file, scene, cameras, frames and their folder; a newer one of the same takes its place.

    Empty for a file that was never saved: two of those may be anything.

    Raises:
        FrameRangeError: What the artist typed makes no sense.
    """
    if not bpy.data.filepath:
        return ""
    camera = settings_of(scene).camera or scene.camera
    span = f"{scene.frame_start}-{scene.frame_end}:{scene.frame_step}"
    names = (bpy.data.filepath, scene.name, camera.name if camera else "", *(chosen_layers(scene) or ()))
    return json.dumps([*names, scene.render.filepath, frames_text(scene), span])


def write_snapshot(job: RenderJob, *, farm: str, below: Path, hold: bool = False, source: str = "") -> Path:
    """Write what is open, unsaved changes and painted images included, into a folder of its own; the session stays as it is.

    Args:
        job: Its scene file gives the copy its name.
        below: Where such folders are.
        hold: It waits for the artist's word: nobody sends it by itself.
        source: Of what it is a copy.

    Returns:
        The folder. Its snapshot.json, written last, makes it one that can be sent.

    Raises:
        InvalidJobError: An image can't be copied; nothing was written.
        SnapshotError: The disk is full, or may not be written; nothing is left there.
    """
    painted = _painted()
    folder = below / uuid.uuid4().hex
    job = dataclasses.replace(job, scene_file=str(folder / Path(job.scene_file).name))
    try:
        folder.mkdir(parents=True)
        bpy.ops.wm.save_as_mainfile(filepath=job.scene_file, copy=True, check_existing=False)
        snapshot = {
            "schema": 1,
            "farm": farm,
            "source": source,
            "job": to_json(job),
            "home": str(Path(bpy.data.filepath).parent) if bpy.data.filepath else "",
            "images": _save_painted(painted, folder),
        }
        if hold:
            (folder / HOLD).write_text("", encoding="ascii")
        if shutil.disk_usage(folder).free < _LEAST_ROOM:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # Blender writes half a picture and says nothing
        part = folder / f"{SNAPSHOT}.part"
        part.write_text(json.dumps(snapshot), encoding="utf-8")
        part.rename(folder / SNAPSHOT)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)  # half a snapshot is of no use
        if isinstance(error, RuntimeError | OSError):
            raise _unwritable(below, error) from error
        raise
    return folder


def _unwritable(below: Path, error: RuntimeError | OSError) -> SnapshotError:
    reason = getattr(error, "strerror", None) or str(error).strip().removeprefix("Error: ").rstrip(".")
    return SnapshotError(
        f"The scene's copy can't be written to {below}: {reason}. Make room there, then send it again."
    )


def _painted() -> list[bpy.types.Image]:
    """Return the images that have unsaved pixels.

    Raises:
        InvalidJobError: One can't be copied by this Blender, or is another file's.
    """
    found = [
        image
        for image in bpy.data.images
        if image.users and image.is_dirty and image.has_data and image.source in ("FILE", "GENERATED", "TILED")
    ]
    for image in found:
        if image.library is not None:
            raise InvalidJobError(
                f"Image '{image.name}' of {bpy.path.basename(image.library.filepath)} has unsaved changes, which the farm would"
                " not see. Save it in the Image Editor, or reload it there."
            )
        if image.source == "TILED" and not _can_save_copies():
            raise InvalidJobError(
                f"Image '{image.name}' has unsaved tiles, which this Blender can't copy. Save it first."
            )
    return found


def _save_painted(painted: list[bpy.types.Image], folder: Path) -> dict[str, str]:
    """Write images into a folder; returns their names and files."""
    found: dict[str, str] = {}
    for number, image in enumerate(painted):
        name = f"painted-{number}{'.<UDIM>' if image.source == 'TILED' else ''}{_suffix(image)}"
        _save_copy(image, str(folder / name))
        found[image.name] = name
    return found


def _can_save_copies() -> bool:
    """Whether Blender itself can write an image somewhere and leave it as it is; 4.2 can't."""
    described: Any = bpy.types.Image.bl_rna
    return "save_copy" in described.functions["save"].parameters


def _save_copy(image: Any, path: str) -> None:
    if _can_save_copies():
        image.save(filepath=path, save_copy=True)
        return
    width, height = image.size
    twin: Any = bpy.data.images.new(image.name, width, height, alpha=image.channels == 4, float_buffer=image.is_float)
    try:
        twin.colorspace_settings.name = image.colorspace_settings.name
        twin.file_format = "OPEN_EXR" if path.endswith(".exr") else image.file_format
        pixels = array("f", bytes(4 * width * height * image.channels))
        image.pixels.foreach_get(pixels)
        twin.pixels.foreach_set(pixels)
        twin.save(filepath=path)
    finally:
        bpy.data.images.remove(twin)


def _suffix(image: Any) -> str:
    if image.is_float and image.file_format in ("PNG", "BMP", "JPEG"):
        return ".exr"
    return _SUFFIXES.get(image.file_format, f".{image.file_format.lower()}")
