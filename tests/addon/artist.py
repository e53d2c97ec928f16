"""Runs in a Blender of its own: an artist who sends a scene by the add-on and sees frames come in.

python -I artist.py ZIP FOLDER ; prints one JSON object
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from pathlib import Path
from typing import Any

import bpy

import addon_utils  # isort: skip - Python finds it only once there is bpy

sys.path.insert(0, str(Path(__file__).parent))
desk: Any = importlib.import_module("desk")
MODULE = "bl_ext.user_default.cloud_farm"
_PATIENCE_SECONDS = 240.0


def scene_with_a_painted_plane(folder: Path) -> Any:
    """Save a plane that shines with a texture, then paint the texture green and don't save that."""
    bpy.ops.wm.read_homefile(use_empty=True)
    scene = bpy.context.scene
    image = bpy.data.images.new("paint", 8, 8)
    image.filepath_raw, image.file_format = str(folder / "paint.png"), "PNG"
    image.pixels = [1.0, 0.0, 0.0, 1.0] * 64
    image.save()
    material = bpy.data.materials.new("Shine")
    desk.shine(material, image)
    bpy.ops.mesh.primitive_plane_add(size=10)
    bpy.context.object.data.materials.append(material)
    bpy.ops.object.camera_add(location=(0, 0, 4))
    scene.camera = bpy.context.object
    scene.render.engine, scene.cycles.samples = "CYCLES", 1
    scene.render.resolution_x = scene.render.resolution_y = 32
    scene.view_settings.view_transform = "Standard"
    scene.frame_start, scene.frame_end = 1, 3
    scene.render.filepath = "//out/shot_####"
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "käthe's scene.blend"))
    image.pixels = [0.0, 1.0, 0.0, 1.0] * 64
    image.update()
    return scene


def session_of(image: Any) -> list[Any]:
    """Return what of the artist's session a snapshot could disturb."""
    pixels = [round(value, 3) for value in image.pixels[:4]]
    return [
        bpy.data.filepath,
        bpy.data.is_dirty,
        image.filepath_raw,
        image.source,
        image.is_dirty,
        bool(image.packed_file),
        pixels,
    ]


def pixel(path: Path) -> list[float]:
    """Return the colour in the middle of a picture."""
    image = bpy.data.images.load(str(path))
    at = (image.size[1] // 2 * image.size[0] + image.size[0] // 2) * 4
    return [round(value, 2) for value in image.pixels[at : at + 4]]


def sources_of(scene: Any) -> list[str]:
    """Return what copies of a scene are copies of: as it is, with other frames, with another folder, and as it was."""
    source_of = importlib.import_module(f"{MODULE}.scene_reader").source_of
    found = [source_of(scene)]
    for name, value in (("frame_end", 4), ("filepath", "//elsewhere/")):
        owner = scene if name == "frame_end" else scene.render
        before = getattr(owner, name)
        setattr(owner, name, value)
        found.append(source_of(scene))
        setattr(owner, name, before)
    return [*found, source_of(scene)]


def wait_for(session: Any, condition: Any, what: str) -> None:
    """Let the add-on's timer run, as a window would."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        session.tick()
        if time.monotonic() > deadline or (session.outbox.sending and session.outbox.sending.error):
            raise AssertionError(f"{what}: {session.outbox.sending} {session.problem} {session.jobs}")
        time.sleep(0.02)


def clicked(session: Any, job: str) -> list[Any]:
    """Click on a frame of the job as if it had rendered before this Blender started; returns what is seen of it."""
    viewer, state = importlib.import_module(f"{MODULE}.image_viewer"), bpy.context.window_manager.cloud_farm
    viewer.forget()
    area = bpy.context.window.screen.areas[0]
    area.ui_type = "IMAGE_EDITOR"
    bpy.ops.cloud_farm.show_frame(frame=2, camera=session.pictures[job]["strip"][0]["camera"] or "")
    wait_for(session, lambda: viewer.has_frames(job), "its frames are known")
    editor = area.spaces.active
    return [editor.image.name, editor.image_user.frame_current, state.follow_newest, session.problem]


def sent_again(session: Any, folder: Path) -> list[Any]:
    """Move the frames away that an Image Editor shows, and send the scene once more; returns the second job."""
    bpy.data.images["paint"].save()  # the copy is sent as it was saved
    (folder / "out").rename(folder.parent / "moved away")
    bpy.ops.cloud_farm.send()
    wait_for(session, lambda: len(session.jobs) == 2, "it is sent again")
    wait_for(session, lambda: session.jobs[0]["state"] in ("done", "failed"), "it ends")
    files = sorted(path.name for path in (folder / "out").iterdir())
    return [session.jobs[0]["state"], files]


def main(zip_file: str, folder: Path) -> dict[str, Any]:
    """Send and wait; returns what was seen."""
    bpy.ops.extensions.package_install_files(filepath=zip_file, repo="user_default", enable_on_install=True)
    session = importlib.import_module(f"{MODULE}.session").SESSION
    scene = scene_with_a_painted_plane(folder)
    image = bpy.data.images["paint"]
    before = session_of(image)
    answer = bpy.ops.cloud_farm.send()
    snapshots = session.folder("snapshots")
    taken = len(list(snapshots.iterdir()))
    still = session_of(image)
    wait_for(session, lambda: session.outbox.sending is None and session.jobs, "it is sent")
    job = session.jobs[0]["id"]
    wait_for(session, lambda: session.pictures.get(job, {}).get("is_final"), "it is rendered")
    wait_for(session, lambda: session.jobs[0]["state"] == "done", "the list says so")
    shown = [one for one in bpy.data.images if one.name.endswith("(Cloud Farm)")]
    found = {
        "sources": sources_of(scene),
        "answer": sorted(answer),
        "before and after": [before, still],
        "snapshots": [taken, len(list(snapshots.iterdir()))],
        "jobs": [
            [item.title, item.state, item.done, item.total] for item in bpy.context.window_manager.cloud_farm.jobs
        ],
        "landing": session.pictures[job]["landing"],
        "frames": sorted(path.name for path in (folder / "out").iterdir()),
        "shown": [[one.name, one.source, Path(one.filepath).parent.name] for one in shown],
        "pixel": pixel(folder / "out" / "shot_0002.png"),
        "scene": scene.name,
    }
    found["clicked"] = clicked(session, job)
    found["sent again"] = sent_again(session, folder)
    addon_utils.disable(MODULE, default_set=True)
    repos = [repo.module for repo in bpy.context.preferences.extensions.repos]
    bpy.ops.extensions.package_uninstall(repo_index=repos.index("user_default"), pkg_id="cloud_farm")
    profile = Path(os.environ["BLENDER_USER_RESOURCES"])
    found["left on disk"] = [str(path.relative_to(profile)) for path in profile.rglob("*cloud_farm*")]
    found["left"] = sorted(name for name in dir(bpy.types) if "CLOUDFARM" in name or "CloudFarm" in name)
    return found


if __name__ == "__main__":
    importlib.import_module("answering").answer(lambda: main(sys.argv[1], Path(sys.argv[2])))
