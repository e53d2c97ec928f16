"""Builds a scene that has a bit of everything that has ever broken a render farm. Runs inside Blender 4.2 to 5.2.

<launcher> -b --factory-startup --python torture_scene.py -- --output DIR/torture.blend [--format F] [--depth 16] [--multiview]
    [--python-driver] [--crop] [--persistent-data] [--switches FRAME …]
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import Any

import bpy

FIRST, LAST = 0, 11


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", required=True)
    parser.add_argument("--format", default="PNG")
    parser.add_argument("--depth", default="8")
    parser.add_argument("--multiview", action="store_true")
    parser.add_argument("--python-driver", action="store_true")
    parser.add_argument("--crop", action="store_true")
    parser.add_argument("--persistent-data", action="store_true")
    parser.add_argument("--switches", type=int, nargs="*", default=[FIRST, 5], help="frames where the camera changes")
    options = parser.parse_args(argv)
    output = Path(options.output)
    library = make_library(output.parent)
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    bpy.ops.wm.save_as_mainfile(filepath=str(output))
    scene = bpy.context.scene
    scene.name = "Torture"
    settings(scene, options)
    objects(scene, output.parent, library)
    cameras(scene, options.switches)
    drivers(python=options.python_driver)
    layers(scene)
    compositor(scene)
    bpy.ops.file.make_paths_relative()
    bpy.ops.wm.save_as_mainfile(filepath=str(output), compress=True)


def make_library(folder: Path) -> Path:
    """A library with a textured object, in a folder of its own."""
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    path = folder / "assets" / "library.blend"
    (path.parent / "textures").mkdir(parents=True, exist_ok=True)
    bpy.ops.mesh.primitive_torus_add(major_radius=0.5, minor_radius=0.15, location=(1.2, 0, 0.6))
    torus = bpy.context.object
    torus.name = "LinkedTorus"
    torus.data.materials.append(textured("LinkedMaterial", picture(path.parent / "textures" / "lines.png", 3)))
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    bpy.ops.file.make_paths_relative()
    bpy.ops.wm.save_as_mainfile(filepath=str(path), compress=True)
    return path


def picture(path: Path, stripes: int) -> Any:
    size = 32
    image = bpy.data.images.new(path.stem, size, size)
    image.pixels.foreach_set(
        [v for y in range(size) for x in range(size) for v in ((x * stripes // size) % 2, y / size, 0.3, 1.0)]
    )
    image.file_format = "PNG"
    image.filepath_raw = str(path)
    image.save()
    image.source = "FILE"
    return image


def textured(name: str, image: Any) -> Any:
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    node = material.node_tree.nodes.new("ShaderNodeTexImage")
    node.image = image
    shader = next(n for n in material.node_tree.nodes if n.type == "BSDF_PRINCIPLED")
    material.node_tree.links.new(node.outputs["Color"], shader.inputs["Base Color"])
    return material


def settings(scene: Any, options: argparse.Namespace) -> None:
    render = scene.render
    render.engine = "CYCLES"
    render.resolution_x, render.resolution_y = 96, 54
    render.filepath = "//render/torture_####"
    scene.frame_start, scene.frame_end = FIRST, LAST
    scene.cycles.samples = 4
    scene.cycles.seed = 11
    scene.cycles.use_animated_seed = True
    scene.cycles.use_denoising = False
    render.threads_mode, render.threads = "FIXED", 1  # with more, single pixels depend on how they happen to run
    render.use_motion_blur = True
    render.use_persistent_data = options.persistent_data
    render.use_border, render.use_crop_to_border = True, options.crop
    render.border_min_x, render.border_max_x, render.border_min_y, render.border_max_y = 0.0, 0.9, 0.1, 1.0
    render.fps, render.fps_base = 30, 1.001
    image = render.image_settings
    if hasattr(image, "media_type") and options.format == "OPEN_EXR_MULTILAYER":
        image.media_type = "MULTI_LAYER_IMAGE"
    image.file_format = options.format
    image.color_mode = "RGBA"
    image.color_depth = options.depth
    if options.multiview:
        render.use_multiview = True
        image.views_format = "INDIVIDUAL"


def objects(scene: Any, folder: Path, library: Path) -> None:
    bpy.ops.mesh.primitive_plane_add(size=12)
    floor = bpy.context.object
    (folder / "textures").mkdir(exist_ok=True)
    floor.data.materials.append(textured("Floor", picture(folder / "textures" / "floor é.png", 7)))
    bpy.ops.mesh.primitive_uv_sphere_add(segments=24, ring_count=12, radius=0.7, location=(-1, 0, 0.8))
    ball = bpy.context.object
    ball.name = "Ball"
    for frame, x in ((FIRST, -2.0), (LAST, 0.5)):
        ball.location.x = x
        ball.keyframe_insert("location", index=0, frame=frame)
    hair(ball)
    shape_keys()
    volume_cube()
    with bpy.data.libraries.load(str(library), link=True) as (source, target):
        target.objects = list(source.objects)
    for linked in target.objects:
        scene.collection.objects.link(linked)
    light = bpy.data.objects.new("Sun", bpy.data.lights.new("Sun", "SUN"))
    light.data.energy, light.rotation_euler = 3.0, (0.6, 0.2, 0.3)
    scene.collection.objects.link(light)


def hair(ball: Any) -> None:
    modifier = ball.modifiers.new("Hair", "PARTICLE_SYSTEM")
    particles = modifier.particle_system.settings
    particles.type, particles.count, particles.hair_length = "HAIR", 60, 0.25


def shape_keys() -> None:
    """Deformation for motion blur."""
    bpy.ops.mesh.primitive_cube_add(size=0.8, location=(0, 1.2, 0.5))
    cube = bpy.context.object
    cube.name = "Blob"
    cube.shape_key_add(name="Basis")
    key = cube.shape_key_add(name="Wide")
    for point in key.data:
        point.co.x *= 2.0
    for frame, value in ((FIRST, 0.0), (LAST, 1.0)):
        key.value = value
        key.keyframe_insert("value", frame=frame)


def volume_cube() -> None:
    bpy.ops.mesh.primitive_cube_add(size=1.0, location=(1.5, 1.5, 0.7))
    cube = bpy.context.object
    material = bpy.data.materials.new("Fog")
    material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    fog, out = tree.nodes.new("ShaderNodeVolumePrincipled"), tree.nodes.new("ShaderNodeOutputMaterial")
    fog.inputs["Density"].default_value = 2.0
    tree.links.new(fog.outputs["Volume"], out.inputs["Volume"])
    cube.data.materials.append(material)


def cameras(scene: Any, switches: list[int]) -> None:
    """Two cameras, bound by markers in turn; the first one moves."""
    for index, (name, x) in enumerate((("Cam A", -1.0), ("Cam.B é", 2.0))):
        camera = bpy.data.objects.new(name, bpy.data.cameras.new(name))
        camera.location = (x, -6.5, 2.6)
        camera.rotation_euler = (math.radians(72), 0, math.radians(-6 + 18 * index))
        scene.collection.objects.link(camera)
        for frame in switches[index::2]:
            scene.timeline_markers.new(f"to {name}", frame=frame).camera = camera
        if index == 0:
            scene.camera = camera
            for frame, height in ((FIRST, 2.4), (LAST, 3.2)):
                camera.location.z = height
                camera.keyframe_insert("location", index=2, frame=frame)


def drivers(*, python: bool) -> None:
    """A driver that reads the scene's frame range: who changes that to render a chunk changes the picture."""
    blob = bpy.data.objects["Blob"]
    driver = blob.driver_add("rotation_euler", 2).driver
    driver.type = "SCRIPTED"
    for name, path in (("now", "frame_current"), ("first", "frame_start"), ("last", "frame_end")):
        variable = driver.variables.new()
        variable.name, variable.type = name, "SINGLE_PROP"
        variable.targets[0].id_type, variable.targets[0].id, variable.targets[0].data_path = (
            "SCENE",
            bpy.context.scene,
            path,
        )
    driver.expression = "(now - first) / (last - first) * 2"
    if python:
        sun = bpy.data.objects["Ball"].driver_add("location", 2).driver
        sun.expression = "__import__('math').sin(frame)"


def layers(scene: Any) -> None:
    second = scene.view_layers.new("Second")
    second.use_pass_z = True
    scene.view_layers[0].use_pass_normal = True


def compositor(scene: Any) -> None:
    """A glare of sorts and two files more per frame."""
    if bpy.app.version >= (5, 0, 0):
        tree = bpy.data.node_groups.new("Compositing", "CompositorNodeTree")
        scene.compositing_node_group = tree
        tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
        end = tree.nodes.new("NodeGroupOutput")
    else:
        scene.use_nodes = True
        tree = scene.node_tree
        tree.nodes.clear()
        end = tree.nodes.new("CompositorNodeComposite")
    source = tree.nodes.new("CompositorNodeRLayers")
    source.layer = scene.view_layers[0].name
    invert = tree.nodes.new("CompositorNodeInvert")
    tree.links.new(source.outputs["Image"], invert.inputs["Color"])
    tree.links.new(invert.outputs["Color"], end.inputs[0])
    file_output(tree, source)


def file_output(tree: Any, source: Any) -> None:
    node = tree.nodes.new("CompositorNodeOutputFile")
    if hasattr(node, "directory"):
        node.directory, node.file_name = "//passes/", "extra_"
        if hasattr(node.format, "media_type"):
            node.format.media_type = "IMAGE"
        node.format.file_format = "OPEN_EXR"
        for name in ("beauty", "normal"):
            node.file_output_items.new("RGBA" if name == "beauty" else "VECTOR", name)
    else:
        node.base_path = "//passes/"
        node.format.file_format = "OPEN_EXR"
        node.file_slots.clear()
        for name in ("beauty_", "normal_"):
            node.file_slots.new(name)
    tree.links.new(source.outputs["Image"], node.inputs[0])
    tree.links.new(source.outputs["Normal"], node.inputs[1])


if __name__ == "__main__":
    main(sys.argv[sys.argv.index("--") + 1 :])
