"""What our scripts in a Blender of their own do at an artist's desk: make scenes, send them, and let the add-on have its turns."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy

import addon_utils  # isort: skip - Python finds it only once there is bpy

MODULE = "bl_ext.user_default.cloud_farm"
PATIENCE_SECONDS = 120.0


def part(name: str) -> Any:
    """Return a module of the add-on."""
    return importlib.import_module(f"{MODULE}.{name}")


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Let the add-on's timer run, as a window would; another part of it may be in force each time."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        session = part("session").SESSION
        session.tick()
        assert time.monotonic() < deadline, f"{what}: {session.outbox.sending} {session.problem!r} {session.jobs}"
        time.sleep(0.02)


def make_scene(folder: Path, name: str, *, seconds: int = 0) -> Any:
    """Save a small scene of three frames, slow if wanted."""
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    scene = bpy.context.scene
    scene.camera = bpy.data.objects.new("Cam", bpy.data.cameras.new("Cam"))
    scene.collection.objects.link(scene.camera)
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.use_adaptive_sampling = (4000 * seconds) or 1, False
    scene.render.resolution_x = scene.render.resolution_y = 32
    scene.frame_start, scene.frame_end = 1, 3
    scene.render.filepath = f"//{name}/f_####"
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / f"{name}.blend"))
    return scene


def send() -> str:
    """Send the open scene; returns the job once it is on the farm."""
    session = part("session").SESSION
    before = {job["id"] for job in session.jobs}
    bpy.ops.cloud_farm.send()
    wait_for(lambda: session.outbox.sending is None and {job["id"] for job in session.jobs} - before, "it is sent")
    (job,) = {job["id"] for job in session.jobs} - before
    return str(job)


def state_of(job: str) -> str:
    """Return a job's state as the list has it."""
    known = part("session").SESSION.job(job)
    return str(known["state"]) if known else ""


def frames(folder: Path, name: str) -> list[str]:
    """Return what landed."""
    return sorted(path.name for path in (folder / name).glob("*"))


def start() -> None:
    """Take what is installed into this session, as a window does when it opens."""
    if bpy.app.version >= (4, 3):
        bpy.ops.wm.read_userpref()
        return
    addon_utils.extensions_refresh(handle_error=raise_it)  # 4.2 as a module crashes in read_userpref
    addon_utils.enable(MODULE, default_set=True)


def picture(path: Path, level: float = 0.0) -> Path:
    """Write a small picture, black or as bright as is said."""
    image = bpy.data.images.new("made", 8, 8)
    image.generated_color = (level, level, level, 1.0)
    image.filepath_raw, image.file_format = str(path), "PNG"
    image.save()
    bpy.data.images.remove(image)
    return path


def shine(material: Any, image: Any) -> None:
    """Have a material shine with an image."""
    if bpy.app.version < (5, 0):
        material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    texture, light = tree.nodes.new("ShaderNodeTexImage"), tree.nodes.new("ShaderNodeEmission")
    output = tree.nodes.new("ShaderNodeOutputMaterial")
    texture.image = image
    tree.links.new(texture.outputs["Color"], light.inputs["Color"])
    tree.links.new(light.outputs["Emission"], output.inputs["Surface"])


def raise_it(error: Exception) -> None:
    """Let nothing pass that Blender would only print."""
    raise error
