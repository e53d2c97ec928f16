"""What the artist sees: the panel in Properties ▸ Output, the same in the Image Editor's sidebar, an entry in the Render menu.

Drawing reads what is known and asks for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import bpy

from . import render_presets
from .drawing import SEVERITIES, duration, paragraph
from .operators import SAVING, may_queue, send_label
from .outbox import CHECK
from .preferences import chosen_farm
from .preflight import FIXES, SHOWN, described, quick_findings
from .properties import settings_of
from .session import SESSION, may_reach
from .translating import iface_

if TYPE_CHECKING:
    from .outbox import Sending

_MOST_FINDINGS, _MOST_BEHIND = 8, 4
_LINKED = "This scene is linked from another file: it renders as it is set there."


class _Send:
    """Drawn in two places: how the scene is rendered, the buttons, and what is known of the scene."""

    bl_label = "Cloud Farm"

    def draw_header_preset(self, _context: bpy.types.Context) -> None:
        """Draw the presets' button."""
        render_presets.draw_header(self.layout)  # type: ignore[attr-defined]

    def draw(self, context: bpy.types.Context) -> None:
        """Draw settings, buttons and what is on its way."""
        layout, scene = self.layout, context.scene  # type: ignore[attr-defined]
        assert scene is not None
        layout.use_property_split = True
        layout.use_property_decorate = False
        if scene.library is not None:
            paragraph(layout.column(align=True), iface_(_LINKED), context, icon="LIBRARY_DATA_DIRECT")
        SESSION.watch(chosen_farm(context) if may_reach(chosen_farm(context)) else "local")
        settings = settings_of(scene)
        column = layout.column()
        column.prop(settings, "frames")
        if settings.frames == "CUSTOM":
            row = column.row()
            why_not = _why_no_frames(scene)
            row.alert = bool(why_not)
            row.prop(settings, "custom_frames", text=" ")
            if why_not:
                paragraph(column.column(align=True), why_not, context, icon="ERROR")
        _draw_buttons(layout, context)
        _draw_findings(layout, [finding._asdict() for finding in quick_findings(scene)], context)
        if SESSION.outbox.sending is not None:
            _draw_sending(layout, SESSION.outbox.sending, context)


def _why_no_frames(scene: bpy.types.Scene) -> str:
    """Return why the frames that the artist typed can't be rendered; empty if they can."""
    from .scene_reader import why_no_frames  # loads the backend: only for who types frames

    return why_no_frames(scene)


def _draw_buttons(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    sending = SESSION.outbox.sending
    if SESSION.outbox.is_saving:
        layout.progress(factor=0.0, text=SAVING)
    elif sending is not None and sending.request:
        column = layout.column(align=True)
        row = column.row(align=True)
        row.progress(factor=sending.fraction, text=sending.step)
        row.operator("cloud_farm.stop_sending", text="", icon="X")
        if sending.saving_seconds is not None:
            saved = iface_("Its copy was saved in {:.1f} s").format(sending.saving_seconds)
            column.label(text=saved, icon="FILE_TICK", translate=False)
        if may_queue(context):
            layout.operator("cloud_farm.send", text=send_label(context), translate=False, icon="RENDER_ANIMATION")
    else:
        row = layout.row()
        row.scale_y = 1.5
        row.operator("cloud_farm.send", text=send_label(context), translate=False, icon="RENDER_ANIMATION")
        row = layout.row(align=True)
        row.operator("cloud_farm.check", icon="VIEWZOOM")
        row.operator("cloud_farm.scout", icon="RENDER_STILL")
    _draw_behind(layout)
    if not may_reach(chosen_farm(context)):
        column = layout.column()
        column.label(text="This farm needs online access", icon="INTERNET_OFFLINE")
        _draw_leave(column)


def _draw_behind(layout: bpy.types.UILayout) -> None:
    """Draw the scenes that wait, or are on their way behind one of which there is something to be read."""
    behind = SESSION.outbox.behind
    if not behind:
        return  # an empty column takes room too
    column = layout.column(align=True)
    for one in behind[:_MOST_BEHIND]:
        row = column.row(align=True)
        said = iface_(one.step) if one.request else iface_("Waits")
        row.label(text=f"{one.title}, {one.farm}: {said}", icon="TIME", translate=False)
        row.operator("cloud_farm.leave_waiting", text="", icon="X", emboss=False).snapshot = str(one.snapshot)
    if len(behind) > _MOST_BEHIND:
        more = iface_("And {:d} more").format(len(behind) - _MOST_BEHIND)
        column.label(text=more, icon="BLANK1", translate=False)


def _draw_leave(layout: bpy.types.UILayout) -> None:
    layout.operator("extensions.userpref_allow_online", text="Allow Online Access", icon="CHECKMARK")


def _draw_sending(layout: bpy.types.UILayout, sending: Sending, context: bpy.types.Context) -> None:
    """Draw what came of the last scene: why it was not sent, or what a check or scouts found."""
    if not (sending.error or sending.findings or sending.result):
        return
    box = layout.box()
    head = box.row()
    head.label(text="Not Sent" if sending.error else "About This Scene", icon="ERROR" if sending.error else "INFO")
    if not sending.request:
        head.operator("cloud_farm.dismiss", text="", icon="X", emboss=False)
    _draw_findings(box, sending.findings, context)
    said = {finding["message"] for finding in sending.findings}
    if sending.error and not any(message in sending.error for message in said):
        paragraph(box.column(align=True), sending.error, context, icon="CANCEL")
    column = box.column(align=True)
    for text in result_lines(sending.result or {}, is_checked=sending.verb == CHECK):
        paragraph(column, text, context)
    if sending.needs_leave:
        _draw_leave(box)
    elif sending.can_go_on:
        box.operator("cloud_farm.send_again", icon="FILE_REFRESH")
    elif sending.is_held:
        row = box.row()
        row.operator("cloud_farm.send_again", text=send_label(context), translate=False, icon="RENDER_ANIMATION")
        row.operator("cloud_farm.dismiss", text="Leave It", icon="X")


def result_lines(result: Mapping[str, Any], *, is_checked: bool) -> list[str]:
    """Return what a check or scouts found, in sentences."""
    from .cloud_farm.events import counted
    from .cloud_farm.units import size as size_text

    if not result:
        return []
    lines = [str(message) for message in result.get("messages", ())]
    if is_checked:
        size, files = size_text(result["bytes"]), counted(result["files"], "file")
        work = f"{counted(result['frames'], 'frame')} in {counted(result['chunks'], 'chunk')}"
        lines += [f"{size} in {files}, less what the farm has.", f"{work}; they land in {result['landing']}."]
    guess = result.get("estimate")
    if guess is None:
        return [*lines, "No frames of this scene were rendered so yet: Scout Frames tells how long it takes."]
    measured = guess["measured"]
    cost = "" if guess["cost"] is None else f", cost {guess['cost']:.2f}"
    return [
        *lines,
        f"About {duration(guess['seconds'])}{cost}: {duration(measured['frame_seconds'])} a frame,"
        f" from {counted(measured['frames'], 'frame')} of {measured['job']}.",
    ]


def _draw_findings(
    layout: bpy.types.UILayout, findings: Sequence[Mapping[str, Any]], context: bpy.types.Context
) -> None:
    """Draw what is wrong, the worst first; each with its datablock to click on and, where one is safe, a button that mends it."""
    if not findings:
        return
    column = layout.column(align=True)
    ranks = {severity: rank for rank, severity in enumerate(SEVERITIES)}
    ordered = sorted(findings, key=lambda finding: ranks.get(finding["severity"], len(ranks)))
    for finding in ordered[:_MOST_FINDINGS]:
        text = " ".join(part for part in (finding["message"], finding["fix"]) if part)
        lines = column.column(align=True)
        lines.alert = finding["severity"] == "error"
        paragraph(lines, text, context, icon=SEVERITIES.get(finding["severity"], "INFO"))
        _draw_help(column, finding)
    if len(ordered) > _MOST_FINDINGS:
        more = iface_("And {:d} more").format(len(ordered) - _MOST_FINDINGS)
        column.label(text=more, icon="BLANK1", translate=False)


def _draw_help(column: bpy.types.UILayout, finding: Mapping[str, Any]) -> None:
    fix = FIXES.get(str(finding["code"]))
    kind, name = described(str(finding["datablock"]))
    can_show = kind in SHOWN
    if fix is None and not can_show:
        return
    row = column.row(align=True)
    row.label(text="", icon="BLANK1")
    if can_show:
        row.operator(
            "cloud_farm.show_datablock", text=name, translate=False, icon="RESTRICT_SELECT_OFF"
        ).datablock = finding["datablock"]
    if fix is not None:
        row.operator(fix[0], text=fix[1], icon="TOOL_SETTINGS")


class _Overrides:
    """Drawn in two places: what is taken in place of the scene's own settings."""

    bl_label = "Overrides"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw them; what only Cycles knows is dim for other engines."""
        layout, scene = self.layout, context.scene  # type: ignore[attr-defined]
        assert scene is not None
        settings = settings_of(scene)
        layout.use_property_split = True
        layout.use_property_decorate = False
        column = layout.column()
        column.prop(settings, "camera")
        _draw_layers(column, scene)
        cycles = column.column()
        engine: str = scene.render.engine
        cycles.active = engine == "CYCLES"
        cycles.prop(settings, "device")
        _draw_override(cycles, settings, "use_samples", "samples")
        _draw_override(column, settings, "use_percentage", "percentage")
        column.prop(settings, "chunk_size")


def _draw_override(column: bpy.types.UILayout, settings: Any, use: str, value: str) -> None:
    row = column.row(heading=settings.bl_rna.properties[value].name)
    row.prop(settings, use, text="")
    part = row.row()
    part.active = getattr(settings, use)
    part.prop(settings, value, text="")


def _draw_layers(column: bpy.types.UILayout, scene: bpy.types.Scene) -> None:
    """Draw the scene's view layers, each with a tick."""
    settings = settings_of(scene)
    column.row(heading="View Layers").prop(settings, "use_view_layers", text="")
    if settings.use_view_layers:
        layers = column.column(align=True)
        for layer in scene.view_layers:
            layers.prop(layer.cloud_farm, "use", text=layer.name, translate=False)  # type: ignore[attr-defined]


class CLOUDFARM_PT_output(_Send, bpy.types.Panel):
    """Cloud Farm"""

    bl_space_type = "PROPERTIES"
    bl_region_type = "WINDOW"
    bl_context = "output"


class CLOUDFARM_PT_output_overrides(_Overrides, bpy.types.Panel):
    """What is taken in place of the scene's own settings"""

    bl_space_type = "PROPERTIES"
    bl_region_type = "WINDOW"
    bl_context = "output"
    bl_parent_id = "CLOUDFARM_PT_output"
    bl_options = {"DEFAULT_CLOSED"}


class CLOUDFARM_PT_image(_Send, bpy.types.Panel):
    """Cloud Farm"""

    bl_space_type = "IMAGE_EDITOR"
    bl_region_type = "UI"
    bl_category = "Cloud Farm"


class CLOUDFARM_PT_image_overrides(_Overrides, bpy.types.Panel):
    """What is taken in place of the scene's own settings"""

    bl_space_type = "IMAGE_EDITOR"
    bl_region_type = "UI"
    bl_category = "Cloud Farm"
    bl_parent_id = "CLOUDFARM_PT_image"
    bl_options = {"DEFAULT_CLOSED"}


# Blender draws its Render menu by one function, and what add-ons have to say before or after it: there is no place right behind
# Render Animation that does not take that function's.
def _draw_menu(self: Any, context: bpy.types.Context) -> None:
    self.layout.separator()
    self.layout.operator("cloud_farm.send", text=send_label(context), translate=False, icon="RENDER_ANIMATION")


_CLASSES = (CLOUDFARM_PT_output, CLOUDFARM_PT_output_overrides, CLOUDFARM_PT_image, CLOUDFARM_PT_image_overrides)


def register() -> None:
    """Put panels and menu entry in their places."""
    for cls in _CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.TOPBAR_MT_render.append(_draw_menu)


def unregister() -> None:
    """Take them away."""
    bpy.types.TOPBAR_MT_render.remove(_draw_menu)
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
