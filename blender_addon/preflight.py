"""What can be seen of a scene at once, without asking anybody, and what the artist can do about it with one click.

The worker's own look (`Check Scene`) finds more; its findings have the same codes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import bpy

from .cloud_farm.choices import MOVIE_FORMATS
from .properties import camera_elsewhere, chosen_layers, is_among, settings_of
from .registering import of_classes
from .translating import rpt_

_DONE, _NOT_DONE = {"FINISHED"}, {"CANCELLED"}
SHOWN = {
    "CacheFile": "cache_files", "Image": "images", "Library": "libraries", "MovieClip": "movieclips", "Object": "objects", "Sound": "sounds",
    "VectorFont": "fonts", "Volume": "volumes",
}  # fmt: skip
"""Kinds of datablocks that can be gone to, and where they are."""

NO_PREVIEW_RANGE = "The timeline has no preview range."
SET_PREVIEW_RANGE = "Set one in the Timeline, or choose other frames."
CAMERA_ELSEWHERE = "Camera '{:s}' is not in this scene."
CHOOSE_CAMERA = "Choose another in Overrides, or clear it there."


class Finding(NamedTuple):
    """As the worker's findings, which are too much to load at each start of Blender."""

    code: str
    severity: str
    message: str
    datablock: str
    fix: str = ""


FIXES: Mapping[str, tuple[str, str]] = {
    "camera_elsewhere": ("cloud_farm.clear_camera", "Clear Camera"),
    "no_camera": ("cloud_farm.use_camera", "Use Camera"),
    "movie_format": ("cloud_farm.use_images", "Use PNG Files"),
    "file_missing": ("file.find_missing_files", "Find Files"),
    "simulation_not_baked": ("ptcache.bake_all", "Bake All"),
}
"""Code of a finding to the operator that mends it, and what its button says."""


def quick_findings(scene: bpy.types.Scene) -> Iterator[Finding]:
    """Yield what is wrong with a scene as far as it can be told while drawing."""
    label = f"Scene '{scene.name}'"
    settings = settings_of(scene)
    if settings.camera is None and scene.camera is None and not any(marker.camera for marker in scene.timeline_markers):
        yield Finding("no_camera", "error", "The scene has no camera.", label, fix="Choose one.")
    if (elsewhere := camera_elsewhere(scene)) is not None:
        message = CAMERA_ELSEWHERE.format(elsewhere.name)
        yield Finding("camera_elsewhere", "error", message, f"Object '{elsewhere.name}'", fix=CHOOSE_CAMERA)
    if settings.frames == "PREVIEW" and not scene.use_preview_range:
        yield Finding("no_preview_range", "error", NO_PREVIEW_RANGE, label, fix=SET_PREVIEW_RANGE)
    if chosen_layers(scene) == ():
        message = "No view layer is chosen to be rendered."
        yield Finding(
            "no_view_layer", "error", message, label, fix="Choose one in Overrides, or clear View Layers there."
        )
    if scene.render.image_settings.file_format in MOVIE_FORMATS:
        message = "The output is a movie; the farm renders images, and the movie is made of them afterwards."
        yield Finding("movie_format", "warning", message, label)


def described(label: str) -> tuple[str, str]:
    """Return the kind and the name of a datablock as findings call it; empty for what is none."""
    kind, quote, name = label.partition(" '")
    return (kind, name[:-1]) if quote and name.endswith("'") else ("", "")


def find_datablock(label: str) -> bpy.types.ID | None:
    """Return the datablock that a finding is about; None if it is gone or of a kind that can't be shown."""
    kind, name = described(label)
    blocks: Any = getattr(bpy.data, SHOWN[kind], None) if kind in SHOWN else None
    return blocks.get(name) if blocks is not None else None


def _find_in_outliner(name: str, context: bpy.types.Context) -> bool:
    """Have an Outliner of all that is in the file show only what has a name: one that is open, or one in a window of its own."""
    spaces, new_window = list(_outliners(context)), bpy.ops.wm.window_new
    if not spaces and new_window.poll():  # type: ignore[call-arg]
        new_window()
        area = context.window_manager.windows[-1].screen.areas[0]  # type: ignore[union-attr]
        area.ui_type = "OUTLINER"
        area.spaces.active.display_mode = "LIBRARIES"  # type: ignore[union-attr]
        spaces = list(_outliners(context))
    for space in spaces[:1]:
        space.filter_text = name
    return bool(spaces)


def _outliners(context: bpy.types.Context) -> Iterator[bpy.types.SpaceOutliner]:
    """Yield the Outliners that show all that is in the file."""
    for window in context.window_manager.windows if context.window_manager is not None else ():
        for area in window.screen.areas:
            space = area.spaces.active
            if isinstance(space, bpy.types.SpaceOutliner) and space.display_mode == "LIBRARIES":
                yield space


def _why_not_selected(item: bpy.types.Object, context: bpy.types.Context) -> str:
    """Select an object and nothing else; returns why it can't be selected, and leaves all as it is then. Empty if it was."""
    layer = context.view_layer
    if layer is None or not is_among(layer.objects, item):
        return rpt_("Object '{:s}' is not in this view layer; it can be found in the Outliner").format(item.name)
    item.select_set(True)
    if not item.select_get():
        return rpt_("Object '{:s}' is hidden or can't be selected; it can be found in the Outliner").format(item.name)
    for other in layer.objects.selected:
        if other != item:
            other.select_set(False)
    layer.objects.active = item
    return ""


class CLOUDFARM_OT_use_camera(bpy.types.Operator):
    """Make a camera of this scene the one that renders"""

    bl_idname = "cloud_farm.use_camera"
    bl_label = "Use Camera"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if context.scene is not None and context.scene.library is not None:
            cls.poll_message_set("The scene is linked from another file")
            return False
        if not cls._cameras(context):
            cls.poll_message_set("The scene has no camera: add one with Add, Camera")
            return False
        return True

    @staticmethod
    def _cameras(context: bpy.types.Context) -> list[bpy.types.Object]:
        return [item for item in context.scene.objects if item.type == "CAMERA"] if context.scene else []

    def execute(self, context: bpy.types.Context) -> Any:
        assert context.scene is not None
        chosen = context.object if context.object in self._cameras(context) else self._cameras(context)[0]
        context.scene.camera = chosen
        self.report({"INFO"}, rpt_("'{:s}' renders now").format(chosen.name))
        return _DONE


class _MendsScene(bpy.types.Operator):
    """Changes the scene, if it is this file's own."""

    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return context.scene is not None and context.scene.library is None


class CLOUDFARM_OT_clear_camera(_MendsScene):
    """Render the scene with its own camera, not with one that is not in it"""

    bl_idname = "cloud_farm.clear_camera"
    bl_label = "Clear Camera"

    def execute(self, context: bpy.types.Context) -> Any:
        settings_of(context.scene).camera = None
        return _DONE


class CLOUDFARM_OT_use_images(_MendsScene):
    """Have the scene write PNG files in place of a movie"""

    bl_idname = "cloud_farm.use_images"
    bl_label = "Use PNG Files"

    def execute(self, context: bpy.types.Context) -> Any:
        assert context.scene is not None
        settings: Any = context.scene.render.image_settings
        if hasattr(settings, "media_type"):  # Blender 5
            settings.media_type = "IMAGE"
        settings.file_format = "PNG"
        return _DONE


class CLOUDFARM_OT_show_datablock(bpy.types.Operator):
    """Go to what this is about: select the object, open the image, or find the rest in the Outliner"""

    bl_idname = "cloud_farm.show_datablock"
    bl_label = "Show"
    bl_options = {"INTERNAL", "UNDO"}

    datablock: bpy.props.StringProperty(options={"HIDDEN", "SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> Any:
        found, why_not = find_datablock(self.datablock), ""
        if isinstance(found, bpy.types.Object) and not (why_not := _why_not_selected(found, context)):
            return _DONE
        if isinstance(found, bpy.types.Image):
            from . import image_viewer

            if image_viewer.open_image(found, context):
                return _DONE
        is_shown = found is not None and _find_in_outliner(found.name, context)
        if why_not:
            self.report({"WARNING"}, why_not)
        elif not is_shown:
            there = rpt_("{:s} can be found in the Outliner, display mode Blender File")
            self.report({"INFO"}, there.format(self.datablock))
        return _DONE if is_shown else _NOT_DONE


_CLASSES = (CLOUDFARM_OT_use_camera, CLOUDFARM_OT_clear_camera, CLOUDFARM_OT_use_images, CLOUDFARM_OT_show_datablock)

register, unregister = of_classes(_CLASSES)
