"""Runs in a Blender of its own: an artist whose scene is not as scenes should be, and what is said of it before it is sent.

python -I odd_scenes.py ZIP FOLDER [SCENE…] ; prints one JSON object, scene → what came of it
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import bpy

sys.path.insert(0, str(Path(__file__).parent))
desk: Any = importlib.import_module("desk")
part, wait_for, make_scene = desk.part, desk.wait_for, desk.make_scene
GREEN = [0.0, 1.0, 0.0, 1.0]


def codes(scene: Any) -> list[list[str]]:
    """Return what the panel says is wrong with a scene: code and severity."""
    return [[finding.code, finding.severity] for finding in part("preflight").quick_findings(scene)]


def refusal() -> str:
    """Press Send; returns why nothing is sent, and proves that nothing was written."""
    try:
        bpy.ops.cloud_farm.send()
    except RuntimeError as error:
        session = part("session").SESSION
        assert (list(session.folder("snapshots").iterdir()), session.outbox.sending) == ([], None)
        return str(error).strip()
    return ""


def checked() -> list[list[str]]:
    """Press Check Scene; returns what the worker found: code and severity."""
    outbox = part("session").SESSION.outbox
    bpy.ops.cloud_farm.check()
    wait_for(lambda: outbox.sending.error or outbox.sending.result, "it is checked")
    assert outbox.sending.error == ""
    found = [[finding["code"], finding["severity"]] for finding in outbox.sending.findings]
    outbox.dismiss()
    return found


def middle_of(path: Path) -> list[float]:
    """Return the colour in the middle of a picture."""
    image = bpy.data.images.load(str(path))
    at = (image.size[1] // 2 * image.size[0] + image.size[0] // 2) * 4
    return [round(value, 2) for value in image.pixels[at : at + 4]]


def file_was_never_saved(folder: Path) -> dict[str, Any]:
    """Start Blender, paint the cube that is there, and send it: there is no folder beside which frames could land."""
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    scene = bpy.context.scene
    image = bpy.data.images.new("paint", 8, 8)
    image.pixels = GREEN * 64
    desk.shine(bpy.data.objects["Cube"].active_material, image)
    scene.render.engine, scene.cycles.samples = "CYCLES", 1
    scene.render.resolution_x = scene.render.resolution_y = 32
    scene.view_settings.view_transform = "Standard"
    scene.frame_end = 2
    before = [bpy.data.filepath, image.source, image.is_dirty, image.filepath_raw]
    job = desk.send()
    wait_for(lambda: desk.state_of(job) == "done", "it is rendered")
    wait_for(lambda: not part("session").SESSION.following.jobs, "its frames are here")
    landing = folder / "home" / "cloud-farm" / job
    return {
        "before": before,
        "after": [bpy.data.filepath, image.source, image.is_dirty, image.filepath_raw],
        "landed": sorted(path.suffix for path in landing.iterdir()),
        "middle": [middle_of(path) for path in landing.iterdir()],
        "elsewhere": [path.name for path in (folder / "home").iterdir() if not path.name.startswith(".")],
    }


def scene_has_no_camera(folder: Path) -> dict[str, Any]:
    """Send a scene whose only camera was deleted."""
    scene = make_scene(folder, "blind")
    bpy.data.objects.remove(scene.camera)
    return {"seen": codes(scene), "refused": refusal()}


def camera_is_elsewhere(folder: Path) -> dict[str, Any]:
    """Choose a camera in place of the scene's and delete it; then one that is another scene's, and clear it by its button."""
    scene = make_scene(folder, "elsewhere")
    settings, poll = scene.cloud_farm, part("properties")._is_camera
    there = bpy.data.scenes.new("Other")
    left, right = (bpy.data.objects.new(name, bpy.data.cameras.new(name)) for name in ("Left", "Right"))
    scene.collection.objects.link(left)
    there.collection.objects.link(right)
    found: dict[str, Any] = {"offered": [poll(settings, left), poll(settings, right), poll(there.cloud_farm, right)]}
    settings.camera = left
    found["chosen"] = codes(scene)
    with bpy.context.temp_override(selected_objects=[left], object=left):
        bpy.ops.object.delete()
    found["deleted"] = [settings.camera is not None, codes(scene), refusal()]
    settings.camera = right
    found["another's"] = [codes(scene), refusal()]
    button = part("preflight").FIXES["camera_elsewhere"][0].removeprefix("cloud_farm.")
    found["mended"] = [*getattr(bpy.ops.cloud_farm, button)(), codes(scene), settings.camera is None]
    return found


def scene_writes_a_movie(folder: Path) -> dict[str, Any]:
    """Check a scene whose output is a movie, and send it."""
    scene = make_scene(folder, "movie")
    if bpy.app.version >= (5, 0):
        scene.render.image_settings.media_type = "VIDEO"
    scene.render.image_settings.file_format = "FFMPEG"
    found: dict[str, Any] = {"seen": codes(scene), "checked": checked()}
    job = desk.send()
    wait_for(lambda: desk.state_of(job) == "done", "it is rendered")
    return {**found, "frames": desk.frames(folder, "movie")}


SCENES = (scene_has_no_camera, camera_is_elsewhere, scene_writes_a_movie, file_was_never_saved)


def main(zip_file: str, folder: Path, *wanted: str) -> dict[str, Any]:
    """Send every scene, or only what is wanted."""
    for name in ("HOME", "USERPROFILE"):
        os.environ[name] = str(folder / "home")
    (folder / "home").mkdir()
    bpy.ops.extensions.package_install_files(filepath=zip_file, repo="user_default", enable_on_install=True)
    chosen = [scene for scene in SCENES if not wanted or scene.__name__ in wanted]
    return {scene.__name__: scene(folder) for scene in chosen}


if __name__ == "__main__":
    importlib.import_module("answering").answer(lambda: main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]))
