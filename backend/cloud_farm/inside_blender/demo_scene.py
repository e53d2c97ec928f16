"""Builds the example scene: three spheres of clay, glass and gold roll around a little tower on a soft stage. A loop."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import bpy  # type: ignore[import-not-found,unused-ignore]

FRAMES = 24
PALETTE = {
    "stage": (0.86, 0.72, 0.60),
    "coral": (0.85, 0.19, 0.12),
    "teal": (0.02, 0.28, 0.30),
    "cream": (0.93, 0.82, 0.62),
    "gold": (1.00, 0.66, 0.24),
}


def main(argv: list[str]) -> None:
    """Build the scene and save it."""
    parser = argparse.ArgumentParser(prog="demo_scene")
    parser.add_argument("--answer")
    parser.add_argument("--output", required=True)
    options = parser.parse_args(argv)
    output = Path(options.output).absolute()
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    bpy.context.preferences.filepaths.save_version = 0  # no .blend1 beside it
    build(output.parent)
    bpy.ops.wm.save_as_mainfile(filepath=str(output), compress=False)
    bpy.ops.file.make_paths_relative()
    bpy.ops.wm.save_as_mainfile(filepath=str(output), compress=False)
    if options.answer:
        Path(options.answer).write_text(json.dumps({"scene": str(output), "frames": FRAMES}), encoding="utf-8")


def build(folder: Path) -> None:
    """Make everything in the empty file; the texture goes beside the scene file."""
    scene = bpy.context.scene
    scene.name = "Demo"
    _settings(scene)
    _stage()
    _tower(_checker_image(folder))
    _planets()
    _lights()
    _camera(scene)


def _settings(scene: Any) -> None:
    render = scene.render
    render.engine = "CYCLES"
    render.resolution_x, render.resolution_y, render.resolution_percentage = 480, 270, 100
    render.image_settings.file_format = "PNG"
    render.filepath = "//frames/demo_####"
    render.fps = 24
    scene.frame_start, scene.frame_end = 1, FRAMES
    scene.cycles.samples = 12
    scene.cycles.use_adaptive_sampling = True
    scene.cycles.max_bounces = 5
    scene.cycles.seed = 7
    scene.cycles.sample_clamp_indirect = 4.0
    _denoise(scene)
    for look in ("AgX - Medium High Contrast", "Medium High Contrast", "None"):
        try:
            scene.view_settings.look = look
            break
        except TypeError:
            continue


def _denoise(scene: Any) -> None:
    """Denoise where this build can; builds without a denoiser have an empty list of them."""
    try:
        scene.cycles.denoiser = "OPENIMAGEDENOISE"
        scene.cycles.use_denoising = True
    except TypeError:
        scene.cycles.use_denoising = False


def _material(name: str, color: tuple[float, float, float], **inputs: float) -> Any:
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    shader = material.node_tree.nodes["Principled BSDF"]
    shader.inputs["Base Color"].default_value = (*color, 1.0)
    for key, value in inputs.items():
        shader.inputs[key.replace("_", " ")].default_value = value
    return material


def _add(name: str, material: Any, *, smooth: bool = True) -> Any:
    obj = bpy.context.object
    obj.name = name
    obj.data.materials.append(material)
    if smooth:
        obj.data.polygons.foreach_set("use_smooth", [True] * len(obj.data.polygons))
    return obj


def _stage() -> None:
    """A floor that bends up into a wall: no horizon."""
    profile = [(-14.0, 0.0), (4.0, 0.0)]
    profile += [(4.0 + 3 * math.sin(a), 3 - 3 * math.cos(a)) for a in (math.pi / 2 * i / 12 for i in range(1, 13))]
    profile.append((7.0, 14.0))
    points = [(x, y, z) for x in (-18.0, 18.0) for y, z in profile]
    count = len(profile)
    faces = [(i, i + 1, count + i + 1, count + i) for i in range(count - 1)]
    mesh = bpy.data.meshes.new("Stage")
    mesh.from_pydata(points, [], faces)
    mesh.polygons.foreach_set("use_smooth", [True] * len(faces))
    mesh.materials.append(_material("Stage", PALETTE["stage"], Roughness=0.65))
    bpy.context.collection.objects.link(bpy.data.objects.new("Stage", mesh))


def _checker_image(folder: Path) -> Any:
    """Paint a small striped texture and save it beside the scene: the demo links a file as real scenes do."""
    size = 128
    image = bpy.data.images.new("stripes", size, size)
    pixels: list[float] = []
    for y in range(size):
        for x in range(size):
            color = PALETTE["teal"] if (x + y) // 16 % 2 else PALETTE["cream"]
            pixels.extend((*(c ** (1 / 2.2) for c in color), 1.0))
    image.pixels.foreach_set(pixels)
    image.file_format = "PNG"
    image.filepath_raw = str(folder / "stripes.png")
    image.save()
    image.source = "FILE"
    return image


def _tower(image: Any) -> None:
    """Three stacked drums, the middle one with the texture, all turning against each other."""
    bands = _material("Stripes", PALETTE["cream"], Roughness=0.35)
    texture = bands.node_tree.nodes.new("ShaderNodeTexImage")
    texture.image = image
    bands.node_tree.links.new(texture.outputs["Color"], bands.node_tree.nodes["Principled BSDF"].inputs["Base Color"])
    coral = _material("Coral", PALETTE["coral"], Roughness=0.4)
    teal = _material("Teal", PALETTE["teal"], Roughness=0.3)
    for index, (radius, height, material) in enumerate(((1.15, 0.5, teal), (0.85, 0.7, bands), (0.5, 0.45, coral))):
        bottom = (0.0, 0.5, 1.2)[index]
        bpy.ops.mesh.primitive_cylinder_add(
            vertices=96, radius=radius, depth=height, location=(0, 0, bottom + height / 2)
        )
        drum = _add(f"Drum {index}", material)
        bevel = drum.modifiers.new("Bevel", "BEVEL")
        bevel.width, bevel.segments, bevel.limit_method = 0.07, 4, "ANGLE"
        _spin(drum, (1 if index % 2 else -1) * math.tau / (3 if index == 1 else 1))
    bpy.ops.mesh.primitive_uv_sphere_add(segments=64, ring_count=32, radius=0.34, location=(0, 0, 1.97))
    _add("Pearl", _material("Pearl", (0.95, 0.93, 0.9), Roughness=0.12))


def _planets() -> None:
    """Three spheres that roll round the tower, a third of the way in a loop: the last frame meets the first."""
    gold = _material("Gold", PALETTE["gold"], Metallic=1.0, Roughness=0.18)
    glass = _material("Glass", (0.88, 0.97, 0.98), Roughness=0.02, IOR=1.45)
    shader = glass.node_tree.nodes["Principled BSDF"]
    shader.inputs[
        "Transmission Weight" if "Transmission Weight" in shader.inputs else "Transmission"
    ].default_value = 1.0
    clay = _material("Clay", PALETTE["coral"], Roughness=0.7)
    pivot = bpy.data.objects.new("Orbit", None)
    bpy.context.collection.objects.link(pivot)
    for index, (radius, material) in enumerate(((0.52, gold), (0.62, glass), (0.42, clay))):
        angle = math.tau * index / 3 + 0.5
        position = (2.15 * math.cos(angle), 2.15 * math.sin(angle), radius)
        bpy.ops.mesh.primitive_uv_sphere_add(segments=64, ring_count=32, radius=radius, location=position)
        ball = _add(f"Planet {index}", material)
        ball.parent = pivot
        _bounce(ball, radius, index)
    _spin(pivot, math.tau)


def _spin(obj: Any, angle: float) -> None:
    """Turn at even speed; the frame after the last equals the first."""
    obj.rotation_euler.z = 0.0
    obj.keyframe_insert("rotation_euler", index=2, frame=1)
    obj.rotation_euler.z = angle
    obj.keyframe_insert("rotation_euler", index=2, frame=FRAMES + 1)
    _interpolate(obj, "LINEAR")


def _bounce(obj: Any, radius: float, index: int) -> None:
    """Hop with eased keys, each ball at its own time."""
    half = FRAMES // 2
    for step in range(4):
        up = step % 2 == 1
        obj.location.z = radius + (0.75 - 0.15 * index if up else 0.0)
        obj.keyframe_insert("location", index=2, frame=1 + step * half - index * 3)
    _interpolate(obj, "SINE")


def _interpolate(obj: Any, kind: str) -> None:
    action = obj.animation_data.action
    curves = getattr(action, "fcurves", None)
    if curves is None:  # 5.0: curves live in the channel bag of a slot
        curves = action.layers[0].strips[0].channelbag(obj.animation_data.action_slot).fcurves
    for curve in curves:
        for key in curve.keyframe_points:
            key.interpolation = kind


def _lights() -> None:
    world = bpy.data.worlds.new("World")
    bpy.context.scene.world = world
    world.use_nodes = True
    background = world.node_tree.nodes.get("Background")
    background.inputs["Color"].default_value = (0.55, 0.68, 0.85, 1.0)
    background.inputs["Strength"].default_value = 0.35
    _area("Key", (-4.5, -4.0, 6.5), 520, 3.2, (1.0, 0.93, 0.82))
    _area("Rim", (5.0, 3.0, 4.5), 260, 2.0, (0.75, 0.87, 1.0))
    _area("Fill", (4.0, -6.0, 2.5), 60, 4.0, (1.0, 0.88, 0.9))


def _area(
    name: str, location: tuple[float, float, float], watts: float, size: float, color: tuple[float, float, float]
) -> None:
    light = bpy.data.lights.new(name, "AREA")
    light.energy, light.size, light.color = watts, size, color
    obj = bpy.data.objects.new(name, light)
    obj.location = location
    bpy.context.collection.objects.link(obj)
    _look_at(obj, (0.0, 0.0, 0.9))


def _camera(scene: Any) -> None:
    data = bpy.data.cameras.new("Camera")
    data.lens = 47
    data.dof.use_dof = True
    data.dof.focus_distance = 8.1
    data.dof.aperture_fstop = 1.6
    camera = bpy.data.objects.new("Camera", data)
    camera.location = (0.0, -8.4, 3.3)
    bpy.context.collection.objects.link(camera)
    _look_at(camera, (0.0, 0.0, 0.95))
    scene.camera = camera


def _look_at(obj: Any, target: tuple[float, float, float]) -> None:
    from mathutils import Vector  # type: ignore[import-not-found,unused-ignore]

    direction = Vector(target) - obj.location
    obj.rotation_euler = direction.to_track_quat("-Z", "Y").to_euler()


if __name__ == "__main__":
    main(sys.argv[sys.argv.index("--") + 1 :])
