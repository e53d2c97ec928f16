"""Opens the scene and makes it what the plan says: scene, camera, layers, engine, settings of the seed done right."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

import bpy  # type: ignore[import-not-found,unused-ignore]
import scene_check
import volume
from frame_outputs import MOVIES, choose_format

Finding = dict[str, Any]
_LISTED = 10


class BadJob(Exception):
    """Holds for every frame on every host; `cause` as in contract §4."""

    def __init__(self, cause: int, message: str) -> None:
        super().__init__(message)
        self.cause = cause


def open_scene(paths: volume.JobPaths, settings: dict[str, Any], camera: str | None) -> tuple[Any, list[Finding]]:
    """Open the job's scene file and apply the plan's settings.

    Returns:
        The scene to render, and what the artist should know.

    Raises:
        BadJob: Something that the plan names is not in the file, or a file is missing.
    """
    findings = _open_file(paths, settings)
    _check_files(settings)
    scene = _choose_scene(settings["scene"])
    _set_engine(scene, settings["engine"])
    _set_camera(scene, camera)
    _set_layers(scene, settings["view_layers"])
    findings += _set_output(scene, settings)
    _set_quality(scene, settings)
    return scene, findings


def check_blender(wanted: str) -> None:
    """Refuse a Blender of another version than the plan's: its pixels would stand under the same render hash.

    Args:
        wanted: major.minor.

    Raises:
        BadJob: This one is another.
    """
    if ".".join(str(number) for number in bpy.app.version[:2]) != wanted:
        raise BadJob(
            volume.CAUSE_SCENE,
            f"The job was planned for Blender {wanted}, but this machine renders with {bpy.app.version_string}."
            f" Give it a {wanted}, or submit the job again.",
        )


def peak_memory() -> int | None:
    """Return the largest memory of this process, bytes; None where the system doesn't tell."""
    try:
        import resource
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(most if sys.platform == "darwin" else most * 1024)


@contextmanager
def steady_camera(scene: Any, frame: int) -> Iterator[None]:
    """Keep markers from changing the camera while a frame renders, where Blender makes an empty picture of that.

    The second stereo view of a frame with motion blur is black now and then if a marker changes the camera at that very frame: in
    plain 4.2 every third time, in 5.0 on a busy machine one time in twenty, in 4.5 and 5.2 never in 150 times. Held still, both
    views have the pixels of a plain render that went well, in all versions.
    """
    may_break = scene.render.use_multiview and scene.render.use_motion_blur
    markers = [marker for marker in scene.timeline_markers if marker.camera] if may_break else []
    held = [(marker, marker.camera) for marker in markers] if any(m.frame == frame for m in markers) else []
    current = scene.camera
    for marker, _ in held:
        marker.camera = None
    scene.camera = current  # each marker that lost its own had the scene look for one among the others
    try:
        yield
    finally:
        for marker, camera in held:
            marker.camera = camera


def _open_file(paths: volume.JobPaths, settings: dict[str, Any]) -> list[Finding]:
    path = paths.scene / PurePosixPath(settings["scene_file"])
    if not path.is_file():
        raise BadJob(
            volume.CAUSE_FILE_MISSING,
            f"The scene file {settings['scene_file']} is not on the volume. Submit the job again.",
        )
    try:
        bpy.ops.wm.open_mainfile(filepath=str(path), load_ui=False, use_scripts=bool(settings["allow_scripts"]))
    except RuntimeError as error:
        raise BadJob(
            volume.CAUSE_SCENE, f"Blender {bpy.app.version_string} can't open {path.name}: {str(error).strip()}"
        ) from error
    if not bpy.app.autoexec_fail:
        return []
    message = f"The scene wants to run Python ({bpy.app.autoexec_fail_message}); it was not allowed to."
    return [
        _finding("scripts_blocked", "warning", message, fix="If you trust the scene, submit it with --allow-scripts.")
    ]


def _check_files(settings: dict[str, Any]) -> None:
    missing = scene_check.missing_files(list(settings["allowed_missing"]))
    if missing:
        lines = [f"{item.path} ({item.datablock})" for item in missing[:_LISTED]]
        more = f" and {len(missing) - _LISTED} more" if len(missing) > _LISTED else ""
        raise BadJob(
            volume.CAUSE_FILE_MISSING,
            f"Files of the scene are missing: {'; '.join(lines)}{more}. Bring them back, or submit with --allow-missing NAME.",
        )


def _choose_scene(name: str | None) -> Any:
    if name is None:
        return bpy.context.scene
    scene = bpy.data.scenes.get(name)
    if scene is None:
        raise BadJob(volume.CAUSE_SCENE, f"The file has no scene '{name}'. It has: {_names(bpy.data.scenes)}.")
    if bpy.context.window is not None:
        bpy.context.window.scene = scene
    return scene


_EEVEE = ("BLENDER_EEVEE", "BLENDER_EEVEE_NEXT")


def _set_engine(scene: Any, engine: str | None) -> None:
    if engine is None:
        return
    if engine in _EEVEE:  # one engine, called differently: 4.2 to 4.5 say NEXT
        engine = _EEVEE[bpy.app.version < (5, 0, 0)]
    try:
        scene.render.engine = engine
    except TypeError as error:
        raise BadJob(
            volume.CAUSE_SCENE, f"Blender {bpy.app.version_string} has no render engine '{engine}': {error}"
        ) from error


def _set_camera(scene: Any, camera: str | None) -> None:
    if camera is None:
        if scene.camera is None and not any(marker.camera for marker in scene.timeline_markers):
            raise BadJob(
                volume.CAUSE_SCENE,
                f"Scene '{scene.name}' has no active camera. Set one in the scene, or choose one with --camera.",
            )
        return
    found = next((obj for obj in scene.objects if obj.type == "CAMERA" and obj.name == camera), None)
    if found is None:
        cameras = [obj for obj in scene.objects if obj.type == "CAMERA"]
        raise BadJob(volume.CAUSE_SCENE, f"Scene '{scene.name}' has no camera '{camera}'. It has: {_names(cameras)}.")
    for marker in scene.timeline_markers:
        marker.camera = None  # a marker would take the camera back at its frame
    scene.camera = found


def _set_layers(scene: Any, wanted: list[str]) -> None:
    for name in wanted:
        if name not in scene.view_layers:
            raise BadJob(
                volume.CAUSE_SCENE,
                f"Scene '{scene.name}' has no view layer '{name}'. It has: {_names(scene.view_layers)}.",
            )
    if wanted:
        for layer in scene.view_layers:
            layer.use = layer.name in wanted


def _set_output(scene: Any, settings: dict[str, Any]) -> list[Finding]:
    try:
        before = choose_format(scene, settings["format"])
    except TypeError as error:
        raise BadJob(
            volume.CAUSE_SCENE, f"Blender {bpy.app.version_string} can't write {settings['format']}: {error}"
        ) from error
    render = scene.render
    render.use_file_extension = True
    render.use_overwrite = True
    render.use_placeholder = False
    if not render.use_stamp:
        render.use_stamp_filename = False  # metadata only: it would tell the path of the scene on the farm
    if before in MOVIES:
        message = f"The scene writes a movie ({before}); its frames come as {render.image_settings.file_format}."
        return [_finding("movie_format", "warning", message)]
    return []


def _set_quality(scene: Any, settings: dict[str, Any]) -> None:
    render = scene.render
    # Else persistent data stays as the artist set it: with it Cycles updates its BVH from frame to frame, and a pixel may
    # then depend on which frames the same Blender rendered before. Pixels must not depend on how a job is cut into chunks.
    if settings["persistent_data"]:
        render.use_persistent_data = True
    if settings["percentage"] is not None:
        render.resolution_percentage = settings["percentage"]
    threads = os.environ.get("CLOUD_FARM_THREADS")
    if threads:
        render.threads_mode, render.threads = "FIXED", int(threads)
    if render.engine == "CYCLES":
        if settings["samples"] is not None:
            scene.cycles.samples = settings["samples"]
        if settings["seed"] is not None:
            scene.cycles.seed = settings["seed"]


def _names(items: Any) -> str:
    return ", ".join(f"'{item.name}'" for item in items) or "none"


def _finding(code: str, severity: str, message: str, *, fix: str = "") -> Finding:
    return {"code": code, "severity": severity, "message": message, "datablock": "", "path": "", "fix": fix}
