"""Runs in a Blender of its own: ten thousand frames of a job land one by one, and are scrubbed through.

python -I long_job.py ZIP FOLDER ; prints one JSON object
"""

from __future__ import annotations

import importlib
import os
import resource
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import bpy

sys.path.insert(0, str(Path(__file__).parent))
desk: Any = importlib.import_module("desk")
part, picture = desk.part, desk.picture
JOB, FRAMES, EACH = "long-20261130-abc123", 10_000, 1000
WHITE = 7001
"""A frame unlike all others, by which is seen that the frame that is shown is that of the timeline."""


def frames(folder: Path) -> dict[int, Path]:
    """Write the frames: one file of ten thousand names, but for one."""
    black, white = picture(folder / "black.png", 0.0), picture(folder / "white.png", 1.0)
    made = {frame: folder / f"f_{frame:04d}.png" for frame in range(1, FRAMES + 1)}
    for frame, path in made.items():
        os.link(white if frame == WHITE else black, path)
    return made


def landed(viewer: Any, files: dict[int, Path]) -> dict[str, Any]:
    """Let them land; returns how much the add-on did for the first thousand, and for the last."""
    calls: Counter[str] = Counter()

    def count(_frame: Any, event: str, what: Any) -> None:
        if event in ("call", "c_call"):
            calls[getattr(what, "__name__", "") if event == "c_call" else ""] += 1

    found: dict[str, Any] = {}
    for frame, path in files.items():
        if frame in (1, FRAMES - EACH + 1):
            calls.clear()
            sys.setprofile(count)
        viewer.frame_landed(JOB, "long", path, frame, None)
        viewer.refresh(lambda *_: False)
        if frame in (EACH, FRAMES):
            sys.setprofile(None)
            found["first" if frame == EACH else "last"] = [calls.total(), calls["open"]]
            found["listed"] = found.get("listed", 0) + calls["scandir"] + calls["listdir"]
        if frame % 100 == 0:
            list(viewer._found(JOB).size)
    return found


def moved_by(image: Any, user: Any) -> Any:
    """Return a point that the picture of an image moves up by how bright it is: Blender without a window draws no editor."""
    texture: Any = bpy.data.textures.new("frames", "IMAGE")
    texture.image = image
    for name in ("frame_start", "frame_offset", "frame_duration", "use_auto_refresh"):
        setattr(texture.image_user, name, getattr(user, name))
    mesh = bpy.data.meshes.new("point")
    mesh.from_pydata([(0.0, 0.0, 0.0)], [], [])
    point = bpy.data.objects.new("point", mesh)
    bpy.context.scene.collection.objects.link(point)
    modifier: Any = point.modifiers.new("frames", "DISPLACE")
    modifier.texture, modifier.direction, modifier.mid_level = texture, "Z", 0.0
    return point


def scrubbed(point: Any) -> dict[int, float]:
    """Go through some hundred frames; returns how bright each was."""
    scene, found = bpy.context.scene, {}
    for frame in (*range(1, FRAMES + 1, 28), FRAMES):
        scene.frame_set(frame)
        seen = point.evaluated_get(bpy.context.evaluated_depsgraph_get())
        found[frame] = round(seen.data.vertices[0].co.z, 3)
    return found


def main(zip_file: str, folder: Path) -> dict[str, Any]:
    """Do all of it."""
    bpy.ops.extensions.package_install_files(filepath=zip_file, repo="user_default", enable_on_install=True)
    viewer, files = part("image_viewer"), frames(folder)
    area = max(bpy.context.window.screen.areas, key=lambda area: area.width * area.height)
    area.ui_type = "IMAGE_EDITOR"
    before, images = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, len(bpy.data.images)
    found = landed(viewer, files)
    space = area.spaces.active
    found["newest"] = [space.image.source, space.image_user.frame_offset + 1]
    bpy.context.window_manager.cloud_farm.follow_newest = False
    user = space.image_user
    found["all"] = [user.frame_start, user.frame_offset, user.frame_duration, len(viewer.frames_here(JOB))]
    levels = scrubbed(moved_by(space.image, user))
    found["scrubbed"], found["bright"] = len(levels), {frame: level for frame, level in levels.items() if level > 0.1}
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {**found, "megabytes": (after - before) // 1024, "images": len(bpy.data.images) - images}


if __name__ == "__main__":
    importlib.import_module("answering").answer(lambda: main(sys.argv[1], Path(sys.argv[2])))
