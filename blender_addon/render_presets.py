"""Presets of how a scene is rendered on a farm, by Blender's own preset system: files below `presets/cloud_farm`."""

from __future__ import annotations

from typing import Any, ClassVar

import bpy
from bl_operators.presets import AddPresetBase
from bl_ui.utils import PresetPanel

from .registering import of_classes

_FOLDER = "cloud_farm"
_VALUES = ("frames", "custom_frames", "device", "use_samples", "samples", "use_percentage", "percentage", "chunk_size")
"""Of the settings, those that mean the same in every file: cameras and view layers are a scene's own."""


class CLOUDFARM_PT_presets(PresetPanel, bpy.types.Panel):
    """Presets of how a scene is rendered on a farm"""

    bl_label = "Cloud Farm Presets"
    preset_subdir = _FOLDER
    preset_operator = "script.execute_preset"
    preset_add_operator = "cloud_farm.preset_add"


class CLOUDFARM_OT_preset_add(AddPresetBase, bpy.types.Operator):  # type: ignore[misc]
    """Add or remove a preset of how a scene is rendered on a farm"""

    bl_idname = "cloud_farm.preset_add"
    bl_label = "Add Cloud Farm Preset"
    preset_menu = "CLOUDFARM_PT_presets"
    preset_subdir = _FOLDER
    preset_defines: ClassVar[list[str]] = ["settings = bpy.context.scene.cloud_farm"]
    preset_values: ClassVar[list[str]] = [f"settings.{name}" for name in _VALUES]


def draw_header(layout: Any) -> None:
    """Draw the presets' button into a panel's header."""
    CLOUDFARM_PT_presets.draw_panel_header(layout)


_CLASSES = (CLOUDFARM_OT_preset_add, CLOUDFARM_PT_presets)

register, unregister = of_classes(_CLASSES)
