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
bpy.ops.wm.save_as_mainfile(filepath=sys.argv[-1])
