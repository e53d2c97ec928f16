"""What the artist can do with a job that is listed. Each returns at once; the worker does the rest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import bpy

from . import image_viewer, sequencer, text_viewer
from .preferences import LOCAL
from .properties import state_of
from .registering import of_classes
from .session import SESSION, may_reach
from .translating import iface_, rpt_

_DONE, _NOT_DONE = {"FINISHED"}, {"CANCELLED"}


def active_job(context: bpy.types.Context) -> dict[str, Any] | None:
    """Return the job whose details are shown."""
    state = state_of(context)
    if not 0 <= state.active_job < len(state.jobs):
        return None
    return SESSION.job(state.jobs[state.active_job].name)


def can_resume(job: Mapping[str, Any]) -> bool:
    """Whether a job waits for somebody to let it go on: it was paused, or what ran it is gone."""
    return job["state"] == "paused" or (job["state"] == "failed" and bool(job.get("stalled")))


def failed_frames(picture: Mapping[str, Any]) -> str:
    """Return which frames of a job failed, as one types them."""
    return ",".join(found["failed"] for found in picture.get("frame_states") or () if found.get("failed"))


def question(verb: str, job: Mapping[str, Any]) -> dict[str, Any]:
    """Return what Blender asks before something is done with a job that can't be taken back."""
    whose = [
        str(job.get("owner") or ""),
        iface_("{:d} frames").format(job.get("frames_total", 0)),
        str(job.get("farm", "")),
    ]
    return {
        "title": iface_("{:s} '{:s}'?").format(verb, job.get("title", "")),
        "message": ", ".join(part for part in whose if part),
        "confirm_text": verb,
        "icon": "WARNING",
        "translate": False,
    }


class _OnJob(bpy.types.Operator):
    """Something that is done with a job; `verb` is the worker's word for it.

    The job is the one that was active when the button was pressed: the list may change while a question is asked.
    """

    bl_idname = "cloud_farm.on_job"
    bl_label = "On Job"
    verb: ClassVar[str] = ""
    states: ClassVar[tuple[str, ...]] = ()

    job: bpy.props.StringProperty(options={"HIDDEN", "SKIP_SAVE"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        job = active_job(context)
        if job is not None and not may_reach(job["farm"]):
            cls.poll_message_set("Allow Online Access in Preferences, System, Network")
            return False
        return job is not None and (not cls.states or job["state"] in cls.states)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Any:
        self.job = (active_job(context) or {"id": ""})["id"]
        return self.begin(context, event)

    def begin(self, context: bpy.types.Context, _event: bpy.types.Event) -> Any:
        """Do it at once; those that ask first do so here."""
        return self.execute(context)

    def execute(self, context: bpy.types.Context) -> Any:
        """Do it with the job that is meant; the list may have changed since the button was pressed."""
        job = SESSION.job(self.job) if self.job else active_job(context)
        return self._told("The job is not listed any more") if job is None else self.act(context, job)

    def act(self, _context: bpy.types.Context, job: Mapping[str, Any]) -> Any:
        """Do it; those that do more than ask the worker do so here."""
        SESSION.control(self.verb, job["id"], job["farm"])
        return _DONE

    def _told(self, why_not: str) -> Any:
        """Report why something could not be done, if that is so."""
        if why_not:
            self.report({"WARNING"}, why_not)
        return _NOT_DONE if why_not else _DONE


class _AskedFirst(_OnJob):
    """Something that can't be taken back."""

    bl_idname = "cloud_farm.asked_first"

    def begin(self, context: bpy.types.Context, event: bpy.types.Event) -> Any:
        """Ask first, about which job: another one may have been chosen since the artist looked."""
        assert context.window_manager is not None
        words = question(rpt_(self.bl_label), SESSION.job(self.job) or {})
        return context.window_manager.invoke_confirm(self, event, **words)


class CLOUDFARM_OT_pause(_OnJob):
    """Let the frames that render now end, and start no others"""

    bl_idname = "cloud_farm.pause"
    bl_label = "Pause Job"
    verb = "pause"
    states = ("queued", "rendering")


class CLOUDFARM_OT_resume(_OnJob):
    """Go on with the job"""

    bl_idname = "cloud_farm.resume"
    bl_label = "Resume Job"
    verb = "resume"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        job = active_job(context)
        return super().poll(context) and job is not None and can_resume(job)


class CLOUDFARM_OT_cancel(_AskedFirst):
    """Stop the job now; finished frames stay, and Retry renders the rest"""

    bl_idname = "cloud_farm.cancel"
    bl_label = "Cancel Job"
    verb = "cancel"
    states = ("queued", "rendering", "paused", "not on volume")


class CLOUDFARM_OT_retry(_OnJob):
    """Render what is missing of the job"""

    bl_idname = "cloud_farm.retry"
    bl_label = "Retry Missing Frames"
    verb = "retry"
    states = ("failed", "cancelled")


class CLOUDFARM_OT_render_again(_OnJob):
    """Render chosen frames of the job once more; the newer ones take the place of those that are there"""

    bl_idname = "cloud_farm.render_again"
    bl_label = "Render Frames Again"
    states = ("failed", "cancelled", "done")

    frames: bpy.props.StringProperty(
        name="Frames", description="Frames and ranges with commas between them: 7, 20-24", options={"SKIP_SAVE"}
    )

    def begin(self, context: bpy.types.Context, _event: bpy.types.Event) -> Any:
        """Ask which frames: at first those that failed."""
        self.frames = failed_frames(SESSION.pictures.get(self.job, {}))
        assert context.window_manager is not None
        return context.window_manager.invoke_props_dialog(self)

    def act(self, context: bpy.types.Context, job: Mapping[str, Any]) -> Any:
        from .cloud_farm.errors import FrameRangeError
        from .cloud_farm.frames import FrameRange

        try:
            FrameRange.parse(self.frames)
        except FrameRangeError as error:
            self.report({"ERROR"}, str(error))
            return _NOT_DONE
        SESSION.render_again(job["id"], job["farm"], self.frames)
        return _DONE


class CLOUDFARM_OT_copy_command(_OnJob):
    """Copy the command line that follows this job in a terminal"""

    bl_idname = "cloud_farm.copy_command"
    bl_label = "Copy Command Line"

    def act(self, context: bpy.types.Context, job: Mapping[str, Any]) -> Any:
        assert context.window_manager is not None
        farm = "" if job["farm"] == LOCAL else f" --farm {job['farm']}"
        context.window_manager.clipboard = f"cloud-farm follow {job['id']}{farm}"
        return _DONE


class CLOUDFARM_OT_delete(_AskedFirst):
    """Remove the job from the farm; frames that came here stay"""

    bl_idname = "cloud_farm.delete"
    bl_label = "Delete Job"
    verb = "delete"
    states = ("failed", "cancelled", "done", "paused", "uploading", "unreadable", "not on volume")


class CLOUDFARM_OT_view(_OnJob):
    """Show the job's frames in the Image Editor"""

    bl_idname = "cloud_farm.view"
    bl_label = "View Frames"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        job = active_job(context)
        return (
            job is not None
            and job["frames_done"] > 0
            and (image_viewer.has_frames(job["id"]) or may_reach(job["farm"]))
        )

    def act(self, context: bpy.types.Context, job: Mapping[str, Any]) -> Any:
        if not image_viewer.has_frames(job["id"]):
            SESSION.ask_for_frames(job["id"], job["farm"])
            return _DONE
        return self._told(image_viewer.show(job["id"], job["title"], context))


class CLOUDFARM_OT_show_frame(_OnJob):
    """Show a frame of the job in the Image Editor"""

    bl_idname = "cloud_farm.show_frame"
    bl_label = "Show Frame"
    bl_options = {"INTERNAL"}

    frame: bpy.props.IntProperty(options={"HIDDEN", "SKIP_SAVE"})
    camera: bpy.props.StringProperty(options={"HIDDEN", "SKIP_SAVE"})
    tip: bpy.props.StringProperty(options={"HIDDEN", "SKIP_SAVE"})

    @classmethod
    def description(cls, _context: bpy.types.Context, properties: Any) -> str:
        """Say which frames the cell stands for, and how they are."""
        return str(properties.tip) or str(cls.__doc__)

    def act(self, context: bpy.types.Context, job: Mapping[str, Any]) -> Any:
        if not image_viewer.has_frames(job["id"], self.camera, self.frame):
            SESSION.ask_for_frames(job["id"], job["farm"], frame=self.frame, camera=self.camera)
            return _DONE
        return self._told(image_viewer.show(job["id"], job["title"], context, frame=self.frame, camera=self.camera))


class CLOUDFARM_OT_add_strip(_OnJob):
    """Put the job's frames into the video sequencer as one strip, or bring that strip up to date"""

    bl_idname = "cloud_farm.add_strip"
    bl_label = "Add to Video Sequencer"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if context.scene is None or context.scene.library is not None:
            cls.poll_message_set("The scene is linked from another file")
            return False
        job = active_job(context)
        if job is None or not image_viewer.has_frames(job["id"]):
            cls.poll_message_set("View the job's frames first")
            return False
        return True

    def act(self, context: bpy.types.Context, job: Mapping[str, Any]) -> Any:
        scene = context.scene
        files = image_viewer.frames_here(job["id"])
        if not files or scene is None:
            self.report({"ERROR"}, "The job's frames are not in their folder any more")
            return _NOT_DONE
        sequencer.put_strips(scene, job["id"], job["title"], files)
        self.report({"INFO"}, rpt_("{:d} frames are in the video sequencer").format(len(files)))
        return _DONE


def _landing(job: Mapping[str, Any]) -> str:
    """Return the folder in which a job's frames land; empty if nobody said so yet."""
    return str(SESSION.pictures.get(job["id"], {}).get("landing") or "")


class CLOUDFARM_OT_open_folder(_OnJob):
    """Open the folder in which the job's frames land"""

    bl_idname = "cloud_farm.open_folder"
    bl_label = "Open Folder"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        job = active_job(context)
        return job is not None and bool(_landing(job))  # no look at the disk: Blender asks as often as it draws

    def act(self, context: bpy.types.Context, job: Mapping[str, Any]) -> Any:
        folder = _landing(job)
        if not folder or not Path(folder).is_dir():
            return self._told(rpt_("The folder is not here: {:s}").format(folder))
        bpy.ops.wm.path_open(filepath=folder)
        return _DONE


class CLOUDFARM_OT_logs(_OnJob):
    """Show what the job's Blenders said, in the Text Editor"""

    bl_idname = "cloud_farm.logs"
    bl_label = "Show Logs"

    def act(self, context: bpy.types.Context, job: Mapping[str, Any]) -> Any:
        text_viewer.open_editor(context)
        SESSION.ask_for_logs(job["id"], job["farm"])
        return _DONE


class CLOUDFARM_OT_show_page(_OnJob):
    """Open the job in Argo's own pages, in a browser"""

    bl_idname = "cloud_farm.show_page"
    bl_label = "Show in Argo"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        job = active_job(context)
        return job is not None and bool(job.get("page"))

    def act(self, context: bpy.types.Context, job: Mapping[str, Any]) -> Any:
        bpy.ops.wm.url_open(url=job["page"])
        return _DONE


_CLASSES = (
    CLOUDFARM_OT_pause, CLOUDFARM_OT_resume, CLOUDFARM_OT_cancel, CLOUDFARM_OT_retry, CLOUDFARM_OT_render_again,
    CLOUDFARM_OT_copy_command, CLOUDFARM_OT_delete, CLOUDFARM_OT_view, CLOUDFARM_OT_show_frame, CLOUDFARM_OT_add_strip, CLOUDFARM_OT_open_folder, CLOUDFARM_OT_logs,
    CLOUDFARM_OT_show_page,
)  # fmt: skip

register, unregister = of_classes(_CLASSES)
