"""The add-on's preferences: which farm is used. What a farm is says its profile, a file outside of Blender."""

from __future__ import annotations

import bpy

from .session import SESSION

LOCAL = "local"
_PACKAGE = __package__ or ""


def _known_farms(_self: object, _context: bpy.types.Context, _text: str) -> list[str]:
    return list(SESSION.farms)


class CloudFarmPreferences(bpy.types.AddonPreferences):
    """Cloud Farm's preferences"""

    bl_idname = _PACKAGE

    farm: bpy.props.StringProperty(
        name="Farm",
        description="Farm that renders: 'local' is this computer, others have a profile of that name",
        default=LOCAL,
        search=_known_farms,
        search_options={"SUGGESTION"},
    )

    def draw(self, _context: bpy.types.Context) -> None:
        """Draw them."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(self, "farm")
        row = layout.row()
        row.alignment = "RIGHT"
        row.operator("cloud_farm.open_log", icon="TEXT")


def chosen_farm(context: bpy.types.Context) -> str:
    """Return the name of the farm that is used."""
    assert context.preferences is not None
    addon = context.preferences.addons.get(_PACKAGE)
    preferences = addon.preferences if addon is not None else None
    return (preferences.farm if isinstance(preferences, CloudFarmPreferences) else "") or LOCAL


def register() -> None:
    """Register the preferences."""
    bpy.utils.register_class(CloudFarmPreferences)


def unregister() -> None:
    """Remove them; what was chosen stays in Blender's own file."""
    bpy.utils.unregister_class(CloudFarmPreferences)
