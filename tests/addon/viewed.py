"""Runs in a Blender of its own: what an artist sees of a job's frames when something is in the way.

python -I viewed.py ZIP FOLDER ; prints one JSON object
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy

sys.path.insert(0, str(Path(__file__).parent))
desk: Any = importlib.import_module("desk")
part, picture = desk.part, desk.picture
JOB: dict[str, Any] = {
    "id": "seen-20261130-abc123",
    "title": "seen",
    "farm": "local",
    "state": "done",
    "owner": "",
    "created": "",
}
JOB |= {"frames_done": 3, "frames_failed": 0, "frames_total": 3}


def list_job() -> None:
    """Have the job in the list, and chosen."""
    session = part("session").SESSION
    session.jobs, session.problem = [dict(JOB)], ""
    session._mirror()


def preview_is_gone(viewer: Any, folder: Path) -> dict[str, Any]:
    """Have a preview made that is gone, or can't be read, when it is to be shown; then one that can."""
    (folder / "l_0001.exr").write_bytes(bytes(9 * 1024 * 1024))
    viewer.frame_landed("large", "large", folder / "l_0001.exr", 1, None)
    viewer.refresh(lambda *_: True)
    viewer.preview_made("nobody's", "large", folder / "gone.png")
    viewer.preview_made("large", "large", folder / "gone.png")
    found: dict[str, Any] = {"gone": [text.replace(str(folder), "") for text in viewer.problems_of("large")]}
    viewer.preview_made("large", "large", picture(folder / "preview.png"))
    found["images"] = [image.name for image in bpy.data.images if "preview" in image.name]
    (folder / "preview.png").unlink()
    viewer.frame_landed("large", "large", folder / "l_0001.exr", 1, None)
    viewer.refresh(lambda *_: True)
    viewer.preview_made("large", "large", folder / "preview.png")
    return {**found, "gone again": len(viewer.problems_of("large"))}


def folder_is_away(_viewer: Any, folder: Path) -> dict[str, Any]:
    """Draw the button that opens the folder of frames, on a disk that must not be looked at meanwhile; then press it."""
    list_job()
    session, button = part("session").SESSION, bpy.ops.cloud_farm.open_folder
    found: dict[str, Any] = {"unknown": button.poll()}
    session.pictures[JOB["id"]] = {"landing": str(folder / "away")}
    looks: list[object] = []
    paths: Any = Path
    is_dir, paths.is_dir = paths.is_dir, looks.append
    found["drawn"] = [button.poll(), len(looks)]
    paths.is_dir = is_dir
    found["pressed"] = [*button()]
    return found


def answered_without_an_editor(viewer: Any, folder: Path) -> dict[str, Any]:
    """Have the worker's answer come while no Image Editor is open, in the timer, whose context has no window."""
    list_job()
    session, editors = part("session").SESSION, part("image_editors")
    editors_of(0)
    files = [str(picture(folder / f"a_{frame:04d}.png")) for frame in (1, 2)]
    camera = {"camera": None, "first": [1, files[0]], "last": [2, files[1]], "folders": {str(folder): "1-2"}}
    opened: list[bool] = []

    def view_show(*_words: str) -> None:
        opened.append(bpy.context.window is not None)
        bpy.context.window_manager.windows[0].screen.areas[0].ui_type = "IMAGE_EDITOR"

    windowed = SimpleNamespace(
        app=SimpleNamespace(background=False),
        ops=SimpleNamespace(render=SimpleNamespace(view_show=view_show)),
        context=bpy.context,
        types=bpy.types,
    )
    editors.bpy = windowed  # this Blender has no windows to open
    with bpy.context.temp_override(window=None):
        session._take_frames(JOB["id"], {"result": {"cameras": [camera]}}, {})
    editors.bpy = bpy
    return {"opened": opened, "shown": shown(), "problem": session.problem}


def answer_is_empty(_viewer: Any, _folder: Path) -> dict[str, str]:
    """View a job of which the worker finds nothing, and a frame of it."""
    list_job()
    session, found = part("session").SESSION, {}
    for wanted in ({}, {"frame": 7, "camera": ""}):
        session._take_frames("nothing-20261130-abc123", {"result": {}}, wanted)
        found[", ".join(wanted)] = session.problem
    return found


def shown() -> list[str]:
    """Return what the Image Editors show."""
    return [space.image.name if space.image else "" for space in part("image_editors").editors()]


def undone(viewer: Any, folder: Path) -> dict[str, Any]:
    """Undo and redo what was done before and after a job's frames, and another's preview, were shown in editors."""
    viewer.forget()
    areas = editors_of(3)
    areas[2].spaces.active.image = bpy.data.images.new("wood", 8, 8)
    for end in (5, 6):
        bpy.context.scene.frame_end = end
        bpy.ops.ed.undo_push(message=f"To {end}")
    (folder / "big_0001.exr").write_bytes(bytes(9 * 1024 * 1024))
    viewer.frame_landed("big", "big", folder / "big_0001.exr", 1, None)
    for frame in (1, 2):
        viewer.frame_landed("seen", "seen", picture(folder / f"u_{frame:04d}.png"), frame, "Left")
    viewer.refresh(lambda *_: True)
    areas[1].spaces.active.image = None
    viewer.preview_made("big", "big", picture(folder / "u.png"))
    found: dict[str, Any] = {"before": shown()}
    found["undone"] = after(viewer, bpy.ops.ed.undo)
    found["redone"] = after(viewer, bpy.ops.ed.redo)
    bpy.ops.ed.undo_push(message="Later")
    found["twice"] = after(viewer, bpy.ops.ed.undo, bpy.ops.ed.undo)
    user = areas[0].spaces.active.image_user
    found["frame"] = [bpy.context.scene.frame_end, user.frame_offset + 1, user.frame_duration]
    areas[0].spaces.active.image = None
    found["taken out by hand"] = after(viewer, bpy.ops.ed.redo)
    here = SimpleNamespace(window=bpy.context.window, space_data=areas[0].spaces.active)
    found["shown again"] = [viewer.show("seen", "seen", here), shown()[0]]
    for path in (folder / "u.png", *folder.glob("u_*.png")):
        path.unlink()
    found["gone"] = after(viewer, bpy.ops.ed.undo)
    return found


def turned_back(viewer: Any, folder: Path) -> dict[str, Any]:
    """Undo what was done between two frames that are shown one by one, first with the newest followed, then with one chosen."""
    viewer.forget()
    (area, *_), state = editors_of(1), bpy.context.window_manager.cloud_farm
    files = {frame: picture(folder / f"t_{frame:04d}_v2.png") for frame in (1, 2, 3)}
    for frame in (1, 2):
        viewer.frame_landed("one by one", "one by one", files[frame], frame, None)
        viewer.refresh(lambda *_: False)
        bpy.ops.ed.undo_push(message=f"After {frame}")
    found: dict[str, Any] = {}
    for what, follows, frame in (("newest", True, 3), ("chosen", False, 2)):
        state.follow_newest = follows
        viewer.frame_landed("one by one", "one by one", files[3], 3, None)
        viewer.refresh(lambda *_: False)
        if not follows:
            viewer.show("one by one", "one by one", bpy.context, frame=frame)
        space = area.spaces.active
        bpy.ops.ed.undo()
        back = Path(space.image.filepath).name
        viewer.refresh(lambda *_: False)
        found[what] = [back, Path(space.image.filepath).name]
        bpy.ops.ed.redo()
        viewer.refresh(lambda *_: False)
    state.follow_newest = True
    return found


def disabled(_viewer: Any, _folder: Path) -> dict[str, list[int]]:
    """Disable the add-on, the last act; returns how many functions of ours Blender calls before and after."""
    called = {name: [ours(name)] for name in ("undo_pre", "redo_pre", "load_post")}
    bpy.ops.preferences.addon_disable(module=desk.MODULE)
    return {name: [*before, ours(name)] for name, before in called.items()}


def ours(name: str) -> int:
    """Return how many of Blender's handlers of a kind are the add-on's."""
    return sum(handler.__module__.startswith(desk.MODULE) for handler in getattr(bpy.app.handlers, name))


def editors_of(count: int) -> list[Any]:
    """Turn the largest areas of the window into empty Image Editors, and all others into something else."""
    areas = sorted(bpy.context.window.screen.areas, key=lambda area: -area.width * area.height)
    for place, area in enumerate(areas):
        area.ui_type = "IMAGE_EDITOR" if place < count else "VIEW_3D"
    for area in areas[:count]:
        area.spaces.active.image = None
    return areas[:count]


def after(viewer: Any, *acts: Callable[[], object]) -> list[list[str]]:
    """Return what editors show after something was undone or redone, and after the add-on's next turn."""
    for act in acts:
        act()
    emptied = shown()
    viewer.refresh(lambda *_: False)
    return [emptied, shown()]


ACTS = (preview_is_gone, folder_is_away, answered_without_an_editor, answer_is_empty, undone, turned_back, disabled)


def main(zip_file: str, folder: Path) -> dict[str, Any]:
    """Do all of it."""
    bpy.ops.extensions.package_install_files(filepath=zip_file, repo="user_default", enable_on_install=True)
    viewer = part("image_viewer")
    return {act.__name__: act(viewer, folder) for act in ACTS}


if __name__ == "__main__":
    importlib.import_module("answering").answer(lambda: main(sys.argv[1], Path(sys.argv[2])))
