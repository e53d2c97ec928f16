"""The jobs as the artist sees them: the list, and below it all that is known of one and can be done with it.

Drawing reads what is known and asks for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import bpy

from . import frame_strip, image_viewer
from .drawing import age, duration, paragraph, units_across
from .job_operators import active_job, can_resume
from .preferences import chosen_farm
from .properties import state_of
from .registering import of_classes
from .session import SESSION
from .translating import iface_
from .wording import worded

_ICONS: dict[str, Any] = {
    "uploading": "EXPORT", "queued": "SORTTIME", "rendering": "RENDER_ANIMATION", "paused": "PAUSE", "cancelling": "CANCEL",
    "cancelled": "CANCEL", "failed": "ERROR", "done": "CHECKMARK",
}  # fmt: skip
_MOST_MESSAGES = 4
_LARGE = "Its frames are large: previews come in by themselves, View loads the frames."
_ONE_BY_ONE = "Blender can't scrub its frames: it takes the last digits of a name for the frame, and knows none below zero. Click a cell to see one."
_SCATTERED = "Blender can't scrub its frames: they don't all lie in one folder, or another job's took their places. Click a cell to see one."
_UNITS_FOR_AGE, _UNITS_FOR_USER = 15.0, 20.0
"""Widths of a panel, in Blender's units, from which on a job's line has room for them beside its title."""


class CLOUDFARM_UL_jobs(bpy.types.UIList):
    """Jobs of a farm"""

    def draw_item(
        self, context: Any, layout: bpy.types.UILayout, _data: Any, item: Any, _icon: Any, _active: Any, *_rest: Any
    ) -> None:
        """Draw a job's line: state, title, whose it is and how old, how far it is; what there is no room for is left out."""
        units = units_across(context)
        row = layout.row(align=True)
        row.label(text=item.title or item.name, icon=_ICONS.get(item.state, "QUESTION"), translate=False)
        if units >= _UNITS_FOR_USER:
            _right(row, item.owner, 4.0)
        if units >= _UNITS_FOR_AGE:
            _right(row, age(item.created, datetime.now(UTC)), 2.6)
        failed = str(item.failed) if item.failed else ""
        if units >= _UNITS_FOR_AGE:
            _right(row, failed, 2.4, icon="ERROR" if failed else "NONE", alert=True)
        elif failed:
            _right(row, failed, 1.2, alert=True)
        _right(row, f"{item.done}/{item.total}" if item.total else "", 3.4)
        if units >= _UNITS_FOR_AGE:
            _right(row, duration(item.seconds_left) if item.seconds_left >= 0 else "", 3.0)


def _right(row: bpy.types.UILayout, text: str, units: float, *, icon: Any = "NONE", alert: bool = False) -> None:
    """Draw a text at the right edge of a column, so that those of several lines stand below each other."""
    column = row.row()
    column.ui_units_x = units
    column.alignment = "RIGHT"
    column.alert = alert
    column.label(text=text, icon=icon, translate=False)


class _Jobs:
    """Drawn in two places: the jobs, and the details of one."""

    bl_label = "Jobs"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw list and details."""
        layout, state = self.layout, state_of(context)  # type: ignore[attr-defined]
        if SESSION.watched_farm != chosen_farm(context):
            layout.label(text="Jobs of this computer", icon="INFO")
        if SESSION.problem:
            row = layout.row()
            paragraph(row.column(align=True), SESSION.problem, context, icon="ERROR")
            row.operator("cloud_farm.dismiss_problem", text="", icon="X", emboss=False)
        if SESSION.listing_problem:
            paragraph(layout.column(align=True), SESSION.listing_problem, context, icon="ERROR")
        row = layout.row()
        row.template_list("CLOUDFARM_UL_jobs", "", state, "jobs", state, "active_job", rows=3)
        column = row.column(align=True)
        column.operator("cloud_farm.refresh", text="", icon="FILE_REFRESH")
        column.operator("cloud_farm.delete", text="", icon="TRASH")
        job = active_job(context)
        if job is not None:
            _draw_job(layout, job, SESSION.pictures.get(job["id"], {}), context)


def _draw_job(
    layout: bpy.types.UILayout, job: Mapping[str, Any], picture: Mapping[str, Any], context: bpy.types.Context
) -> None:
    done, total = job["frames_done"], job["frames_total"]
    column = layout.column(align=True)
    column.progress(factor=done / total if total else 0.0, text=progress_text(job, picture))
    frame_strip.draw(column, picture, context)
    if units_across(context) < _UNITS_FOR_USER:
        made = (job["owner"], age(job["created"], datetime.now(UTC)))
        column.label(text=", ".join(part for part in made if part), icon="USER", translate=False)
    for text in frames_lines(job, picture):
        paragraph(column, text, context)
    _draw_messages(layout, [*messages_of(job, picture), *image_viewer.problems_of(job["id"])], context)
    column = layout.column(align=True)
    if job["state"] != "done":
        _draw_control(column.row(align=True), job)
    row = column.row(align=True)
    row.operator("cloud_farm.view", text="View", icon="IMAGE_DATA")
    row.operator("cloud_farm.open_folder", text="Folder", icon="FILE_FOLDER")
    row.operator("cloud_farm.logs", text="Logs", icon="TEXT")
    row.menu("CLOUDFARM_MT_job", text="", icon="DOWNARROW_HLT")
    if image_viewer.is_large(job["id"]):
        paragraph(layout.column(align=True), SESSION.previews.problem or iface_(_LARGE), context, icon="INFO")
    if not image_viewer.can_be_scrubbed(job["id"]):
        why_not = _SCATTERED if image_viewer.is_scattered(job["id"]) else _ONE_BY_ONE
        paragraph(layout.column(align=True), iface_(why_not), context, icon="INFO")
    layout.prop(state_of(context), "follow_newest")


def messages_of(job: Mapping[str, Any], picture: Mapping[str, Any]) -> list[str]:
    """Return what went wrong with a job, in plain words; of a job that is not followed the list knows one sentence."""
    told = [*picture.get("messages", ()), *picture.get("not_landed", ())]
    return [*(told or filter(None, [worded(job["message"])])), *picture.get("set_aside", ())]


def _draw_messages(layout: bpy.types.UILayout, messages: list[str], context: bpy.types.Context) -> None:
    column = layout.column(align=True)
    for message in messages[:_MOST_MESSAGES]:
        paragraph(column, message, context, icon="ERROR")
    if len(messages) > _MOST_MESSAGES:
        more = iface_("And {:d} more: see the logs").format(len(messages) - _MOST_MESSAGES)
        column.label(text=more, icon="BLANK1", translate=False)


def frames_lines(job: Mapping[str, Any], picture: Mapping[str, Any]) -> Iterator[str]:
    """Yield which frames failed and which render now; of a very large job only how many failed."""
    cameras = picture.get("frame_states") or ()
    for found in cameras:
        camera = f"{found['camera']}: " if found.get("camera") and len(cameras) > 1 else ""
        for state in ("failed", "rendering"):
            if found.get(state):
                yield f"{camera}{iface_(state.capitalize())}: {found[state]}"
    if job["frames_failed"] and not any(found.get("failed") for found in cameras):
        yield f"{iface_('Failed')}: {job['frames_failed']}"


def _draw_control(row: bpy.types.UILayout, job: Mapping[str, Any]) -> None:
    state = str(job["state"])
    if can_resume(job):
        row.operator("cloud_farm.resume", text="Resume", icon="PLAY")
    elif state in ("failed", "cancelled"):
        row.operator("cloud_farm.retry", text="Retry", icon="FILE_REFRESH")
    elif state in ("queued", "rendering"):
        row.operator("cloud_farm.pause", text="Pause", icon="PAUSE")
    if state in ("queued", "rendering", "paused", "not on volume"):
        row.operator("cloud_farm.cancel", text="Cancel", icon="CANCEL")


def progress_text(job: Mapping[str, Any], picture: Mapping[str, Any]) -> str:
    """Return how far a job is: `Rendering, 12 of 250, 4 min left`."""
    count = iface_("{:d} of {:d}").format(job["frames_done"], job["frames_total"])
    parts = [iface_(str(job["state"]).capitalize()), count]
    left = picture.get("eta_seconds")
    if left is not None and job["state"] == "rendering":
        parts.append(iface_("{:s} left").format(duration(left)))
    return ", ".join(parts)


class CLOUDFARM_MT_job(bpy.types.Menu):
    """More that can be done with a job"""

    bl_label = "Job"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the entries."""
        layout, job = self.layout, active_job(context)
        assert layout is not None
        layout.operator("cloud_farm.render_again", icon="RENDER_STILL")
        layout.operator("cloud_farm.add_strip", icon="SEQUENCE")
        layout.operator("cloud_farm.copy_command", icon="COPYDOWN")
        if job is not None and job.get("page"):
            layout.operator("cloud_farm.show_page", icon="URL")
        layout.operator("cloud_farm.open_log", icon="TEXT")
        layout.separator()
        layout.operator("cloud_farm.delete", icon="TRASH")
        if job is not None:
            layout.separator()
            made = f"{job['owner']}, {job['created'].replace('T', ' ').removesuffix('Z')} UTC"
            layout.label(text=made, icon="USER", translate=False)


class CLOUDFARM_PT_output_jobs(_Jobs, bpy.types.Panel):
    """Jobs of the chosen farm"""

    bl_space_type = "PROPERTIES"
    bl_region_type = "WINDOW"
    bl_context = "output"
    bl_parent_id = "CLOUDFARM_PT_output"


class CLOUDFARM_PT_image_jobs(_Jobs, bpy.types.Panel):
    """Jobs of the chosen farm"""

    bl_space_type = "IMAGE_EDITOR"
    bl_region_type = "UI"
    bl_category = "Cloud Farm"
    bl_parent_id = "CLOUDFARM_PT_image"


_CLASSES = (CLOUDFARM_UL_jobs, CLOUDFARM_MT_job, CLOUDFARM_PT_output_jobs, CLOUDFARM_PT_image_jobs)

register, unregister = of_classes(_CLASSES)
