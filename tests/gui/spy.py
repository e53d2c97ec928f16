"""Runs in a Blender with a window: lays the window out, then writes down what is so in it, again and again.

It clicks on nothing: the test does, from outside.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import time
from pathlib import Path
from typing import Any

import bpy

MODULE = "bl_ext.user_default.cloud_farm"
_STATE, _PAGE = Path("state.json"), "Cloud Farm"
_SEEN: dict[str, float] = {}
_ANNOUNCED: list[bool] = []
"""Once the sidebar was drawn while a copy was about to be saved."""
_TICKS: list[tuple[float, float, int]] = []
"""Of each turn of the add-on: seconds of the main thread's own work, seconds on the clock, number."""


def main() -> None:
    """Begin to watch."""
    bpy.context.preferences.view.show_splash = False
    bpy.context.preferences.view.ui_scale = 1.0
    bpy.types.SpaceImageEditor.draw_handler_add(note_announcement, (), "UI", "POST_PIXEL")
    bpy.app.timers.register(lay_out, first_interval=1.0)
    bpy.app.timers.register(wait_for_addon, persistent=True)


def is_enabled() -> bool:
    """Whether the add-on is: it may be installed and disabled while we watch."""
    return MODULE in bpy.context.preferences.addons


def wait_for_addon() -> float | None:
    """Once the add-on is enabled, take its turns in our hands."""
    if not is_enabled():
        return 0.1
    if Path("farm").exists():
        bpy.context.preferences.addons[MODULE].preferences.farm = Path("farm").read_text()
    handlers = importlib.import_module(f"{MODULE}.handlers")
    bpy.app.timers.unregister(handlers.tick)
    bpy.app.timers.register(lambda: measured(handlers), persistent=True)
    bpy.app.timers.register(turn_page, first_interval=2.0)
    return None


def measured(handlers: Any) -> float | None:
    """Let the add-on take its turn, with a clock beside it."""
    if not is_enabled():
        return None
    began, busy = time.perf_counter(), time.thread_time()
    after = handlers.tick()
    _TICKS.append((time.thread_time() - busy, time.perf_counter() - began, len(_TICKS)))
    return float(after)


def note_announcement() -> None:
    """Note that the sidebar is drawn while a copy is about to be saved. Blender calls it behind each drawing of one."""
    if is_enabled() and importlib.import_module(f"{MODULE}.session").SESSION.outbox.is_saving:
        _ANNOUNCED.append(True)


def lay_out() -> None:
    """Make the largest area an Image Editor with its sidebar on our page, and show the scene's output settings."""
    window = bpy.context.window_manager.windows[0]
    areas = sorted(window.screen.areas, key=lambda area: area.width * area.height)
    areas[-1].type = "IMAGE_EDITOR"
    areas[-1].spaces.active.show_region_ui = True
    for area in areas:
        if area.type == "PROPERTIES":
            area.spaces.active.context = "OUTPUT"
    paint()
    bpy.app.timers.register(watch, first_interval=1.5, persistent=True)


def paint() -> None:
    """Make the scene's texture red, as with a brush: in memory alone."""
    texture = bpy.data.images["painted"]
    texture.pixels[:] = [1.0, 0.0, 0.0, 1.0] * (len(texture.pixels) // 4)
    texture.update()


def turn_page() -> float | None:
    """Show our page of the sidebar; it has pages once it was drawn."""
    region = sidebar()
    if region.active_panel_category == _PAGE:
        return None
    with contextlib.suppress(TypeError, AttributeError):  # there is no such page yet, or none at all
        region.active_panel_category = _PAGE
    region.tag_redraw()
    return 0.3


def sidebar() -> Any:
    """Return the Image Editor's sidebar."""
    areas = bpy.context.window_manager.windows[0].screen.areas
    return next(
        region for area in areas if area.type == "IMAGE_EDITOR" for region in area.regions if region.type == "UI"
    )


def watch() -> float:
    """Write down what is so."""
    found = {
        "drawn": True,
        "enabled": is_enabled(),
        **places(),
        **(session_state() if is_enabled() else {}),
    }
    part = _STATE.with_suffix(".part")
    part.write_text(json.dumps(found))
    os.replace(part, _STATE)
    return 0.2


def places() -> dict[str, Any]:
    """Return where Blender's windows are, and what is where in them: [x, y, width, height], y from below."""
    windows = list(bpy.context.window_manager.windows)
    return {
        "windows": [[window.x, window.y, window.width, window.height] for window in windows],
        "regions": {
            f"{area.type} {region.type}": [window.x + region.x, window.y + region.y, region.width, region.height]
            for window in reversed(windows)  # the first one counts where several have such a region
            for area in window.screen.areas
            for region in area.regions
        },
        "page": bpy.context.preferences.active_section,
        "sidebar": sidebar().active_panel_category,
        "searched": bpy.context.window_manager.addon_search,
        "operators": [name for name in dir(bpy.types) if name.startswith("CLOUD_FARM_OT_")],
    }


def session_state() -> dict[str, Any]:
    """Return what is so in the add-on."""
    session = importlib.import_module(f"{MODULE}.session").SESSION
    note_frames()
    window = bpy.context.window_manager.windows[0]
    sending = session.outbox.sending
    return {
        "sending": None if sending is None else [sending.verb, sending.step, sending.error],
        "announced": bool(_ANNOUNCED),
        "saved in": None if sending is None else sending.saving_seconds,
        "result": None if sending is None else sending.result is not None,
        "jobs": [[job["title"], job["state"], job["frames_done"]] for job in session.jobs],
        "chosen": chosen(),
        "seen at": _SEEN,
        "problem": session.problem,
        "images": {image.name: [image.source, image.filepath] for image in bpy.data.images},
        "shown": shown(window),
        "texts": texts(),
        "newest": {
            job: item.newest for (job, _), item in importlib.import_module(f"{MODULE}.image_viewer")._SHOWN.items()
        },
        "slowest ticks": sorted(_TICKS, reverse=True)[:5],
        "ticks": len(_TICKS),
    }


def note_frames() -> None:
    """Note when each frame became the newest that the Image Editor shows."""
    for (job, _), item in importlib.import_module(f"{MODULE}.image_viewer")._SHOWN.items():
        _SEEN.setdefault(f"{job} {item.newest}", time.time())


def chosen() -> str:
    """Return the job whose details are shown."""
    state = bpy.context.window_manager.cloud_farm
    return state.jobs[state.active_job].name if 0 <= state.active_job < len(state.jobs) else ""


def texts() -> list[Any]:
    """Return what each Text Editor of any window shows: the text's name, and how many lines it has."""
    areas = [area for window in bpy.context.window_manager.windows for area in window.screen.areas]
    found = [area.spaces.active.text for area in areas if area.type == "TEXT_EDITOR"]
    return [[text.name, len(text.lines)] for text in found if text is not None]


def shown(window: Any) -> list[Any]:
    """Return what the Image Editor shows: the image and its frame."""
    for area in window.screen.areas:
        if area.type == "IMAGE_EDITOR" and area.spaces.active.image is not None:
            return [area.spaces.active.image.name, area.spaces.active.image_user.frame_current]
    return []


main()
