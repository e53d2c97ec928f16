"""Runs in a Blender with a window: shows what the test asks for in `show.json`, so that people can look at states that are hard to reach.

It has the add-on's own turns stopped: nothing is asked of a worker.
"""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

import bpy

MODULE = "bl_ext.user_default.cloud_farm"
_ASKED, _STATE = Path("show.json"), Path("state.json")
_LOOKS: dict[str, int] = {}
_OPENED: list[str] = []
_INVOKED: list[list[str]] = []
"""What stood in the dialog of a new farm each time that it opened."""


def part(name: str) -> Any:
    """Return a module of the add-on."""
    return importlib.import_module(f"{MODULE}.{name}")


def main() -> None:
    """Lay the window out and begin."""
    bpy.context.preferences.view.show_splash = False
    bpy.context.preferences.system.use_online_access = True
    bpy.app.timers.unregister(part("handlers").tick)
    note_dialogs(part("farm_operators").CLOUDFARM_OT_add_farm)
    bpy.app.timers.register(lay_out, first_interval=1.0)


def note_dialogs(cls: Any) -> None:
    """Note what stands in a dialog when it opens."""
    invoke = cls.invoke

    def noted(self: Any, context: Any, event: Any) -> Any:
        _INVOKED.append([self.farm, self.url, self.images])
        return invoke(self, context, event)

    cls.invoke = noted


def lay_out() -> None:
    """Make the largest area an Image Editor with our page, and show the output settings, our overrides unfolded."""
    overrides = bpy.types.CLOUDFARM_PT_output_overrides
    bpy.utils.unregister_class(overrides)
    overrides.bl_options = set()
    bpy.utils.register_class(overrides)
    scene = bpy.context.scene
    scene.view_layers.new("Smoke").cloud_farm.use = False
    scene.cloud_farm.use_view_layers = scene.cloud_farm.use_samples = True
    window = bpy.context.window_manager.windows[0]
    areas = sorted(window.screen.areas, key=lambda area: area.width * area.height)
    areas[-1].type = "IMAGE_EDITOR"
    areas[-1].spaces.active.show_region_ui = True
    for area in areas:
        if area.type == "PROPERTIES":
            area.spaces.active.context = "OUTPUT"
    bpy.app.timers.register(look, first_interval=1.0, persistent=True)


def look() -> float:
    """Show what is asked for, if that is another thing than before."""
    for area in bpy.context.window_manager.windows[0].screen.areas:
        for region in area.regions:
            if area.type == "IMAGE_EDITOR" and region.type == "UI":
                region.active_panel_category = "Cloud Farm"
    asked = json.loads(_ASKED.read_text()) if _ASKED.exists() else {"name": ""}
    _LOOKS[asked["name"]] = _LOOKS.get(asked["name"], 0) + 1
    show(asked)
    part("session").redraw()
    part("status_bar").redraw()
    written = _STATE.with_suffix(".part")
    written.write_text(
        json.dumps({"drawn": True, "shows": asked["name"], "looks": _LOOKS[asked["name"]], "invoked": _INVOKED})
    )
    os.replace(written, _STATE)
    return 0.3


def show(asked: dict[str, Any]) -> None:
    """Give the session what is asked for."""
    session, outbox = part("session").SESSION, part("outbox")
    session.jobs, session.pictures = asked.get("jobs", []), asked.get("pictures", {})
    session.farms.profiles, session.farms.lights = asked.get("profiles", {}), asked.get("lights", {})
    sending = asked.get("sending")
    session.outbox.sending = None if sending is None else outbox.Sending("studio", "shot", Path("/nowhere"), **sending)
    session.outbox._behind = [outbox.Sending("studio", title, Path("/nowhere")) for title in asked.get("behind", [])]
    bpy.context.preferences.addons[MODULE].preferences.farm = asked.get("farm", "local")
    session._mirror()
    area = max(bpy.context.window_manager.windows[0].screen.areas, key=lambda area: area.width * area.height)
    wanted = "PROPERTIES" if asked.get("output") else "IMAGE_EDITOR"
    if area.type != wanted:
        area.type = wanted
    elif wanted == "PROPERTIES":
        area.spaces.active.context = "OUTPUT"  # it has pages once it was drawn
    if asked.get("dialog") and asked["dialog"] not in _OPENED:
        _OPENED.append(asked["dialog"])
        with bpy.context.temp_override(window=bpy.context.window_manager.windows[0], area=area):
            getattr(bpy.ops.cloud_farm, asked["dialog"])("INVOKE_DEFAULT", **asked.get("typed", {}))
    if asked.get("preferences") and len(bpy.context.window_manager.windows) == 1:
        with bpy.context.temp_override(window=bpy.context.window_manager.windows[0], area=area):
            bpy.ops.preferences.addon_show(module=MODULE)


main()
