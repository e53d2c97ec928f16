"""Runs in a Blender without a window: saves a small scene that renders in a moment.

blender -b --factory-startup --python scene.py -- FILE
"""

from __future__ import annotations

import sys

import bpy

scene = bpy.context.scene
scene.render.engine, scene.cycles.samples = "CYCLES", 8
scene.cycles.use_denoising = False  # Debian's Blender has none
scene.render.resolution_x = scene.render.resolution_y = 480
scene.frame_start, scene.frame_end = 1, 4
scene.render.filepath = "//frames/shot_####"
cube = bpy.data.objects["Cube"]
for frame, angle in ((1, 0.0), (4, 1.5)):
    cube.rotation_euler.z = angle
    cube.keyframe_insert("rotation_euler", frame=frame)
texture = bpy.data.images.new("painted", 8, 8)  # grey still: it is painted on, and not saved, by who looks at the file
material = cube.material_slots[0].material
material.use_nodes = True
nodes, links = material.node_tree.nodes, material.node_tree.links
light, colors = nodes.new("ShaderNodeEmission"), nodes.new("ShaderNodeTexImage")
colors.image = texture
links.new(colors.outputs["Color"], light.inputs["Color"])
links.new(light.outputs["Emission"], nodes["Material Output"].inputs["Surface"])
bpy.ops.wm.save_as_mainfile(filepath=sys.argv[-1])
