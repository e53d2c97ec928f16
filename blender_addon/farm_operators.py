"""What an artist or admin can do with farms: make one, change it, try it out, hand it on. The worker keeps the profiles.

Passwords pass through an operator's property, which Blender keeps neither in a file nor in its history, and are gone from it once
the worker has them.
"""

from __future__ import annotations

from typing import Any

import bpy

from .farm_dialog import AS_TYPED, FarmFields, Secrets, draw_refusal, images_text, refuse
from .preferences import LOCAL, chosen_farm, set_farm
from .registering import of_classes
from .session import SESSION, may_reach

_DONE, _NOT_DONE = {"FINISHED"}, {"CANCELLED"}
_DIALOG_PIXELS = 480


def _known_values(farm: str) -> dict[str, Any]:
    profile = SESSION.farms.profiles.get(farm)
    return {key: found["value"] for key, found in profile["values"].items()} if profile else {}


def _choose(farm: str) -> None:
    set_farm(bpy.context, farm)


def _leave(farm: str) -> None:
    """Choose this computer in place of a farm that is gone; one that the studio has too is still there."""
    if farm == chosen_farm(bpy.context) and farm not in SESSION.farms.names:
        set_farm(bpy.context, LOCAL)


class CLOUDFARM_OT_add_farm(FarmFields, bpy.types.Operator):
    """Make a profile of a farm that is reached over the network"""

    bl_idname = "cloud_farm.add_farm"
    bl_label = "Add Farm"
    bl_options = {"INTERNAL"}

    farm: bpy.props.StringProperty(
        name="Name", description="What the farm is called here: letters, digits, '-' and '_'", options=AS_TYPED
    )

    def invoke(self, context: bpy.types.Context, _event: Any) -> Any:
        assert context.window_manager is not None
        return context.window_manager.invoke_props_dialog(self, width=_DIALOG_PIXELS)

    def draw(self, _context: Any) -> None:
        """Draw the dialog."""
        layout = self.layout
        assert layout is not None
        layout.use_property_split = True
        layout.prop(self, "farm")
        if self.farm:
            draw_refusal(layout, self.why_not_its_name())
        self.draw_fields(layout)

    def why_not_its_name(self) -> str:
        """Return why the farm can't be called so; empty if it can."""
        from .cloud_farm.errors import ProfileError
        from .cloud_farm.profile_files import own_file

        if not self.farm:
            return "Give the farm a name"
        try:
            own_file(self.farm)
        except ProfileError as error:
            return str(error)
        return f"There is a farm '{self.farm}' already" if self.farm in SESSION.farms.names else ""

    def execute(self, _context: bpy.types.Context) -> Any:
        if why := self.why_not_its_name() or self.why_no_images():
            return refuse(self, why, "add_farm")
        values = {key: value for key, value in self.typed_values().items() if value is not None}
        # A preset says engine and store; without one, a farm that is added here is one on a cluster.
        kind = {} if "preset" in values else {"engine": "argo", "store": "filebrowser"}
        SESSION.farms.save(str(self.farm), {**kind, **values}, self.take_secrets(), then=_choose)
        return _DONE


class CLOUDFARM_OT_edit_farm(FarmFields, bpy.types.Operator):
    """Change the profile of the chosen farm"""

    bl_idname = "cloud_farm.edit_farm"
    bl_label = "Edit Farm"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return chosen_farm(context) != LOCAL and chosen_farm(context) in SESSION.farms.profiles

    def invoke(self, context: bpy.types.Context, _event: Any) -> Any:
        assert context.window_manager is not None
        if not self.properties.is_property_set("url"):  # else it is opened again with what was typed
            self.fill(_known_values(chosen_farm(context)))
        return context.window_manager.invoke_props_dialog(self, width=_DIALOG_PIXELS)

    def draw(self, _context: Any) -> None:
        """Draw the dialog."""
        assert self.layout is not None
        self.draw_fields(self.layout)

    def execute(self, context: bpy.types.Context) -> Any:
        farm = chosen_farm(context)
        known = _known_values(farm)
        if why := self.why_no_images():
            return refuse(self, why, "edit_farm")
        values = self.typed_values()
        if self.images == images_text(known):
            values["images"] = known.get("images") or None  # they may say more than a dialog shows
        # What a studio's file or a preset says stays theirs: only what differs is written into the user's own.
        changed = {key: value for key, value in values.items() if value != (known.get(key) or None)}
        SESSION.farms.save(farm, changed, self.take_secrets())
        return _DONE


class CLOUDFARM_OT_test_farm(bpy.types.Operator):
    """See whether the chosen farm's volume answers, Kubernetes, and Argo"""

    bl_idname = "cloud_farm.test_farm"
    bl_label = "Test"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not may_reach(chosen_farm(context)):
            cls.poll_message_set("Allow Online Access in Preferences, System, Network")
            return False
        return not SESSION.farms.is_testing

    def execute(self, context: bpy.types.Context) -> Any:
        SESSION.farms.try_out(chosen_farm(context))
        return _DONE


class _OnFarmElsewhere:
    """Something that is done with a farm that has a profile of its own."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return chosen_farm(context) != LOCAL


class _WithFile:
    """Something that asks for a profile's file first."""

    filepath: bpy.props.StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: bpy.props.StringProperty(default="*.yaml;*.yml", options={"HIDDEN"})

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> Any:
        assert context.window_manager is not None
        context.window_manager.fileselect_add(self)  # type: ignore[arg-type]
        return {"RUNNING_MODAL"}


class CLOUDFARM_OT_import_farm(Secrets, _WithFile, bpy.types.Operator):
    """Take in the profile of a farm that an admin gave you; passwords are yours to give, here or later"""

    bl_idname = "cloud_farm.import_farm"
    bl_label = "Import Farm"
    bl_options = {"INTERNAL"}

    def draw(self, _context: Any) -> None:
        """Draw beside the list of files what the artist gives besides."""
        layout = self.layout
        assert layout is not None
        layout.use_property_split = True
        layout.prop(self, "password")
        layout.prop(self, "token")

    def execute(self, _context: Any) -> Any:
        SESSION.farms.take_in(bpy.path.abspath(self.filepath), self.take_secrets(), then=_choose)
        return _DONE


class CLOUDFARM_OT_export_farm(_OnFarmElsewhere, _WithFile, bpy.types.Operator):
    """Write the profile of the chosen farm for others; passwords stay here"""

    bl_idname = "cloud_farm.export_farm"
    bl_label = "Export Farm"
    bl_options = {"INTERNAL"}

    check_existing: bpy.props.BoolProperty(default=True, options={"HIDDEN"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Any:
        self.filepath = f"{chosen_farm(context)}.yaml"
        return super().invoke(context, event)

    def execute(self, context: bpy.types.Context) -> Any:
        SESSION.farms.hand_on(chosen_farm(context), bpy.path.ensure_ext(bpy.path.abspath(self.filepath), ".yaml"))
        return _DONE


class CLOUDFARM_OT_remove_farm(_OnFarmElsewhere, bpy.types.Operator):
    """Remove the profile of the chosen farm from this computer; the farm and its jobs stay"""

    bl_idname = "cloud_farm.remove_farm"
    bl_label = "Remove Farm"
    bl_options = {"INTERNAL"}

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Any:
        assert context.window_manager is not None
        return context.window_manager.invoke_confirm(self, event)

    def execute(self, context: bpy.types.Context) -> Any:
        SESSION.farms.remove(chosen_farm(context), then=_leave)
        return _DONE


_CLASSES = (
    CLOUDFARM_OT_add_farm, CLOUDFARM_OT_edit_farm, CLOUDFARM_OT_test_farm, CLOUDFARM_OT_import_farm, CLOUDFARM_OT_export_farm,
    CLOUDFARM_OT_remove_farm,
)  # fmt: skip

register, unregister = of_classes(_CLASSES)
