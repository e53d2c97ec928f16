"""The add-on's preferences: which farm is used. What a farm is says its profile, a file outside of Blender."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import bpy

from .drawing import LEVELS, paragraph
from .session import SESSION

LOCAL = "local"
_PACKAGE = __package__ or ""


def _known_farms(_self: object, _context: bpy.types.Context, _text: str) -> list[str]:
    return list(SESSION.farms.names)


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

    def draw(self, context: bpy.types.Context) -> None:
        """Draw them."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        row = layout.row(align=True)
        row.prop(self, "farm")
        row.operator("cloud_farm.add_farm", text="", icon="ADD")
        row.operator("cloud_farm.remove_farm", text="", icon="REMOVE")
        farm = chosen_farm(context)
        SESSION.farms.watch(farm)
        _draw_farm(layout.box(), farm, context)
        row = layout.row()
        row.operator("cloud_farm.import_farm", icon="IMPORT")
        row.operator("cloud_farm.export_farm", icon="EXPORT")
        row.operator("cloud_farm.open_log", icon="TEXT")


def _draw_farm(layout: bpy.types.UILayout, farm: str, context: bpy.types.Context) -> None:
    """Draw where a farm is, how it is, and where its secrets are kept."""
    profile = SESSION.farms.profiles.get(farm)
    problem = SESSION.farms.problem_of(farm)
    if problem:
        paragraph(layout.column(align=True), problem, context, icon="ERROR")
    if profile is None:
        if not problem:
            layout.label(text="Reading the profile", icon="INFO")
        return
    values = {key: found["value"] for key, found in profile["values"].items()}
    column = layout.column(align=True)
    for name, text in summary(values, is_local=profile["is_local"]):
        split = column.split(factor=0.3)
        side = split.row()
        side.alignment = "RIGHT"
        side.label(text=name)
        split.label(text=text, translate=False)
    if profile["to_give"]:
        text = f"Still needed: {', '.join(profile['to_give'].values())}. Press Edit to give it."
        paragraph(layout.column(align=True), text, context, icon="KEYINGSET")
    row = layout.row()
    row.operator("cloud_farm.edit_farm", text="Edit", icon="PREFERENCES")
    row.operator("cloud_farm.test_farm", text="Testing" if SESSION.farms.is_testing else "Test", icon="CHECKMARK")
    column = layout.column(align=True)
    for light in SESSION.farms.lights.get(farm, ()):
        text = " ".join(part for part in (f"{light['name'].title()}:", light["message"], light["fix"]) if part)
        lines = column.column(align=True)
        lines.alert = light["level"] == "red"
        paragraph(lines, text, context, icon=LEVELS.get(light["level"], "QUESTION"))
    if not profile["is_local"]:
        paragraph(
            layout.column(align=True),
            f"Passwords and tokens are kept in {profile['secrets']}; never in Blender's preferences or in a"
            " .blend. A profile can name an environment variable instead: {env: NAME}.",
            context,
            icon="LOCKED",
        )


def summary(values: Mapping[str, Any], *, is_local: bool) -> list[tuple[str, str]]:
    """Return what a person wants to know of a farm, name and text."""
    if is_local:
        return [("Renders", "on this computer"), ("Folder", str(values.get("volume.mount_path") or ""))]
    user = values.get("filebrowser.user")
    cluster = values.get("kubernetes.server") or values.get("kubernetes.context") or "the kubeconfig's own context"
    models = ", ".join(values.get("gpu.models") or ()) or "any"
    return [
        ("Volume", f"{values.get('filebrowser.url') or 'not set'}{f' as {user}' if user else ''}"),
        ("Kubernetes", f"{cluster}, namespace {values.get('kubernetes.namespace') or 'of the context'}"),
        ("GPU", models),
        ("Blender", ", ".join(sorted(values.get("images") or ())) or "no images yet"),
    ]


def set_farm(context: bpy.types.Context, farm: str) -> None:
    """Choose the farm that is used."""
    assert context.preferences is not None
    addon = context.preferences.addons.get(_PACKAGE)
    if addon is not None and isinstance(addon.preferences, CloudFarmPreferences):
        addon.preferences.farm = farm
        context.preferences.is_dirty = True  # saved with the rest, as if it had been typed


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
