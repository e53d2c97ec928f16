"""What the artist can do with a scene: send it, look it over, scout it. Each returns at once; the worker does the rest."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, ClassVar

import bpy

from . import text_viewer
from .outbox import CHECK, SCOUT, SEND
from .preferences import LOCAL, chosen_farm
from .registering import of_classes
from .session import SESSION, may_reach, redraw
from .translating import iface_, rpt_

_DONE, _NOT_DONE = {"FINISHED"}, {"CANCELLED"}
_SNAPSHOTS = "snapshots"
_READING_SECONDS = 0.2
_LOG_BYTES = 1 << 17
SAVING = "Saving a copy of the scene"


def send_label(context: bpy.types.Context) -> str:
    """Return what the button says: it names its target."""
    farm = chosen_farm(context)
    return iface_("Render on This Computer") if farm == LOCAL else iface_("Send to {:s}").format(farm)


def may_queue(context: bpy.types.Context) -> bool:
    """Whether the scene may be sent behind the one that is on its way."""
    from .cloud_farm.errors import CloudFarmError
    from .scene_reader import source_of

    if context.scene is None:
        return False
    try:
        return SESSION.outbox.may_queue(farm=chosen_farm(context), source=source_of(context.scene))
    except CloudFarmError:  # its frames make no sense
        return False


class _Begin(bpy.types.Operator):
    """Something that begins with a snapshot of the scene; `verb` is what the worker does with it."""

    bl_idname = "cloud_farm.begin"
    bl_label = "Begin"
    verb: ClassVar[str] = SEND

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if SESSION.outbox.is_saving or (SESSION.outbox.is_busy and not (cls.verb == SEND and may_queue(context))):
            cls.poll_message_set("A scene is just being sent")
            return False
        if not may_reach(chosen_farm(context)):
            cls.poll_message_set("Allow Online Access in Preferences, System, Network, or choose the farm 'local'")
            return False
        return context.scene is not None

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> Any:
        """Say that a copy is being saved, and save it once that can be read: Blender waits for nothing else."""
        window, manager = context.window, context.window_manager
        if window is None or manager is None:
            return self.execute(context)
        SESSION.outbox.is_saving = True
        self._timer = manager.event_timer_add(_READING_SECONDS, window=window)
        manager.modal_handler_add(self)
        context.workspace.status_text_set(rpt_(SAVING))  # type: ignore[union-attr]
        redraw()
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> Any:
        if event.type != "TIMER" or self._timer.time_duration < _READING_SECONDS:
            return {"RUNNING_MODAL"}
        try:
            return self.execute(context)
        finally:
            self.cancel(context)

    def cancel(self, context: bpy.types.Context) -> None:
        """Take back what was said: it is over, or another file was opened meanwhile."""
        SESSION.outbox.is_saving = False
        context.window_manager.event_timer_remove(self._timer)  # type: ignore[union-attr]
        context.workspace.status_text_set(None)  # type: ignore[union-attr]
        redraw()

    def execute(self, context: bpy.types.Context) -> Any:
        from .cloud_farm.errors import CloudFarmError
        from .scene_reader import source_of, take_snapshot

        scene, farm, began = context.scene, chosen_farm(context), time.perf_counter()
        assert scene is not None
        try:
            snapshot = take_snapshot(scene, farm=farm, below=SESSION.folder(_SNAPSHOTS), hold=self.verb != SEND)
        except (CloudFarmError, RuntimeError, OSError) as error:
            self.report({"ERROR"}, str(error))
            return _NOT_DONE
        seconds = time.perf_counter() - began
        self.report({"INFO"}, rpt_("Saved a copy in {:.1f} s; Blender can go on with its work").format(seconds))
        title, source = Path(bpy.data.filepath).stem or scene.name, source_of(scene)
        outbox = SESSION.outbox
        if self.verb == SEND and outbox.may_queue(farm=farm, source=source):
            outbox.queue(snapshot, farm=farm, title=title, source=source, saving_seconds=seconds)
        else:
            outbox.begin(snapshot, farm=farm, title=title, source=source, verb=self.verb, saving_seconds=seconds)
        return _DONE


class CLOUDFARM_OT_send(_Begin):
    """Render the scene on the chosen farm, as it is now, unsaved changes included"""

    bl_idname = "cloud_farm.send"
    bl_label = "Send to Cloud Farm"


class CLOUDFARM_OT_check(_Begin):
    """Look for what the farm would lack, how much there is to upload and how long it may take; nothing is sent"""

    bl_idname = "cloud_farm.check"
    bl_label = "Check Scene"
    verb = CHECK


class CLOUDFARM_OT_scout(_Begin):
    """Render the first, the middle and the last frame, and say how long all of them will take"""

    bl_idname = "cloud_farm.scout"
    bl_label = "Scout Frames"
    verb = SCOUT


class CLOUDFARM_OT_stop_sending(bpy.types.Operator):
    """Stop what is on its way; nothing is rendered"""

    bl_idname = "cloud_farm.stop_sending"
    bl_label = "Stop Sending"

    def execute(self, _context: bpy.types.Context) -> Any:
        SESSION.outbox.stop()
        return _DONE


class CLOUDFARM_OT_leave_waiting(bpy.types.Operator):
    """Give up a scene that waits until the one before it is sent"""

    bl_idname = "cloud_farm.leave_waiting"
    bl_label = "Leave It"
    bl_options = {"INTERNAL"}

    snapshot: bpy.props.StringProperty(options={"HIDDEN", "SKIP_SAVE"})

    def execute(self, _context: bpy.types.Context) -> Any:
        SESSION.outbox.leave(Path(self.snapshot))
        return _DONE


class CLOUDFARM_OT_dismiss(bpy.types.Operator):
    """Hide what was said about the last scene"""

    bl_idname = "cloud_farm.dismiss"
    bl_label = "Dismiss"

    def execute(self, _context: bpy.types.Context) -> Any:
        SESSION.outbox.dismiss()
        return _DONE


class CLOUDFARM_OT_dismiss_problem(bpy.types.Operator):
    """Hide what went wrong with a job"""

    bl_idname = "cloud_farm.dismiss_problem"
    bl_label = "Dismiss"

    def execute(self, _context: bpy.types.Context) -> Any:
        SESSION.problem = ""
        return _DONE


class CLOUDFARM_OT_send_again(bpy.types.Operator):
    """Send the scene as it was then; what is on the farm already is not sent twice"""

    bl_idname = "cloud_farm.send_again"
    bl_label = "Try Again"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        sending = SESSION.outbox.sending
        return sending is not None and may_reach(sending.farm)

    def execute(self, _context: bpy.types.Context) -> Any:
        SESSION.outbox.send_again()
        return _DONE


class CLOUDFARM_OT_refresh(bpy.types.Operator):
    """List the jobs of the chosen farm anew"""

    bl_idname = "cloud_farm.refresh"
    bl_label = "Refresh Jobs"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return may_reach(chosen_farm(context))

    def execute(self, context: bpy.types.Context) -> Any:
        SESSION.refresh(chosen_farm(context))
        return _DONE


class CLOUDFARM_OT_open_log(bpy.types.Operator):
    """Show the end of what Cloud Farm's worker process noted down, in the Text Editor"""

    bl_idname = "cloud_farm.open_log"
    bl_label = "Show Cloud Farm's Log"

    def execute(self, context: bpy.types.Context) -> Any:
        log = SESSION.folder("logs") / "worker.log"
        if not log.is_file():
            self.report({"INFO"}, "The worker has not run yet")
            return _NOT_DONE
        text_viewer.open_editor(context)
        text_viewer.show("Cloud Farm.log", _end_of(log))
        return _DONE


def _end_of(log: Path) -> list[str]:
    """Return the last lines of a file."""
    with log.open("rb") as stream:
        is_cut = stream.seek(0, os.SEEK_END) > _LOG_BYTES
        stream.seek(-_LOG_BYTES if is_cut else 0, os.SEEK_END if is_cut else os.SEEK_SET)
        lines = stream.read(_LOG_BYTES).decode("utf-8", "replace").splitlines()
    return [f"== The end of {log}", *lines[1:]] if is_cut else lines


_CLASSES = (
    CLOUDFARM_OT_send, CLOUDFARM_OT_check, CLOUDFARM_OT_scout, CLOUDFARM_OT_stop_sending, CLOUDFARM_OT_leave_waiting,
    CLOUDFARM_OT_dismiss, CLOUDFARM_OT_dismiss_problem, CLOUDFARM_OT_send_again, CLOUDFARM_OT_refresh, CLOUDFARM_OT_open_log,
)  # fmt: skip

register, unregister = of_classes(_CLASSES)
